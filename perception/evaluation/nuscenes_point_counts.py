"""What a frame adds to nuScenes' scores of points, and the scores of the sum: the devkit's numbers, bit by bit.

Points and segments are counted by `np.bincount`; IoUs are added in the devkit's order, truth by truth. Classes are the
devkit's codes: one more than those of `POINT_CLASSES`, and 0 for points that do not count.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import reduce
from itertools import pairwise

import numpy as np

from perception.datasets.nuscenes_point_labels import POINT_CLASSES, THINGS

MATCH_IOU = 0.5
NUM_CODES = len(POINT_CLASSES) + 1                 # of the devkit, 0 among them
TABLE_CODES = 1 << 20                              # segments are counted in a table if their codes are below it
TINY = 1e-15                                       # the devkit's guard of 0/0


@dataclass(frozen=True, eq=False)
class PointCounts:
    """What frames add to the scores; rows and columns are the devkit's 17 classes. Counts of frames add up.

    Args:
        confusion: (17, 17) int64 points by true (row) and predicted class.
        matched, extra, missed: (17,) int64 segments: TP, FP and FN; None without instances.
        iou: (17,) float64 sum of the IoU of matched segments; None likewise.
    """

    confusion: np.ndarray
    matched: np.ndarray | None = None
    extra: np.ndarray | None = None
    missed: np.ndarray | None = None
    iou: np.ndarray | None = None

    def __add__(self, other: PointCounts) -> PointCounts:
        """The counts of both; segments are counted only if both have them."""
        segments = (_sum(getattr(self, name), getattr(other, name)) for name in ("matched", "extra", "missed", "iou"))
        return PointCounts(self.confusion + other.confusion, *segments)

    def flat(self) -> dict[str, float]:
        """mIoU, fwIoU and car_IoU ...; with segments PQ, SQ, RQ, PQ_dagger and car_PQ ... too. 0/0 is left out."""
        right, truth = np.diagonal(self.confusion), self.confusion.sum(axis=1)
        union = truth + self.confusion.sum(axis=0) - right
        with np.errstate(divide="ignore", invalid="ignore"):
            by_class = right / union.astype(np.float32)    # so does the devkit: seven digits beyond 2^24 points
        flat: dict[str, float] = {}
        if np.isfinite(by_class).any():
            flat |= {"mIoU": float(np.nanmean(by_class)), "fwIoU": float(np.nansum(truth * by_class) / truth.sum())}
        flat |= {f"{name}_IoU": float(by_class[code]) for code, name in enumerate(POINT_CLASSES, 1)}
        if self.matched is not None and self.extra is not None and self.missed is not None and self.iou is not None:
            flat |= self._panoptic(self.matched.astype(np.float64), self.extra, self.missed, self.iou)
        return {name: value for name, value in flat.items() if np.isfinite(value)}

    def _panoptic(
        self, matched: np.ndarray, extra: np.ndarray, missed: np.ndarray, iou_sum: np.ndarray
    ) -> dict[str, float]:
        """PQ, SQ and RQ of each class and their means; a class without any segment counts as 0."""
        sq = iou_sum / np.maximum(matched, TINY)
        rq = matched / np.maximum(matched + 0.5 * extra + 0.5 * missed, TINY)
        pq = sq * rq
        points = self.confusion.astype(np.float64)
        right = points.diagonal()
        iou = right / np.maximum(right + (points.sum(axis=0) - right) + (points.sum(axis=1) - right), TINY)
        things = len(THINGS)
        dagger = np.concatenate([pq[1 : things + 1], iou[things + 1 :]]).mean()
        flat = {"PQ": pq[1:].mean(), "SQ": sq[1:].mean(), "RQ": rq[1:].mean(), "PQ_dagger": dagger}
        flat |= {"PQ_things": pq[1 : things + 1].mean(), "PQ_stuff": pq[things + 1 :].mean()}
        for code, name in enumerate(POINT_CLASSES, 1):
            flat |= {f"{name}_PQ": pq[code], f"{name}_SQ": sq[code], f"{name}_RQ": rq[code]}
        return {name: float(value) for name, value in flat.items()}


def sum_counts(counts: Iterable[PointCounts]) -> PointCounts:
    """The counts of all frames."""
    return reduce(PointCounts.__add__, counts)


def counted(
    true: np.ndarray, found: np.ndarray, instances: np.ndarray | None, found_instances: np.ndarray | None,
    min_points: int,
) -> PointCounts:
    """Of (N,) int64 codes in [1, 16] and instances in [0, 2^32 - 1) of points of known class, true and predicted."""
    confusion = np.bincount(true * NUM_CODES + found, minlength=NUM_CODES**2).reshape(NUM_CODES, NUM_CODES)
    if instances is None or found_instances is None:
        return PointCounts(confusion)
    truths, founds = _Segments.of_points(true, instances), _Segments.of_points(found, found_instances)
    same = true == found
    width = max(len(founds.sizes), 1)
    pairs, common = _distinct(truths.of_point[same] * width + founds.of_point[same])
    first, second = pairs // width, pairs % width          # by truth, then prediction, within a class
    iou = common / (truths.sizes[first] + founds.sizes[second] - common)
    hits = iou > MATCH_IOU
    classes, matched_iou = truths.classes[first[hits]], iou[hits]
    begins = np.searchsorted(classes, np.arange(NUM_CODES + 1))
    sums = [np.sum(matched_iou[begin:end]) for begin, end in pairwise(begins)]
    return PointCounts(
        confusion, np.bincount(classes, minlength=NUM_CODES), founds.missed(second[hits], min_points),
        truths.missed(first[hits], min_points), np.array(sums, np.float64),
    )


@dataclass(frozen=True, eq=False)
class _Segments:
    """Segments of one frame, by rising class, then instance.

    Args:
        of_point: (N,) int64 segment of each point.
        sizes: (S,) int64 points.
        classes: (S,) int64 code of the class.
    """

    of_point: np.ndarray
    sizes: np.ndarray
    classes: np.ndarray

    @classmethod
    def of_points(cls, classes: np.ndarray, instances: np.ndarray) -> _Segments:
        span = int(instances.max(initial=0)) + 1
        codes = classes * span + instances                 # below 2^37
        if NUM_CODES * span > TABLE_CODES:
            values, of_point, sizes = np.unique(codes, return_inverse=True, return_counts=True)
            return cls(of_point, sizes, values // span)
        counts = np.bincount(codes)
        values = np.flatnonzero(counts)
        place = np.zeros(len(counts), np.int64)
        place[values] = np.arange(len(values))
        return cls(place[codes], counts[values], values // span)

    def missed(self, matched: np.ndarray, min_points: int) -> np.ndarray:
        """(17,) segments of enough points that are not among the matched ones."""
        is_missed = self.sizes >= min_points
        is_missed[matched] = False
        return np.bincount(self.classes[is_missed], minlength=NUM_CODES)


def _distinct(codes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rising distinct codes and how often each occurs."""
    if codes.max(initial=0) >= TABLE_CODES:
        return np.unique(codes, return_counts=True)
    counts = np.bincount(codes)
    values = np.flatnonzero(counts)
    return values, counts[values]


def _sum(first: np.ndarray | None, second: np.ndarray | None) -> np.ndarray | None:
    return None if first is None or second is None else first + second

