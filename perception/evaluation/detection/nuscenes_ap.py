"""Curves of precision, confidence and errors over recall, class by class, as nuScenes' devkit draws them.

The same operations in the same order as there, on columns: the numbers are equal to the last bit.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from perception_ops.greedy_centers import greedy_centers, row_norms

from ...structures.angles import direction
from .nuscenes_boxes import NO_ATTRIBUTE, NuScenesBoxes

NUM_RECALLS = 101
ERROR_CURVES = ("trans_err", "vel_err", "scale_err", "orient_err", "attr_err")
HALF_TURN_ALIKE = "barrier"                                # a class without front and back
UNIT_TOLERANCE = 1e-14                                     # pyquaternion's, of the squared norm
Curves = dict[str, np.ndarray]                             # each (101,) float64


def class_curves(
    truth: NuScenesBoxes,
    true_rows: np.ndarray,
    predictions: NuScenesBoxes,
    found_rows: np.ndarray,
    owner: np.ndarray,
    thresholds: Sequence[float],
    period: float,
) -> list[Curves]:
    """The curves of one class at each matching threshold.

    Predictions come by falling score, of equal scores the later one first.

    Args:
        truth: the true boxes.
        true_rows: (G,) int64, those of the class that count, rising.
        predictions: the predicted boxes.
        found_rows: (K,) int64, those of the class that count, rising.
        owner: (N,) int32, the sample of ``truth`` to which each prediction belongs, or -1.
        thresholds: (T,) [m].
        period: two orientations that differ by it are the same [rad].

    Raises:
        ValueError: a matched box has a size of 0 or less, or the confidences do not fall along the curve, which happens
            with infinite or negative scores.
    """
    if not len(true_rows):
        return [_nothing_found() for _ in thresholds]
    ranked = found_rows[np.argsort(predictions.score[found_rows], kind="stable")[::-1]]
    scores = predictions.score[ranked]
    matches = greedy_centers(
        predictions.translation[ranked, :2], owner[ranked], truth.translation[true_rows, :2],
        np.searchsorted(true_rows, truth.offsets).astype(np.int64), np.array(thresholds, np.float64),
    )                                                                                                # (T, K)
    yaws = np.full(len(ranked), np.nan)
    is_matched = (matches >= 0).any(axis=0)
    yaws[is_matched] = quaternion_yaws(predictions.rotation[ranked[is_matched]])
    true_yaws = quaternion_yaws(truth.rotation[true_rows])
    curves = []
    for match in matches:
        hit = np.flatnonzero(match >= 0)
        if not len(hit):
            curves.append(_nothing_found())
            continue
        errors = _errors(truth, true_rows[match[hit]], predictions, ranked[hit])
        turned = _angles_between(true_yaws[match[hit]], yaws[hit], period)
        curves.append(_curves(match >= 0, scores, len(true_rows), {**errors, "orient_err": turned}))
    return curves


def quaternion_yaws(rotation: np.ndarray) -> np.ndarray:
    """(N, 4) quaternions w x y z -> (N,) direction of the turned x axis in the xy plane [rad].

    The products are BLAS's of small matrices, one a quaternion, as in pyquaternion's ``rotation_matrix``; NumPy calls
    BLAS only for matrices that lie in memory one after the other.
    """
    squares = np.matmul(rotation[:, None, :], rotation[:, :, None])[:, 0, 0]
    norm = np.sqrt(squares)
    as_is = (np.abs(1.0 - squares) < UNIT_TOLERANCE) | ~(norm > 0)
    unit = rotation / np.where(as_is, 1.0, norm)[:, None]
    left, right = (np.ascontiguousarray(unit[:, _ORDER] * signs) for signs in (_SIGNS, _SIGNS_OF_CONJUGATE))
    turn = np.matmul(left, right.transpose(0, 2, 1))[:, 1:, 1:]                           # (N, 4, 4)s -> (N, 3, 3)
    ahead = np.matmul(turn, np.array([1.0, 0.0, 0.0]))                                               # (N, 3)
    return direction(ahead[:, 0], ahead[:, 1])


_ORDER = np.array([[0, 1, 2, 3], [1, 0, 3, 2], [2, 3, 0, 1], [3, 2, 1, 0]])
_SIGNS = np.array([[1, -1, -1, -1], [1, 1, -1, 1], [1, 1, 1, -1], [1, -1, 1, 1]], np.float64)
_SIGNS_OF_CONJUGATE = np.array([[1, -1, -1, -1], [1, 1, 1, -1], [1, -1, 1, 1], [1, 1, -1, 1]], np.float64)


def cumulative_mean(values: np.ndarray) -> np.ndarray:
    """(M,) -> (M,): the mean of the first m values without NaN; 0 where all of them are, 1 if all of all are."""
    unknown = np.isnan(values)
    if unknown.all():
        return np.ones(len(values))
    sums, counts = np.nancumsum(values), np.cumsum(~unknown)
    return np.divide(sums, counts, out=np.zeros_like(sums), where=counts != 0)


def _errors(truth: NuScenesBoxes, true: np.ndarray, predictions: NuScenesBoxes, found: np.ndarray) -> Curves:
    """(M,) rows of matched boxes -> (M,) errors by name."""
    true_size, size = truth.size[true], predictions.size[found]
    for sizes, rows, boxes in ((true_size, true, truth), (size, found, predictions)):
        flat = np.flatnonzero(~(sizes > 0).all(axis=1))
        if len(flat):
            token = boxes.tokens[boxes.sample[rows[flat[0]]]]
            raise ValueError(f"sizes must be > 0 m, got {sizes[flat[0]].tolist()} in sample {token!r}")
    shared = _volumes(np.minimum(true_size, size))
    union = _volumes(true_size) + _volumes(size) - shared
    attribute = truth.attribute[true]
    return {
        "trans_err": row_norms(predictions.translation[found, :2] - truth.translation[true, :2]),
        "vel_err": row_norms(predictions.velocity[found] - truth.velocity[true]),
        "scale_err": 1 - shared / union,
        "attr_err": np.where(attribute == NO_ATTRIBUTE, np.nan, attribute != predictions.attribute[found]),
    }


def _volumes(sizes: np.ndarray) -> np.ndarray:
    return sizes[:, 0] * sizes[:, 1] * sizes[:, 2]


def _angles_between(true: np.ndarray, found: np.ndarray, period: float) -> np.ndarray:
    """[rad], in [0, pi]."""
    angle = (true - found + period / 2) % period - period / 2
    return np.abs(np.where(angle > np.pi, angle - 2 * np.pi, angle))


def _curves(is_hit: np.ndarray, scores: np.ndarray, num_truth: int, errors: Curves) -> Curves:
    """(K,) predictions by rank, and (M,) errors of the M hits among them."""
    hits = np.cumsum(is_hit).astype(np.float64)
    precision, recall = hits / np.arange(1.0, len(hits) + 1.0), hits / float(num_truth)
    recalls = np.linspace(0, 1, NUM_RECALLS)
    confidence = np.interp(recalls, recall, scores, right=0)
    if not (confidence[1:] <= confidence[:-1]).all():
        raise ValueError(f"detection_score must be finite and >= 0, got {scores.min()} to {scores.max()}")
    hit_scores = scores[is_hit]
    resampled = {
        name: np.interp(confidence[::-1], hit_scores[::-1], cumulative_mean(errors[name])[::-1])[::-1]
        for name in ERROR_CURVES
    }
    return {
        "recall": recalls, "precision": np.interp(recalls, recall, precision, right=0), "confidence": confidence,
        **resampled,
    }


def _nothing_found() -> Curves:
    return {
        "recall": np.linspace(0, 1, NUM_RECALLS), "precision": np.zeros(NUM_RECALLS),
        "confidence": np.zeros(NUM_RECALLS), **{name: np.ones(NUM_RECALLS) for name in ERROR_CURVES},
    }
