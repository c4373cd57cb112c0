"""TNT as a classifier of pictures: a linear layer reads its class token."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from perception.models.classifier import BackboneClassifier
from perception.registry import MODELS


@MODELS.register_module(role="image_classifier")
class TNTClassifier(BackboneClassifier):
    """A `TNT`, the norm of its tokens, and a linear layer over the class token.

    Args:
        backbone: config of the `TNT`.
        num_classes: classes K.
    """

    def __init__(self, backbone: Mapping[str, Any], num_classes: int = 1000) -> None:
        super().__init__(backbone, num_classes, norm="layer")

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) -> logits (B, K)."""
        return self.head(self.norm(self.backbone.tokens(images)[:, 0]))
