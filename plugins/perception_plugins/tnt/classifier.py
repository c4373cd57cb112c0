"""TNT as a classifier of pictures: a linear layer reads its class token."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from timm.layers import trunc_normal_
from torch import Tensor, nn

from perception.registry import MODELS


@MODELS.register_module(role="image_classifier")
class TNTClassifier(nn.Module):
    """A `TNT`, the norm of its tokens, and a linear layer over the class token.

    Args:
        backbone: config of the `TNT`.
        num_classes: classes K.
    """

    def __init__(self, backbone: Mapping[str, Any], num_classes: int = 1000) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.backbone = MODELS.build(backbone)
        width = self.backbone.channels[-1]
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, num_classes)
        trunc_normal_(self.head.weight, std=0.02)
        nn.init.zeros_(self.head.bias)

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) -> logits (B, K)."""
        return self.head(self.norm(self.backbone.tokens(images)[:, 0]))
