"""MatViT as a classifier, with a sigmoid for each class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from perception.models.classifier import BackboneClassifier
from perception.registry import MODELS

from .elastic import Widths, extract

FIRST_BIAS = -6.9                                    # a share of one in a thousand


@MODELS.register_module(role="image_classifier")
class MatViTClassifier(BackboneClassifier):
    """A linear layer behind a `MatViT`, whose own norm is the last one.

    Args:
        backbone: config of the `MatViT`.
        num_classes: K.

    Raises:
        ValueError: ``num_classes`` is below 1.
    """

    def __init__(self, backbone: Mapping[str, Any], num_classes: int = 1000) -> None:
        super().__init__(backbone, num_classes)

    def reset_classifier(self, num_classes: int) -> None:
        """Begin anew with another number of classes, as published: weights of 0, and biases of -6.9.

        Raises:
            ValueError: ``num_classes`` is below 1.
        """
        super().reset_classifier(num_classes)
        nn.init.zeros_(self.head.weight)
        nn.init.constant_(self.head.bias, FIRST_BIAS)

    def forward(self, images: Tensor, ffn_dims: Widths = None) -> Tensor:
        """(B, 3, H, W) -> logits (B, K); ``ffn_dims`` as `MatViT`."""
        return self.head(self.backbone.pooled(images, ffn_dims))

    def loss(self, raw: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Binary cross entropy of logits (B, K) and classes (B,) int64, sum of the classes and mean of the batch."""
        truth = F.one_hot(labels, raw.shape[1]).float()
        each = F.binary_cross_entropy_with_logits(raw.float(), truth, reduction="none")
        return {"loss_class": each.sum(dim=1).mean()}

    def extract(self, ffn_dims: int | Sequence[int]) -> nn.Module:
        """A classifier of plain blocks with the same logits; see `perception_plugins.matformer.extract`."""
        return extract(self, ffn_dims)
