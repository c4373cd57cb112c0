"""Nearest-only matching within groups (a class in a frame), and areas under precision-recall curves."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

EPSILON = float(np.finfo(np.float32).eps)
RECALL_GRID = np.linspace(0.0, 1.0, 11).astype(np.float32)


def pairs_of_groups(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """(K, 2) int64 pairs (i, j) of equal group, by rising i, then j, for (P,) and (Q,) int64 groups."""
    order = np.argsort(second, kind="stable")
    begin = np.searchsorted(second[order], first, side="left")
    counts = np.searchsorted(second[order], first, side="right") - begin                 # (P,)
    i = np.repeat(np.arange(len(first)), counts)
    place = np.arange(len(i)) - np.repeat(np.cumsum(counts) - counts, counts)            # of a pair among those of i
    return np.stack([i, order[begin[i] + place]], axis=1)


@dataclass(frozen=True, eq=False)
class Nearest:
    """The truth that is nearest to each prediction; on ties the first.

    Args:
        truth: (P,) int64 row of the truth; -1 where none is within reach.
        distances: (P,) its distance; inf where there is none.
        scores: (P,) confidence.
    """

    truth: np.ndarray
    distances: np.ndarray
    scores: np.ndarray

    @classmethod
    def of_pairs(cls, pairs: np.ndarray, distances: np.ndarray, scores: np.ndarray) -> Nearest:
        """From (K, 2) pairs (prediction, truth) and their (K,) distances; pairs at inf are left out."""
        reached = np.flatnonzero(distances < np.inf)
        order = reached[np.lexsort((pairs[reached, 1], distances[reached], pairs[reached, 0]))]
        predictions, firsts = np.unique(pairs[order, 0], return_index=True)
        truth, nearest = np.full(len(scores), -1, np.int64), np.full(len(scores), np.inf)
        truth[predictions], nearest[predictions] = pairs[order[firsts], 1], distances[order[firsts]]
        return cls(truth, nearest, scores)

    def matched(self, threshold: float, *, is_strict: bool = False) -> np.ndarray:
        """(P,) int64 truth that each prediction takes, -1 for a false positive.

        By falling score (stable), a prediction takes its nearest truth if that is free and its distance at most the
        threshold, or below it if ``is_strict``. It has no second choice.
        """
        within = self.distances < threshold if is_strict else self.distances <= threshold
        order = np.argsort(-self.scores, kind="stable")
        order = order[within[order]]
        taken, firsts = np.unique(self.truth[order], return_index=True)
        matches = np.full(len(self.scores), -1, np.int64)
        matches[order[firsts]] = taken
        return matches


def area_under_curve(
    scores: np.ndarray, hits: np.ndarray, num_truth: int, dtype: type[np.floating] = np.float32
) -> float:
    """Average precision as the area below the precision made non-increasing; 0 without truth or predictions.

    Args:
        scores: (P,) confidence; equal ones stay in their order.
        hits: (P,) bool, whether a prediction took a true element.
        num_truth: true elements.
        dtype: in which recall, precision and area are computed.
    """
    recall, precision = _curve(scores, hits, num_truth, dtype)
    recall = np.concatenate([[0.0], recall, [1.0]]).astype(dtype)
    precision = np.concatenate([[0.0], precision, [0.0]]).astype(dtype)
    precision = np.maximum.accumulate(precision[::-1])[::-1]
    return float(np.sum((recall[1:] - recall[:-1]) * precision[1:], dtype=dtype))


def eleven_point_precision(scores: np.ndarray, hits: np.ndarray, num_truth: int) -> float:
    """Mean over the recalls 0, 0.1, ..., 1 of the best precision at that recall or more.

    Recall and grid are float32, so that a recall of exactly seven tenths reaches the grid's 0.7. Neither truth nor
    predictions gives 1, truth alone 0; see `area_under_curve` for the arguments.
    """
    if not num_truth and not len(scores):
        return 1.0
    recall, precision = _curve(scores, hits, num_truth, np.float32)
    reached = recall >= RECALL_GRID[:, None]                                             # (11, P)
    return float(np.where(reached, precision, np.float32(0.0)).max(axis=1, initial=0.0).mean(dtype=np.float32))


def _curve(
    scores: np.ndarray, hits: np.ndarray, num_truth: int, dtype: type[np.floating]
) -> tuple[np.ndarray, np.ndarray]:
    """(P,) recall and precision by falling score."""
    found = np.cumsum(hits[np.argsort(-scores, kind="stable")])
    recall = found.astype(dtype) / dtype(max(float(num_truth), EPSILON))
    precision = found.astype(dtype) / np.arange(1, len(found) + 1).astype(dtype)
    return recall, precision
