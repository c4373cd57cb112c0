"""DuoFormer as a classifier: a linear layer on the class token."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from perception.models.classifier import BackboneClassifier
from perception.registry import MODELS

from .backbone import DuoFormer
from .neck import NORM_EPS


@MODELS.register_module(role="image_classifier")
class DuoFormerClassifier(BackboneClassifier):
    """The class token of a `DuoFormer` and a linear layer.

    Args:
        backbone: config of a `DuoFormer` with a ``region_map``.
        num_classes: K.
        use_fc_norm: normalise the class token. The authors' code computes that and leaves it unused; without it the
            norm is there, as in their checkpoints, and is not trained.

    Raises:
        ValueError: the backbone is another or has no region map, or ``num_classes`` is below 1.
    """

    def __init__(self, backbone: Mapping[str, Any], num_classes: int = 1000, *, use_fc_norm: bool = False) -> None:
        super().__init__(backbone, num_classes, "layer", norm_eps=NORM_EPS)
        if not isinstance(self.backbone, DuoFormer) or not self.backbone.neck.region_map:
            raise ValueError(f"backbone must be a DuoFormer with region_map=True, got {dict(backbone)}")
        self.use_fc_norm = use_fc_norm
        self.norm.requires_grad_(use_fc_norm)

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) -> logits (B, K).

        Raises:
            ValueError: the pictures are not (B, 3, H, W), or their sides no multiples of the coarsest stride.
        """
        token = self.backbone.class_token(images)
        return self.head(self.norm(token) if self.use_fc_norm else token)
