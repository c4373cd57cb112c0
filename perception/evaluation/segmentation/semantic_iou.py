"""Class IoU over a data set from one table of counts: of pictures as ADE20K and COCO-stuff, of points as nuScenes do.

The two differ in which classes a mean takes in: pictures those that truly occur, points also those only predicted.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from perception.structures.segmentation import IGNORE_LABEL

from .pair_counts import PairCounts, checked_labels, integer_maps, mean_or_nan, pair_counts, ratio


@dataclass(frozen=True, eq=False)
class SemanticScores:
    """IoU and recall of a data set, in 0..1.

    Args:
        iou: (K,) IoU of each class, NaN where it has no true pixel (even if it is predicted).
        accuracy: (K,) recall of each class, NaN likewise.
        miou: mean IoU of the classes with true pixels; NaN if there is none, as the others.
        fwiou: IoU weighted with the share of true pixels.
        macc: mean recall of the classes with true pixels.
        pacc: share of the true pixels that are right.
        num_averaged: classes in the means.
    """

    iou: np.ndarray
    accuracy: np.ndarray
    miou: float
    fwiou: float
    macc: float
    pacc: float
    num_averaged: int

    def percent(self) -> dict[str, float]:
        """The four means in percent, by the names under which tables of ADE20K and COCO-stuff have them."""
        return {"mIoU": 100 * self.miou, "fwIoU": 100 * self.fwiou, "mACC": 100 * self.macc, "pACC": 100 * self.pacc}


class SemanticIoU:
    """Counts of true and predicted classes, as in detectron2's evaluation of semantic segmentation.

    Args:
        num_classes: K.
        ignore_label: of pixels that do not count.

    Raises:
        ValueError: there is no class, or the ignored label is one of a class.
    """

    def __init__(self, num_classes: int, ignore_label: int = IGNORE_LABEL) -> None:
        if num_classes < 1:
            raise ValueError(f"num_classes must be >= 1, got {num_classes}")
        if 0 <= ignore_label < num_classes:
            raise ValueError(f"ignore_label must not be one of {num_classes} classes, got {ignore_label}")
        self.num_classes, self.ignore_label = num_classes, ignore_label
        self.counts = np.zeros((num_classes, num_classes + 1), np.int64)       # truth, prediction (last: no class)

    def update(self, truth: npt.ArrayLike, predictions: npt.ArrayLike) -> None:
        """Count one picture.

        Args:
            truth: (H, W) integers in [0, K), or the ignored label.
            predictions: (H, W) integers in [0, K]; K is "none of the classes" and wrong everywhere.

        Raises:
            ValueError: shapes differ or a label lies elsewhere.
        """
        self.add(pair_counts(truth, predictions))

    def add(self, pairs: PairCounts) -> None:
        """Count one picture whose pairs (truth, prediction) are counted already."""
        checked_labels(pairs.second, 0, self.num_classes, "predictions")
        known = pairs[pairs.first != self.ignore_label]
        checked_labels(known.first, 0, self.num_classes - 1, "truth")
        np.add.at(self.counts, (known.first, known.second), known.counts)

    def merge(self, other: SemanticIoU) -> None:
        """Take in the counts of another process. Raises ValueError if it has another number of classes."""
        if other.num_classes != self.num_classes:
            raise ValueError(f"cannot merge counts of {other.num_classes} classes into those of {self.num_classes}")
        self.counts += other.counts

    def compute(self) -> SemanticScores:
        """Scores over all that was counted."""
        right = self.counts.diagonal()                                                   # (K,)
        truth, predicted = self.counts.sum(axis=1), self.counts[:, :-1].sum(axis=0)      # (K,)
        accuracy = ratio(right, truth)
        iou = np.where(truth > 0, ratio(right, truth + predicted - right), np.nan)
        return SemanticScores(
            iou, accuracy, miou=mean_or_nan(iou), fwiou=float(ratio(np.nansum(truth * iou), truth.sum())),
            macc=mean_or_nan(accuracy), pacc=float(ratio(right.sum(), truth.sum())),
            num_averaged=int((truth > 0).sum()),
        )


@dataclass(frozen=True, eq=False)
class LidarsegScores:
    """IoU of points, in 0..1.

    Args:
        iou: (17,) by class; NaN for one that is neither true nor predicted, and for class 0.
        miou: mean of those that are not NaN; NaN if there is none, as `fwiou`.
        fwiou: IoU weighted with the share of true points.
        num_averaged: classes in the mean.
    """

    iou: np.ndarray
    miou: float
    fwiou: float
    num_averaged: int


class LidarsegIoU:
    """nuScenes' lidarseg challenge: class 0 is ignored in the truth and forbidden in predictions.

    Args:
        num_classes: 17 with the ignored one.
    """

    def __init__(self, num_classes: int = 17) -> None:
        self.num_classes = num_classes
        self.counts = np.zeros((num_classes, num_classes), np.int64)                     # truth, prediction

    def update(self, truth: npt.ArrayLike, predictions: npt.ArrayLike) -> None:
        """Count one scan: (N,) true classes in [0, 16] and (N,) predicted ones in [1, 16].

        Raises:
            ValueError: lengths differ or a class lies elsewhere.
        """
        true, predicted = integer_maps(truth, predictions)
        checked_labels(true, 0, self.num_classes - 1, "truth")
        checked_labels(predicted, 1, self.num_classes - 1, "predictions")
        counts = np.bincount(true * self.num_classes + predicted, minlength=self.num_classes**2)
        self.counts[1:] += counts.reshape(self.num_classes, self.num_classes)[1:]

    def merge(self, other: LidarsegIoU) -> None:
        """Take in the counts of another process. Raises ValueError if it has another number of classes."""
        if other.num_classes != self.num_classes:
            raise ValueError(f"cannot merge counts of {other.num_classes} classes into those of {self.num_classes}")
        self.counts += other.counts

    def compute(self) -> LidarsegScores:
        """Scores over all that was counted."""
        right, truth, predicted = self.counts.diagonal(), self.counts.sum(axis=1), self.counts.sum(axis=0)
        union = (truth + predicted - right).astype(np.float32)     # as the devkit: seven digits beyond 2^24 points
        iou = ratio(right, union)
        fwiou = float(ratio(np.nansum(truth * iou), truth.sum()))
        return LidarsegScores(iou, mean_or_nan(iou), fwiou, int((~np.isnan(iou)).sum()))
