"""What P2AT learns from: classes, hard pixels first, boundaries, and classes at the boundaries.

"P2AT: Pyramid Pooling Axial Transformer for Real-time Semantic Segmentation" (arXiv 2310.15025), with the auxiliary
output that the boundary losses need.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from perception.models.losses.lovasz import LovaszSoftmaxLoss
from perception.models.losses.mask import dice_loss
from perception.models.losses.ohem import mean_over_hard_pixels
from perception.models.losses.weighted_cross_entropy import pixel_cross_entropy
from perception.registry import MODELS
from perception.structures.segmentation import IGNORE_LABEL

BOUNDARY_WEIGHT = 20.0                             # of the cross entropy against the Dice loss
SURE = 0.8                                         # probability from which a pixel counts as a boundary


def balanced_boundary_loss(logits: Tensor, boundaries: Tensor) -> Tensor:
    """Mean binary cross entropy in which the rarer of boundary and interior weighs as much more.

    Args:
        logits: (B, H, W).
        boundaries: (B, H, W) float32, 0 or 1.
    """
    share = boundaries.mean()                                                # of the whole batch
    weights = torch.where(boundaries == 1, 1 - share, share)
    return F.binary_cross_entropy_with_logits(logits, boundaries, weights)


def batch_dice_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """1 - Dice coefficient of all pixels of the batch together: logits and targets of one shape -> scalar."""
    return dice_loss(logits.sigmoid().view(1, -1), targets.view(1, -1))[0]


@MODELS.register_module(role="loss")
class P2ATLoss(nn.Module):
    """The sum of four losses, or five, all on maps of the size of the labels.

    Normalisers are those of one process, as the authors have them.

    Args:
        auxiliary_weight: of the auxiliary classifier's cross entropy.
        semantic_weight: of the final classifier's cross entropy over hard pixels.
        boundary_weight: of the boundary head's two losses.
        boundary_semantic_weight: of the final classifier's, over the pixels that the boundary head is sure of.
        threshold, min_kept: see `mean_over_hard_pixels`.
        class_weights: K factors of the cross entropies; None weighs all classes alike.
        lovasz_weight: of the final classifier's Lovász loss; 0, as published, goes without. It counts every class
            alike, however rare.
        lovasz_stride: rows and columns between the pixels that Lovász's loss looks at.
    """

    class_weights: Tensor | None

    def __init__(
        self,
        *,
        auxiliary_weight: float = 0.4,
        semantic_weight: float = 1.0,
        boundary_weight: float = 1.0,
        boundary_semantic_weight: float = 1.0,
        threshold: float = 0.9,
        min_kept: int = 131_072,
        class_weights: Sequence[float] | None = None,
        lovasz_weight: float = 0.0,
        lovasz_stride: int = 4,
    ) -> None:
        super().__init__()
        self.auxiliary_weight, self.semantic_weight = auxiliary_weight, semantic_weight
        self.boundary_weight, self.boundary_semantic_weight = boundary_weight, boundary_semantic_weight
        self.lovasz = LovaszSoftmaxLoss(loss_weight=lovasz_weight) if lovasz_weight else None
        self.threshold, self.min_kept, self.lovasz_stride = threshold, min_kept, lovasz_stride
        weights = None if class_weights is None else torch.tensor(class_weights, dtype=torch.float32)
        self.register_buffer("class_weights", weights, persistent=False)

    def semantic(self, cross_entropy: Tensor, labels: Tensor) -> Tensor:
        """Mean over the hard pixels of the final classifier's cross entropy: (B, H, W), (B, H, W) -> scalar."""
        return mean_over_hard_pixels(
            cross_entropy, labels, threshold=self.threshold, min_kept=self.min_kept, class_weights=self.class_weights
        )

    def auxiliary(self, aux: Tensor, labels: Tensor) -> Tensor:
        """Sum of the cross entropies over the number of all pixels, ignored ones too."""
        return pixel_cross_entropy(aux, labels, self.class_weights).mean()

    def boundary(self, logits: Tensor, boundaries: Tensor) -> Tensor:
        """Of the boundary head: (B, H, W), (B, H, W) -> scalar."""
        return BOUNDARY_WEIGHT * balanced_boundary_loss(logits, boundaries) + batch_dice_loss(logits, boundaries)

    def forward(
        self, final: Tensor, labels: Tensor, aux: Tensor | None = None, boundary: Tensor | None = None,
        boundaries: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """Weighted losses by name; those whose maps are not given are left out. Without a labelled pixel all are 0.

        Args:
            final: (B, K, H, W) logits.
            labels: (B, H, W) int64 in [0, K), or IGNORE_LABEL.
            aux: (B, K, H, W) logits of the auxiliary classifier.
            boundary: (B, H, W) logits of the boundary head.
            boundaries: (B, H, W) float32, 0 or 1: what they shall be.
        """
        cross_entropy = pixel_cross_entropy(final, labels)                   # (B, H, W)
        losses = {"loss_semantic": self.semantic_weight * self.semantic(cross_entropy, labels)}
        if aux is not None:
            losses["loss_auxiliary"] = self.auxiliary_weight * self.auxiliary(aux, labels)
        if boundary is not None and boundaries is not None:
            boundary = boundary.float()
            is_known = (labels != IGNORE_LABEL).any()          # else the lack of boundaries says nothing
            losses["loss_boundary"] = self.boundary_weight * self.boundary(boundary, boundaries) * is_known
            sure = labels_at_boundaries(boundary, labels)
            losses["loss_boundary_semantic"] = self.boundary_semantic_weight * self.semantic(cross_entropy, sure)
        if self.lovasz is not None:
            every = slice(self.lovasz_stride // 2, None, self.lovasz_stride)
            rows = final[..., every, every].movedim(1, 3).flatten(0, 2)      # (N, K)
            losses["loss_lovasz"] = self.lovasz(rows, labels[:, every, every].flatten())
        return losses


def labels_at_boundaries(boundary: Tensor, labels: Tensor) -> Tensor:
    """The labels where the boundary head is sure, IGNORE_LABEL elsewhere: (B, H, W) logits, (B, H, W) -> (B, H, W)."""
    return labels.where(boundary.detach().sigmoid() > SURE, IGNORE_LABEL)
