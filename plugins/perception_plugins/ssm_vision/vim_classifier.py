"""Vision Mamba as it classifies pictures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from timm.layers import trunc_normal_
from torch import Tensor, nn

from perception.registry import MODELS


@MODELS.register_module(role="image_classifier")
class VimClassifier(nn.Module):
    """A linear layer that reads the class token of a `VisionMamba`, whose normed tokens are not averaged.

    Args:
        backbone: config of the backbone.
        num_classes: K.

    Raises:
        ValueError: ``num_classes`` is below 1.
    """

    def __init__(self, backbone: Mapping[str, Any], num_classes: int = 1000) -> None:
        super().__init__()
        if num_classes < 1:
            raise ValueError(f"num_classes must be >= 1, got {num_classes}")
        self.backbone = MODELS.build(backbone)
        self.head = nn.Linear(self.backbone.channels[-1], num_classes)
        trunc_normal_(self.head.weight, std=0.02)
        nn.init.zeros_(self.head.bias)

    @property
    def num_classes(self) -> int:
        """K."""
        return self.head.out_features

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) -> logits (B, K)."""
        return self.head(self.class_feature(images))

    def class_feature(self, images: Tensor) -> Tensor:
        """The normed class token of pictures (B, 3, H, W), (B, C)."""
        found, _ = self.backbone.tokens(images)
        return found[-1][:, (found[-1].shape[1] - 1) // 2]
