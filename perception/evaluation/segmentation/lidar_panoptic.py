"""Panoptic quality of points as nuScenes scores it (Fong et al., "Panoptic nuScenes", RA-L 2022).

Labels are 1000 * class + instance, and a segment is all points of one label. Points without a true class are left out.
Unlike that of pictures there is neither void nor crowd; misses and false predictions of few points are forgiven,
matches of few points count, and all means run over all 16 classes: one that does not occur counts as 0.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .pair_counts import PairCounts, checked_labels, integer_maps, pair_counts, ratio

INSTANCE_FACTOR = 1000
SPAN = 2**16                                                # of labels; a segment is counted as SPAN * class + label
IGNORED = 0
NUM_CLASSES = 17                                            # with the ignored one
FIRST_STUFF = 11                                            # classes 1 to 10 are things, 11 to 16 stuff
MIN_POINTS = 15                                             # of the official run; the devkit's class defaults to 30
MATCH_IOU = 0.5


@dataclass(frozen=True, eq=False)
class LidarPanopticScores:
    """Scores in 0..1 and counts, by class with the ignored one first; what is 0/0 is 0.

    Args:
        pq: (17,) panoptic quality.
        sq: (17,) segmentation quality.
        rq: (17,) recognition quality.
        iou: (17,) IoU of points.
        tp: (17,) int64 matches.
        fp: (17,) int64 predictions of enough points without a match.
        fn: (17,) int64 true segments of enough points without a match.
        first_stuff: the classes from this one on are stuff.
    """

    pq: np.ndarray
    sq: np.ndarray
    rq: np.ndarray
    iou: np.ndarray
    tp: np.ndarray
    fp: np.ndarray
    fn: np.ndarray
    first_stuff: int = FIRST_STUFF

    def means(self) -> dict[str, float]:
        """PQ, SQ, RQ, mIoU, and PQ_dagger, in which stuff counts with its IoU; over all classes but the ignored one."""
        named = {"PQ": self.pq, "SQ": self.sq, "RQ": self.rq, "mIoU": self.iou}
        dagger = np.concatenate([self.pq[1 : self.first_stuff], self.iou[self.first_stuff :]])
        return {**{name: float(values[1:].mean()) for name, values in named.items()}, "PQ_dagger": float(dagger.mean())}


class LidarPanopticQuality:
    """Matches and misses of segments of points by class.

    Args:
        num_classes: with the ignored one, 0.
        first_stuff: classes from this one on are stuff.
        min_points: true segments and predictions of fewer points are no misses.
    """

    def __init__(
        self, num_classes: int = NUM_CLASSES, first_stuff: int = FIRST_STUFF, min_points: int = MIN_POINTS
    ) -> None:
        if not 1 < first_stuff <= num_classes:
            raise ValueError(f"first_stuff must lie in (1, {num_classes}], got {first_stuff}")
        self.num_classes, self.first_stuff, self.min_points = num_classes, first_stuff, min_points
        self.counts = np.zeros((num_classes, num_classes), np.int64)                     # truth, prediction
        self.tp, self.fp, self.fn = (np.zeros(num_classes, np.int64) for _ in range(3))
        self.iou_sum = np.zeros(num_classes)

    def update(
        self, truth: npt.ArrayLike, predictions: npt.ArrayLike, true_classes: npt.ArrayLike | None = None
    ) -> None:
        """Count one scan.

        Args:
            truth: (N,) true labels.
            predictions: (N,) predicted labels.
            true_classes: (N,) challenge class of each point, for a truth of 1000 * general index + instance, in which
                several indices make one class and their instances must not be joined; None: truth // 1000.

        Raises:
            ValueError: lengths differ, or a label or a class is unknown.
        """
        self.add(segment_pairs(truth, predictions, true_classes, self.num_classes))

    def add(self, pairs: PairCounts) -> None:
        """Count one scan from its `segment_pairs`."""
        np.add.at(self.counts, (pairs.first // SPAN, pairs.second // SPAN), pairs.counts)
        segments = Segments.of_pairs(pairs[pairs.first // SPAN != IGNORED])
        match = segments.is_match & (segments.true_class == segments.found_class)
        classes = segments.true_class[match]
        self.tp += np.bincount(classes, minlength=self.num_classes)
        self.iou_sum += np.bincount(classes, weights=segments.iou[match], minlength=self.num_classes)
        self.fn += self._misses(*segments.pairs.firsts(), segments.pairs.first[match])
        self.fp += self._misses(*segments.pairs.seconds(), segments.pairs.second[match])

    def _misses(self, segments: np.ndarray, sizes: np.ndarray, matched: np.ndarray) -> np.ndarray:
        """(17,) segments of enough points, given segments and sizes, that are not among the matched ones."""
        missed = segments[(sizes >= self.min_points) & ~np.isin(segments, matched)] // SPAN
        return np.bincount(missed[missed != IGNORED], minlength=self.num_classes)

    def merge(self, other: LidarPanopticQuality) -> None:
        """Take in the counts of another process. Raises ValueError if it counts otherwise."""
        if (other.num_classes, other.min_points) != (self.num_classes, self.min_points):
            raise ValueError(
                f"cannot merge counts of {other.num_classes} classes with min_points {other.min_points} into those "
                f"of {self.num_classes} with {self.min_points}"
            )
        for name in ("counts", "tp", "fp", "fn", "iou_sum"):
            getattr(self, name)[:] += getattr(other, name)

    def compute(self) -> LidarPanopticScores:
        """Scores over all that was counted."""
        counted = self.counts[1:]                                                        # without the ignored class
        right = np.append(0, counted[:, 1:].diagonal())
        truth, predicted = np.append(0, counted.sum(axis=1)), counted.sum(axis=0)
        weight = self.tp + self.fp / 2 + self.fn / 2
        sq, rq = ratio(self.iou_sum, self.tp, empty=0.0), ratio(self.tp, weight, empty=0.0)
        iou = ratio(right, truth + predicted - right, empty=0.0)
        counts = (self.tp.copy(), self.fp.copy(), self.fn.copy())
        return LidarPanopticScores(sq * rq, sq, rq, iou, *counts, first_stuff=self.first_stuff)


@dataclass(frozen=True, eq=False)
class Segments:
    """Pairs of a true and a predicted segment that share points, of one scan.

    Args:
        pairs: the two segments, each SPAN * class + label, and the points that they share, (K,).
        true_sizes: (K,) points of the true segment.
        found_sizes: (K,) points of the predicted one.
    """

    pairs: PairCounts
    true_sizes: np.ndarray
    found_sizes: np.ndarray

    @classmethod
    def of_pairs(cls, pairs: PairCounts) -> Segments:
        """With the sizes that the segments have in these pairs."""
        (truths, true_sizes), (founds, found_sizes) = pairs.firsts(), pairs.seconds()
        true_rows, found_rows = np.searchsorted(truths, pairs.first), np.searchsorted(founds, pairs.second)
        return cls(pairs, true_sizes[true_rows], found_sizes[found_rows])

    @property
    def true_class(self) -> np.ndarray:
        """(K,) class of the true segment."""
        return self.pairs.first // SPAN

    @property
    def found_class(self) -> np.ndarray:
        """(K,) class of the predicted segment."""
        return self.pairs.second // SPAN

    @property
    def iou(self) -> np.ndarray:
        """(K,) float64 in (0, 1]."""
        return self.pairs.counts / (self.true_sizes + self.found_sizes - self.pairs.counts)

    @property
    def is_match(self) -> np.ndarray:
        """(K,) bool, IoU above 0.5, whatever the classes."""
        return self.iou > MATCH_IOU


def segment_pairs(
    truth: npt.ArrayLike, predictions: npt.ArrayLike, true_classes: npt.ArrayLike | None, num_classes: int
) -> PairCounts:
    """Pairs of a true and a predicted segment, each SPAN * class + label; see `LidarPanopticQuality.update`."""
    true, predicted = integer_maps(truth, predictions)
    for name, labels in (("truth", true), ("predictions", predicted)):
        checked_labels(labels, 0, SPAN - 1, name)
    classes = true // INSTANCE_FACTOR if true_classes is None else integer_maps(true_classes, truth)[0]
    checked_labels(classes, 0, num_classes - 1, "classes of truth")
    checked_labels(predicted // INSTANCE_FACTOR, 0, num_classes - 1, "classes of predictions")
    return pair_counts(SPAN * classes + true, SPAN * (predicted // INSTANCE_FACTOR) + predicted)
