"""Waymo's average precision: the area under operating points that are float32, as those of the official tool."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

RECALL_STEP = 0.05
_SLACK = 1e-6                                              # added to the step before recalls are compared


def average_precision(recall: np.ndarray, precision: np.ndarray, recall_step: float = RECALL_STEP) -> float:
    """Area under a precision-recall curve given at operating points, in any order.

    The curve is a staircase from the right: at each recall the best precision of this and all larger recalls. It is
    sampled at the operating points and, where they lie further apart than the step, in between; the samples are joined
    by straight lines. Above the largest recall nothing counts; below the smallest the curve is level.

    Args:
        recall: (C,) float32 in [0, 1].
        precision: (C,) float32.
        recall_step: largest distance of samples.

    Returns:
        A float32 in [0, 1].
    """
    recalls, curve = _samples(recall, precision, recall_step)
    widths = recalls[:-1] - recalls[1:]
    return float(np.float32((widths * (curve[:-1] + curve[1:])).sum() / 2))


def precision_and_recall(
    tp: np.ndarray, fp: np.ndarray, fn: np.ndarray, weighted_tp: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Precision and recall at each cut-off; 0/0 is 0, and where the recall is 0 the precision is 1.

    Args:
        tp: (C,) true positives.
        fp: (C,) false positives.
        fn: (C,) ground truth that was not found.
        weighted_tp: (C,) in place of ``tp`` in the numerator of the precision, such as sums of heading accuracies.

    Returns:
        (C,) float32 each.
    """
    found = tp if weighted_tp is None else weighted_tp
    precision, recall = _ratio(found, tp + fp), _ratio(tp, tp + fn)
    return np.where(recall == 0, np.float32(1), precision), recall


def _samples(recall: np.ndarray, precision: np.ndarray, recall_step: float) -> tuple[np.ndarray, np.ndarray]:
    """(n,) recalls from the largest to 0, and the curve there: float64 of float32, so that a perfect area sums to 1."""
    points: dict[np.float32, np.float32] = {np.float32(0): np.float32(1)}
    for r, p in zip(np.asarray(recall, np.float32), np.asarray(precision, np.float32), strict=True):
        points[r] = max(points.get(r, p), p)
    step = np.float32(recall_step)
    best, last = np.float32(0), np.float32(0)
    recalls: list[np.float32] = []
    curve: list[np.float32] = []
    for r in sorted(points, reverse=True):
        while float(last - r) > float(step) + _SLACK:
            last = last - step
            recalls.append(last)
            curve.append(best)
        best, last = max(best, points[r]), r
        recalls.append(r)
        curve.append(best)
    if len(curve) > 1:
        curve[-1] = curve[-2]
    return np.array(recalls, np.float64), np.array(curve, np.float64)


def _ratio(part: Sequence[float] | np.ndarray, whole: np.ndarray) -> np.ndarray:
    part, whole = np.asarray(part, np.float32), np.asarray(whole, np.float32)
    return np.divide(part, whole, out=np.zeros_like(part), where=whole > 0)
