"""Panoptic quality, as panopticapi and cityscapesScripts count it (Kirillov et al., CVPR 2019).

A predicted and a true segment of the same category match if their IoU is above 0.5. Void pixels of the truth (id 0) do
not count in the union; void of the prediction and crowd regions do, so the measure is not symmetric. A prediction that
lies by more than half on void or on the crowd of its category is left out. Counts are those of the data set: PQ is no
mean over pictures.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .pair_counts import pair_counts, ratio, rows_of

VOID = 0
MATCH_IOU = 0.5
GROUPS = ("all", "things", "stuff")


@dataclass(frozen=True, eq=False)
class SegmentTable:
    """What the segments of an id map are.

    Args:
        ids: (S,) their ids in the map, distinct.
        categories: (S,) their categories.
        is_crowd: (S,) bool, regions of several instances; None if there is none.
        areas: (S,) pixels of each as the data set's files tell them; None to count them in the map.

    Raises:
        ValueError: the columns differ in length or an id comes twice.
    """

    ids: np.ndarray
    categories: np.ndarray
    is_crowd: np.ndarray | None = None
    areas: np.ndarray | None = None

    def __post_init__(self) -> None:
        for name, dtype in (("ids", np.int64), ("categories", np.int64), ("is_crowd", np.bool_), ("areas", np.int64)):
            column = getattr(self, name)
            if column is None:
                continue
            column = np.asarray(column).astype(dtype)
            if column.shape != (len(self.ids),):
                raise ValueError(f"{name} must be ({len(self.ids)},), got {column.shape}")
            object.__setattr__(self, name, column)
        values, counts = np.unique(self.ids, return_counts=True)
        if (counts > 1).any():
            raise ValueError(f"ids must be distinct, got {values[counts > 1][0]} twice")

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True, eq=False)
class PanopticAverage:
    """Means over some categories, in 0..1; NaN if none of them occurs (where the official script divides by zero).

    Args:
        pq: panoptic quality.
        sq: segmentation quality, mean IoU of the matches.
        rq: recognition quality, the F1 score of segments.
        num_averaged: categories in the means, those that occur in truth or prediction.
    """

    pq: float
    sq: float
    rq: float
    num_averaged: int


@dataclass(frozen=True, eq=False)
class PanopticScores:
    """Counts and qualities by category, in the order of ``categories``.

    Args:
        categories: (K,) int64 category ids, rising.
        tp: (K,) int64 matches.
        fp: (K,) int64 predictions without a match.
        fn: (K,) int64 true segments without a match.
        iou_sum: (K,) IoU of the matches, summed.
        pq: (K,) in 0..1; 0 for a category that does not occur, as ``sq`` and ``rq``.
        sq: (K,) in 0..1.
        rq: (K,) in 0..1.
        averages: means over "all", "things" and "stuff".
    """

    categories: np.ndarray
    tp: np.ndarray
    fp: np.ndarray
    fn: np.ndarray
    iou_sum: np.ndarray
    pq: np.ndarray
    sq: np.ndarray
    rq: np.ndarray
    averages: dict[str, PanopticAverage]


class PanopticQuality:
    """Matches and misses of segments by category.

    Args:
        categories: whether it is a thing, by category id.

    Raises:
        ValueError: there is no category.
    """

    def __init__(self, categories: Mapping[int, bool]) -> None:
        if not categories:
            raise ValueError("categories must name at least one category, got none")
        self.categories = np.array(sorted(categories), np.int64)                         # (K,)
        self.is_thing = np.array([categories[category] for category in self.categories.tolist()], np.bool_)
        self.tp, self.fp, self.fn = (np.zeros(len(categories), np.int64) for _ in range(3))
        self.iou_sum = np.zeros(len(categories))

    def update(
        self, truth: npt.ArrayLike, truth_segments: SegmentTable, predictions: npt.ArrayLike, predicted: SegmentTable
    ) -> None:
        """Count one picture.

        Args:
            truth: (H, W) ids of true segments, 0 for void; ids that are not listed count as no segment.
            truth_segments: the true segments. Of several crowds of one category the last one counts.
            predictions: (H, W) ids of predicted segments, 0 for none.
            predicted: the predicted segments; neither crowds nor areas are looked at.

        Raises:
            ValueError: the maps differ in shape, a predicted id is in the map or in the list alone, or a category is
                unknown.
        """
        pairs = pair_counts(truth, predictions)
        areas = self._predicted_areas(*pairs.seconds(), predicted)                       # (P,)
        true_areas = _true_areas(*pairs.firsts(), truth_segments)                        # (T,)
        true_class = self._rows_of(truth_segments.categories, "truth_segments")          # (T,)
        found_class = self._rows_of(predicted.categories, "predicted")                   # (P,)
        crowd = np.zeros(len(true_class), np.bool_) if truth_segments.is_crowd is None else truth_segments.is_crowd
        t, p, n = rows_of(pairs.first, truth_segments.ids), rows_of(pairs.second, predicted.ids), pairs.counts
        on_void = (pairs.first == VOID) & (p >= 0)
        void = np.bincount(p[on_void], weights=n[on_void], minlength=len(areas))         # (P,)

        alike = (t >= 0) & (p >= 0)
        alike[alike] = true_class[t[alike]] == found_class[p[alike]]
        t, p, n = t[alike], p[alike], n[alike]
        iou = ratio(n, areas[p] + true_areas[t] - n - void[p], empty=0.0)
        match = (iou > MATCH_IOU) & ~crowd[t]
        self._count(self.tp, true_class[t[match]])
        self.iou_sum += np.bincount(true_class[t[match]], weights=iou[match], minlength=len(self.categories))

        is_missed = ~crowd
        is_missed[t[match]] = False
        self._count(self.fn, true_class[is_missed])
        last_crowd = np.full(len(self.categories), -1)                                   # (K,) its row
        np.maximum.at(last_crowd, true_class[crowd], np.flatnonzero(crowd))
        on_crowd = last_crowd[true_class[t]] == t
        excused = void + np.bincount(p[on_crowd], weights=n[on_crowd], minlength=len(areas))
        is_false = excused / areas <= MATCH_IOU
        is_false[p[match]] = False
        self._count(self.fp, found_class[is_false])

    def merge(self, other: PanopticQuality) -> None:
        """Take in the counts of another process. Raises ValueError if it has other categories."""
        if not np.array_equal(other.categories, self.categories):
            raise ValueError(f"cannot merge categories {other.categories.tolist()} into {self.categories.tolist()}")
        for name in ("tp", "fp", "fn", "iou_sum"):
            getattr(self, name)[:] += getattr(other, name)

    def compute(self) -> PanopticScores:
        """Scores over all that was counted."""
        weight = self.tp + self.fp / 2 + self.fn / 2
        sq = ratio(self.iou_sum, self.tp, empty=0.0)
        rq = ratio(self.tp, weight, empty=0.0)
        pq = ratio(self.iou_sum, weight, empty=0.0)
        groups = dict(zip(GROUPS, (np.ones_like(self.is_thing), self.is_thing, ~self.is_thing), strict=True))
        averages = {}
        for name, members in groups.items():
            used = members & (weight > 0)
            pq_mean, sq_mean, rq_mean = (float(ratio(values[used].sum(), used.sum())) for values in (pq, sq, rq))
            averages[name] = PanopticAverage(pq_mean, sq_mean, rq_mean, int(used.sum()))
        counts = (self.tp.copy(), self.fp.copy(), self.fn.copy(), self.iou_sum.copy())
        return PanopticScores(self.categories, *counts, pq=pq, sq=sq, rq=rq, averages=averages)

    def _predicted_areas(self, values: np.ndarray, sizes: np.ndarray, predicted: SegmentTable) -> np.ndarray:
        """(P,) pixels of the listed segments, given the ids of the map and their sizes."""
        unlisted = values[(values != VOID) & (rows_of(values, predicted.ids) < 0)]
        if unlisted.size:
            raise ValueError(f"predictions must have listed ids only, got {unlisted[0]}, which is not in predicted.ids")
        place = rows_of(predicted.ids, values)
        absent = predicted.ids[(place < 0) | (predicted.ids == VOID)]
        if absent.size:
            raise ValueError(f"predicted must list segments of the map only, got id {absent[0]}, which has no pixel")
        return sizes[place]

    def _rows_of(self, categories: np.ndarray, name: str) -> np.ndarray:
        rows = rows_of(categories, self.categories)
        if (rows < 0).any():
            known = ", ".join(str(category) for category in self.categories.tolist())
            raise ValueError(f"{name} must have categories among {known}, got {categories[rows < 0][0]}")
        return rows

    def _count(self, counts: np.ndarray, classes: np.ndarray) -> None:
        counts += np.bincount(classes, minlength=len(self.categories))


def _true_areas(values: np.ndarray, sizes: np.ndarray, segments: SegmentTable) -> np.ndarray:
    """(T,) pixels of the listed segments, given the ids of the map and their sizes; 0 for one not in the map."""
    if segments.areas is not None:
        return segments.areas
    return np.append(sizes, 0)[rows_of(segments.ids, values)]
