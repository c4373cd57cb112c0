"""Keep the features of things near those that ImageNet taught, since ImageNet knows things better than a renderer does.

DAFormer (Hoyer et al., CVPR 2022), section 3.3, equations 7 to 10.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from perception.structures.segmentation import IGNORE_LABEL

CITYSCAPES_THINGS = (6, 7, 11, 12, 13, 14, 15, 16, 17, 18)  # lights, signs, people, vehicles, by training number


class FeatureDistance:
    """Mean distance of features to those of a frozen network, over the cells that show a thing.

    Args:
        num_classes: K.
        things: classes whose features are kept.
        weight: of the loss.
        min_share: share of a cell's pixels that its most frequent class must have for the cell to count.

    Raises:
        ValueError: a thing is no class, or the share lies outside [0, 1].
    """

    def __init__(
        self, num_classes: int, *, things: Sequence[int] = CITYSCAPES_THINGS, weight: float = 0.005,
        min_share: float = 0.75,
    ) -> None:
        if any(label not in range(num_classes) for label in things) or not 0 <= min_share <= 1:
            raise ValueError(
                f"things must be numbers of the {num_classes} classes and min_share in [0, 1], got {tuple(things)} and "
                f"{min_share}"
            )
        self.num_classes, self.things, self.weight, self.min_share = num_classes, tuple(things), weight, min_share

    def __call__(self, features: Tensor, frozen: Tensor, labels: Tensor) -> Tensor:
        """The weighted loss; 0 if no cell shows a thing.

        Args:
            features: (B, C, h, w) of the network that learns.
            frozen: (B, C, h, w) of the other.
            labels: (B, H, W) int64, H / h = W / w whole.

        Raises:
            ValueError: the labels do not divide into cells of the features.
        """
        cells = self.cell_labels(labels, features.shape[-1])                               # (B, h, w)
        if cells.shape[1:] != features.shape[2:]:
            raise ValueError(
                f"pictures of {tuple(labels.shape[1:])} do not divide into the {tuple(features.shape[2:])} cells of "
                "the features: crop them to multiples of the coarsest stride"
            )
        return self.distance(features, frozen, self.shows_thing(cells))

    def cell_labels(self, labels: Tensor, columns: int) -> Tensor:
        """(B, H, W) -> (B, h, w): the most frequent class of each cell, IGNORE_LABEL where it is not frequent enough.

        Raises:
            ValueError: there are more columns of cells than of pixels.
        """
        side = labels.shape[-1] // columns
        if side < 1:
            raise ValueError(f"labels are {labels.shape[-1]} wide, the features {columns}")
        known = torch.where(labels == IGNORE_LABEL, self.num_classes, labels)
        shares = F.avg_pool2d(F.one_hot(known, self.num_classes + 1).movedim(3, 1).float(), side)
        share, found = shares.max(dim=1)                                                   # (B, h, w) each
        return found.masked_fill((found == self.num_classes) | (share < self.min_share), IGNORE_LABEL)

    def shows_thing(self, cells: Tensor) -> Tensor:
        """(B, h, w) classes -> bool of the same shape."""
        return torch.isin(cells, cells.new_tensor(self.things))

    def distance(self, features: Tensor, frozen: Tensor, mask: Tensor) -> Tensor:
        """The weighted mean distance over the cells of a mask (B, h, w); 0 over none."""
        lengths = torch.linalg.vector_norm(features.float() - frozen.float(), dim=1)       # (B, h, w)
        return self.weight * (lengths * mask).sum() / mask.sum().clamp(min=1)
