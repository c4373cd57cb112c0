"""DuoFormer as a classifier: a linear layer on the class token."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from perception.registry import MODELS

from .backbone import DuoFormer
from .neck import NORM_EPS


@MODELS.register_module(role="image_classifier")
class DuoFormerClassifier(nn.Module):
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
        super().__init__()
        self.backbone = MODELS.build(backbone)
        if not isinstance(self.backbone, DuoFormer) or not self.backbone.neck.region_map:
            raise ValueError(f"backbone must be a DuoFormer with region_map=True, got {dict(backbone)}")
        self.use_fc_norm = use_fc_norm
        self.norm = nn.LayerNorm(self.backbone.neck.width, eps=NORM_EPS).requires_grad_(use_fc_norm)
        self.reset_classifier(num_classes)

    @property
    def num_classes(self) -> int:
        """K."""
        return self.head.out_features

    def reset_classifier(self, num_classes: int) -> None:
        """Begin anew with another number of classes; the rest keeps its weights.

        Raises:
            ValueError: ``num_classes`` is below 1.
        """
        if num_classes < 1:
            raise ValueError(f"num_classes must be >= 1, got {num_classes}")
        like = self.norm.weight
        self.head = nn.Linear(self.backbone.neck.width, num_classes, device=like.device, dtype=like.dtype)
        nn.init.trunc_normal_(self.head.weight, std=0.02)
        nn.init.zeros_(self.head.bias)

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) -> logits (B, K).

        Raises:
            ValueError: the pictures are not (B, 3, H, W), or their sides no multiples of the coarsest stride.
        """
        token = self.backbone.class_token(images)
        return self.head(self.norm(token) if self.use_fc_norm else token)
