"""Cityscapes' pixel-level scores: IoU of classes and categories, and iIoU, which counts small instances as large ones.

Cordts et al., "The Cityscapes Dataset", CVPR 2016, section 4. Predictions on pixels whose true label is not scored do
not count; predicting such a label on a scored pixel is an error. In iIoU a true pixel weighs the average instance size
of its class over the size of its instance, false positives weigh one, and groups of instances add no true pixels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from perception.datasets.cityscapes_labels import CATEGORIES, INSTANCE_FACTOR, PICTURE_LABELS

from .pair_counts import checked_labels, mean_or_nan, pair_counts, ratio

NUM_LABELS = len(PICTURE_LABELS)


def _mask(condition: str) -> np.ndarray:
    return np.array([getattr(label, condition) for label in PICTURE_LABELS], np.bool_)


SCORED, INSTANCED = _mask("is_scored"), _mask("has_instances")                           # (34,) bool
AVERAGE_SIZES = np.array([label.average_size or 0.0 for label in PICTURE_LABELS])        # (34,) pixels
MEMBERS = np.array([[label.category == category for label in PICTURE_LABELS] for category in CATEGORIES])  # (8, 34)
EVERY = np.eye(NUM_LABELS, dtype=np.bool_)


@dataclass(frozen=True, eq=False)
class CityscapesScores:
    """Scores in 0..1; NaN where nothing was counted, which the means leave out.

    Args:
        class_iou: (34,) by label id; NaN for those that are not scored.
        class_iiou: (34,) by label id, of labels with instances.
        category_iou: (8,) in the order of `CATEGORIES`.
        category_iiou: (8,) of "human" and "vehicle".
    """

    class_iou: np.ndarray
    class_iiou: np.ndarray
    category_iou: np.ndarray
    category_iiou: np.ndarray

    def averages(self) -> np.ndarray:
        """(4,) means of class IoU, class iIoU, category IoU and category iIoU; NaN for a mean of nothing."""
        parts = (self.class_iou, self.class_iiou, self.category_iou, self.category_iiou)
        return np.array([mean_or_nan(part) for part in parts])


class CityscapesIoU:
    """Counts of pixels by true and predicted label id, and weighted ones of instances."""

    def __init__(self) -> None:
        self.counts = np.zeros((NUM_LABELS, NUM_LABELS), np.int64)                       # truth, prediction
        # right and wrong pixels of instances by label, weighted: as predicted of their label, and of their category
        self.class_weights = np.zeros((2, NUM_LABELS))
        self.category_weights = np.zeros((2, NUM_LABELS))

    def update(self, truth: npt.ArrayLike, instances: npt.ArrayLike, predictions: npt.ArrayLike) -> None:
        """Count one picture.

        Args:
            truth: (H, W) label ids in [0, 33].
            instances: (H, W) 1000 * label id + number for instances, label ids elsewhere.
            predictions: (H, W) label ids in [0, 33].

        Raises:
            ValueError: shapes differ or a label is unknown.
        """
        pairs = pair_counts(truth, predictions)
        for name, labels in (("truth", pairs.first), ("predictions", pairs.second)):
            checked_labels(labels, 0, NUM_LABELS - 1, name)
        self._add_instances(instances, predictions)
        self.counts[pairs.first, pairs.second] += pairs.counts

    def _add_instances(self, instances: npt.ArrayLike, predictions: npt.ArrayLike) -> None:
        pairs = pair_counts(instances, predictions)
        pairs = pairs[pairs.first > INSTANCE_FACTOR]
        labels = checked_labels(pairs.first // INSTANCE_FACTOR, 0, NUM_LABELS - 1, "labels of instances")
        values, sizes = pairs.firsts()
        size = sizes[np.searchsorted(values, pairs.first)]
        weight = np.where(SCORED[labels], AVERAGE_SIZES[labels] / size, 0.0) * pairs.counts
        right = pairs.second == labels
        kin = (MEMBERS[:, labels] & MEMBERS[:, pairs.second]).any(axis=0) & INSTANCED[pairs.second]
        for weights, is_right in ((self.class_weights, right), (self.category_weights, kin)):
            np.add.at(weights, (np.where(is_right, 0, 1), labels), weight)

    def merge(self, other: CityscapesIoU) -> None:
        """Take in the counts of another process."""
        self.counts += other.counts
        self.class_weights += other.class_weights
        self.category_weights += other.category_weights

    def compute(self) -> CityscapesScores:
        """Scores over all that was counted."""
        members = MEMBERS & SCORED
        instanced = MEMBERS & INSTANCED
        class_fp = self._false_positives(EVERY, EVERY)                                   # (34,)
        category_fp = self._false_positives(members, members)                            # (8,)
        instanced_fp = self._false_positives(members, instanced)                         # (8,)
        class_right, category_right = self._right(EVERY), self._right(members)
        truth = self.counts.sum(axis=1)                                                  # (34,)
        weights = self.category_weights @ MEMBERS.T                                      # (2, 8)
        return CityscapesScores(
            class_iou=np.where(SCORED, ratio(class_right, truth + class_fp), np.nan),
            class_iiou=np.where(
                SCORED & INSTANCED, ratio(self.class_weights[0], self.class_weights.sum(axis=0) + class_fp), np.nan
            ),
            category_iou=np.where(members.any(axis=1), ratio(category_right, members @ truth + category_fp), np.nan),
            category_iiou=np.where(
                (members & INSTANCED).any(axis=1), ratio(weights[0], weights.sum(axis=0) + instanced_fp), np.nan
            ),
        )

    def _right(self, groups: np.ndarray) -> np.ndarray:
        """(G,) pixels of each of (G, 34) groups of labels that are predicted as one of the same."""
        return np.einsum("gi,ij,gj->g", groups, self.counts, groups)

    def _false_positives(self, groups: np.ndarray, predicted: np.ndarray) -> np.ndarray:
        """(G,) pixels of scored labels outside each group that are predicted as one of ``predicted``, both (G, 34)."""
        return np.einsum("gi,ij,gj->g", SCORED & ~groups, self.counts, predicted)

