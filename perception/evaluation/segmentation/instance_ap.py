"""Average precision of instance masks as Cityscapes scores it; it differs from COCO's by one to three points.

Cordts et al., "The Cityscapes Dataset", CVPR 2016, section 4. At each of ten overlaps 0.5, 0.55, ... 0.95 a prediction
whose IoU with a true instance of its class is above (not at) the overlap matches it; of several the one with the
highest score stands and the others are false. Predictions that overlap no instance, group or small instance of their
class like that are false unless a larger share than the overlap lies on unscored labels, groups and small instances.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from perception.datasets.cityscapes_labels import INSTANCE_FACTOR, PICTURE_LABELS
from perception.datasets.compact_labels import compact

from .pair_counts import mean_or_nan, ratio

OVERLAPS = tuple(np.arange(0.5, 1.0, 0.05).tolist())
MIN_REGION = 100                                            # [pixels]
CLASS_IDS = tuple(label.id for label in PICTURE_LABELS if label.has_instances and label.is_scored)
IGNORED_IDS = tuple(label.id for label in PICTURE_LABELS if not label.is_scored)


@dataclass(frozen=True, eq=False)
class InstanceScores:
    """Average precisions in 0..1.

    Args:
        ap: (K, O) by class and overlap; NaN for a class without true instances.
        mean: over classes and overlaps; NaN if no class has true instances, as `mean50`.
        mean50: over classes at the first overlap, 0.5.
        num_averaged: classes in the means.
    """

    ap: np.ndarray
    mean: float
    mean50: float
    num_averaged: int


@dataclass(frozen=True, eq=False)
class _Candidates:
    """Predictions that count at some overlap: class row, overlap row, score, and whether it is a match; all (N,)."""

    classes: np.ndarray
    overlaps: np.ndarray
    scores: np.ndarray
    is_match: np.ndarray


class InstanceAP:
    """Matches, false positives and misses of instances by class and overlap.

    Args:
        class_ids: labels that are scored.
        ignored_ids: labels whose regions, unless they are instances, excuse predictions.
        overlaps: IoUs that a match must exceed, the first one being that of `InstanceScores.mean50`.
        min_region: true instances of fewer pixels are no matter.

    Raises:
        ValueError: a label is both, comes twice, or lies outside [0, 1000); an overlap is below 0.5.
    """

    def __init__(
        self,
        class_ids: Sequence[int] = CLASS_IDS,
        ignored_ids: Collection[int] = IGNORED_IDS,
        *,
        overlaps: Sequence[float] = OVERLAPS,
        min_region: int = MIN_REGION,
    ) -> None:
        labels = [*class_ids, *ignored_ids]
        if len(set(labels)) < len(labels):
            raise ValueError(f"class_ids and ignored_ids must be distinct, got {labels}")
        if labels and not 0 <= min(labels) <= max(labels) < INSTANCE_FACTOR:
            raise ValueError(f"class_ids and ignored_ids must lie in [0, {INSTANCE_FACTOR}), got {labels}")
        self.overlaps, self.min_region = np.array(overlaps, np.float64), min_region      # (O,)
        if not self.overlaps.size or (self.overlaps < 0.5).any():
            raise ValueError(f"overlaps must be one or more, each 0.5 or more, got {list(overlaps)}")
        self.class_ids, self.ignored_ids = tuple(class_ids), tuple(ignored_ids)
        self.num_truth = np.zeros(len(class_ids), np.int64)
        self.missed = np.zeros((len(class_ids), len(self.overlaps)), np.int64)
        self._candidates: list[_Candidates] = []

    def update(
        self, truth: npt.ArrayLike, masks: npt.ArrayLike, labels: npt.ArrayLike, scores: npt.ArrayLike
    ) -> None:
        """Count one picture.

        Args:
            truth: (H, W) 1000 * label + number for instances, labels elsewhere (groups, other regions).
            masks: (P, H, W) bool; they may overlap. Empty ones and those of labels that are not scored are left out.
            labels: (P,) integers.
            scores: (P,) confidence.

        Raises:
            ValueError: shapes differ or a score is not finite.
        """
        region, found = np.asarray(truth), np.asarray(masks, np.bool_)
        label, score = np.asarray(labels).reshape(-1), np.asarray(scores, np.float64).reshape(-1)
        if region.ndim != 2 or found.shape[1:] != region.shape or not len(found) == len(label) == len(score):
            raise ValueError(
                f"masks must be (P, H, W) with P labels and scores for a truth of (H, W), got {found.shape}, "
                f"{label.shape}, {score.shape} and {region.shape}"
            )
        if not np.isfinite(score).all():
            raise ValueError(f"scores must be finite, got {score[~np.isfinite(score)][0]}")
        values, place = compact(region)                                                  # (G,) regions, (H, W)
        sizes = np.bincount(place.ravel(), minlength=len(values))                        # (G,)
        shared = shared_pixels(found, place, len(values))                                # (P, G)
        for row, class_id in enumerate(self.class_ids):
            own = (label == class_id) & shared.any(axis=1)
            self._add_class(row, class_id, values, sizes, shared[own], score[own])

    def _add_class(
        self, row: int, class_id: int, values: np.ndarray, sizes: np.ndarray, shared: np.ndarray, scores: np.ndarray
    ) -> None:
        """One class of one picture: (G,) values and sizes of the regions, (P, G) pixels shared, (P,) scores."""
        is_group = values == class_id
        is_instance = (values >= INSTANCE_FACTOR) & (values // INSTANCE_FACTOR == class_id)
        is_small = (is_group | is_instance) & (sizes < self.min_region)
        is_true = is_instance & ~is_small
        self.num_truth[row] += is_true.sum()

        areas = shared.sum(axis=1)                                                       # (P,)
        iou = shared / (areas[:, None] + sizes - shared)                                 # (P, G)
        reached = iou > self.overlaps[:, None, None]                                     # (O, P, G)
        claims = reached[:, :, is_true]                                                  # (O, P, T)
        self.missed[row] += (~claims.any(axis=1)).sum(axis=1)
        if not len(scores):
            return
        overlap, prediction, truth = np.nonzero(claims)
        surest = np.where(claims, scores[:, None], -np.inf).argmax(axis=1)               # (O, T)
        self._append(row, overlap, scores[prediction], surest[overlap, truth] == prediction)

        excusing = np.isin(values, self.ignored_ids).astype(np.int64) + is_group + is_small   # a small group twice
        is_free = ~reached[:, :, is_group | is_instance].any(axis=2)                     # (O, P)
        overlap, prediction = np.nonzero(is_free & (shared @ excusing / areas <= self.overlaps[:, None]))
        self._append(row, overlap, scores[prediction], np.zeros(len(overlap), np.bool_))

    def _append(self, row: int, overlaps: np.ndarray, scores: np.ndarray, is_match: np.ndarray) -> None:
        self._candidates.append(_Candidates(np.full(len(overlaps), row), overlaps, scores, is_match))

    def merge(self, other: InstanceAP) -> None:
        """Take in what another process counted. Raises ValueError if it counts otherwise."""
        mine, others = (
            (part.class_ids, tuple(part.ignored_ids), tuple(part.overlaps.tolist()), part.min_region)
            for part in (self, other)
        )
        if mine != others:
            raise ValueError(f"cannot merge classes, ignored labels, overlaps and least size {others} into {mine}")
        self.num_truth += other.num_truth
        self.missed += other.missed
        self._candidates.extend(other._candidates)

    def compute(self) -> InstanceScores:
        """Scores over all that was counted."""
        columns = ("classes", "overlaps", "scores", "is_match")
        empty = _Candidates(*(np.zeros(0, dtype) for dtype in (np.int64, np.int64, np.float64, np.bool_)))
        parts = [*self._candidates, empty]
        pool = _Candidates(*(np.concatenate([getattr(part, name) for part in parts]) for name in columns))
        ap = np.full(self.missed.shape, np.nan)
        for row in np.flatnonzero(self.num_truth):
            for overlap in range(len(self.overlaps)):
                own = (pool.classes == row) & (pool.overlaps == overlap)
                ap[row, overlap] = average_precision(
                    pool.scores[own], pool.is_match[own], int(self.missed[row, overlap])
                )
        return InstanceScores(ap, mean_or_nan(ap), mean_or_nan(ap[:, 0]), int((self.num_truth > 0).sum()))


def average_precision(scores: np.ndarray, is_match: np.ndarray, num_missed: int) -> float:
    """Area under precision over recall, one point for each distinct score; 0 if there is no prediction.

    Each point's precision is weighted with half the distance between its neighbours' recalls; a point of precision 1
    at recall 0 ends the curve, and its start is repeated.

    Args:
        scores: (N,) confidence of predictions that are a match or false.
        is_match: (N,) bool.
        num_missed: true instances that no prediction matches.
    """
    if not len(scores):
        return 0.0
    order = np.argsort(scores, kind="stable")
    firsts = np.unique(scores[order], return_index=True)[1]                              # (L,) by rising score
    matches = is_match[order][::-1].cumsum()[::-1][firsts]                               # (L,) of that score or more
    precision = np.append(matches / (len(scores) - firsts), 1.0)                         # (L + 1,)
    recall = np.append(ratio(matches, is_match.sum() + num_missed, empty=0.0), 0.0)      # (L + 1,)
    before, after = np.append(recall[0], recall[:-1]), np.append(recall[1:], 0.0)
    return float(precision @ (before - after) / 2)


def shared_pixels(masks: np.ndarray, regions: np.ndarray, num_regions: int) -> np.ndarray:
    """(P, G) int64 pixels that each of (P, H, W) bool masks has in each of G regions; (H, W) region of each pixel."""
    mask, row, column = np.nonzero(masks)
    codes = mask * num_regions + regions[row, column]
    return np.bincount(codes, minlength=len(masks) * num_regions).reshape(len(masks), num_regions)
