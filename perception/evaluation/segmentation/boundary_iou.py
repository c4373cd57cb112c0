"""Boundary IoU: overlap of what lies near outlines, which tells large regions' errors (Cheng et al., CVPR 2021).

The boundary of a mask are its own pixels within d of what is not the mask, in chessboard distance; the border of the
picture is an outline too. d is 2 % of the picture's diagonal, rounded, and 1 pixel or more.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from scipy import ndimage, sparse

from perception.structures.segmentation import IGNORE_LABEL

from .pair_counts import PairCounts, checked_labels, integer_maps, mean_or_nan, pair_counts, ratio

DILATION_RATIO = 0.02
OUTSIDE = -1


def boundary_width(height: int, width: int, dilation_ratio: float = DILATION_RATIO) -> int:
    """d [pixels] of a picture. Raises ValueError if the ratio is not positive."""
    if not dilation_ratio > 0:
        raise ValueError(f"dilation_ratio must be > 0, got {dilation_ratio}")
    return max(1, round(dilation_ratio * math.hypot(height, width)))


def near_boundary(labels: np.ndarray, distance: int) -> np.ndarray:
    """(H, W) bool: which pixels of a map of labels >= 0 have another label, or the border, within a distance."""
    window = 2 * distance + 1
    lowest = ndimage.minimum_filter(labels, window, mode="constant", cval=OUTSIDE)
    return (lowest < labels) | (ndimage.maximum_filter(labels, window, mode="nearest") > labels)


def boundary_iou(first: npt.ArrayLike, second: npt.ArrayLike, dilation_ratio: float = DILATION_RATIO) -> np.ndarray:
    """(P, Q) boundary IoU of all pairs of (P, H, W) and (Q, H, W) bool masks; 0 for two empty ones.

    Raises:
        ValueError: the masks are of another shape, or the ratio is not positive.
    """
    masks = np.asarray(first, np.bool_), np.asarray(second, np.bool_)
    if masks[0].ndim != 3 or masks[1].ndim != 3 or masks[0].shape[1:] != masks[1].shape[1:]:
        raise ValueError(f"masks must be (P, H, W) and (Q, H, W), got {masks[0].shape} and {masks[1].shape}")
    height, width = masks[0].shape[1:]
    distance, rims = boundary_width(height, width, dilation_ratio), []
    for group in masks:
        rim = np.array([mask & near_boundary(mask.astype(np.int8), distance) for mask in group], np.bool_)
        rims.append(sparse.csr_array(rim.reshape(len(group), height * width)).astype(np.int64))  # (P, H * W)
    shared = (rims[0] @ rims[1].T).toarray()                                             # (P, Q)
    return ratio(shared, rims[0].sum(axis=1)[:, None] + rims[1].sum(axis=1) - shared, empty=0.0)


class BoundaryIoU:
    """Boundary IoU of the classes of a semantic segmentation, counted over the data set.

    Ignored pixels end a true region, so an outline runs along them, but do not count.

    Args:
        num_classes: K.
        ignore_label: of pixels that do not count.
        dilation_ratio: width of a boundary as a share of the picture's diagonal.

    Raises:
        ValueError: there is no class, or the ratio is not positive.
    """

    def __init__(
        self, num_classes: int, ignore_label: int = IGNORE_LABEL, dilation_ratio: float = DILATION_RATIO
    ) -> None:
        if num_classes < 1:
            raise ValueError(f"num_classes must be >= 1, got {num_classes}")
        boundary_width(1, 1, dilation_ratio)
        self.num_classes, self.ignore_label, self.dilation_ratio = num_classes, ignore_label, dilation_ratio
        self.counts = np.zeros((num_classes + 1, num_classes + 1), np.int64)   # truth, prediction (last: elsewhere)

    def update(self, truth: npt.ArrayLike, predictions: npt.ArrayLike) -> None:
        """Count one picture: (H, W) true classes or the ignored label, (H, W) predicted ones in [0, K].

        Raises:
            ValueError: shapes differ, or a label lies elsewhere.
        """
        self.add(self.pairs(truth, predictions))

    def pairs(self, truth: npt.ArrayLike, predictions: npt.ArrayLike) -> PairCounts:
        """Counts of true and predicted class of the pixels near an outline of a class; K for those that are not."""
        integer_maps(truth, predictions)
        true, predicted = np.asarray(truth).astype(np.int64), np.asarray(predictions).astype(np.int64)
        if true.ndim != 2:
            raise ValueError(f"truth must be (H, W), got {true.shape}")
        is_known = true != self.ignore_label
        checked_labels(true[is_known], 0, self.num_classes - 1, "truth")
        checked_labels(predicted, 0, self.num_classes, "predictions")
        height, width = true.shape
        distance = boundary_width(height, width, self.dilation_ratio)
        rims = (
            np.where(near_boundary(labels, distance), labels, self.num_classes) for labels in (true, predicted)
        )
        return pair_counts(*(rim[is_known] for rim in rims))

    def add(self, pairs: PairCounts) -> None:
        """Count one picture from its `pairs`."""
        np.add.at(self.counts, (pairs.first, pairs.second), pairs.counts)

    def merge(self, other: BoundaryIoU) -> None:
        """Take in the counts of another process. Raises ValueError if it counts otherwise."""
        if (other.num_classes, other.dilation_ratio) != (self.num_classes, self.dilation_ratio):
            raise ValueError(
                f"cannot merge counts of {other.num_classes} classes at a ratio of {other.dilation_ratio} into those "
                f"of {self.num_classes} at {self.dilation_ratio}"
            )
        self.counts += other.counts

    def compute(self) -> np.ndarray:
        """(K,) boundary IoU of each class in 0..1; NaN for one that has no true pixel near an outline."""
        shared = self.counts.diagonal()
        true, predicted = self.counts.sum(axis=1), self.counts.sum(axis=0)
        return np.where(true > 0, ratio(shared, true + predicted - shared), np.nan)[:-1]

    def mean(self) -> float:
        """Mean over the classes that are not NaN; NaN if all are."""
        return mean_or_nan(self.compute())
