"""greedy_centers: the matching of the nuScenes detection benchmark (Caesar et al., CVPR 2020), on NumPy arrays.

Distances are those of ``np.linalg.norm(a - b)``, to the last bit, so that ties and distances at a threshold are decided
alike. That function asks BLAS, and BLAS may add the second square before or after rounding it, as the processor has it.
"""

from __future__ import annotations

from fractions import Fraction
from functools import cache
from itertools import pairwise

import numpy as np
import torch

from .checks import MOST
from .dispatch import NATIVE

_PROBES = 256


def greedy_centers(
    centers: np.ndarray, samples: np.ndarray, truth: np.ndarray, starts: np.ndarray, thresholds: np.ndarray
) -> np.ndarray:
    """Match predicted centres with true ones: each prediction, best first, takes the nearest free one of its sample.

    It takes it if it is nearer than the threshold, of equally near ones the first; every threshold is matched alone.

    Args:
        centers: (K, 2) float64 x, y of the predictions, best first over all samples [m].
        samples: (K,) int32 in [0, S), or -1 for a prediction of no sample, which matches nothing.
        truth: (G, 2) float64 true centres, sample by sample [m].
        starts: (S + 1,) int64; those of sample s are rows starts[s] to starts[s + 1] of ``truth``.
        thresholds: (T,) float64 [m].

    Returns:
        (T, K) int32 rows of ``truth``, or -1.

    Raises:
        ValueError: wrong shapes or dtypes, samples or starts out of range.
    """
    for name, array, shape, dtype in (
        ("centers", centers, (len(samples), 2), np.float64), ("samples", samples, (len(samples),), np.int32),
        ("truth", truth, (len(truth), 2), np.float64), ("starts", starts, (len(starts),), np.int64),
        ("thresholds", thresholds, (len(thresholds),), np.float64),
    ):
        if array.shape != shape or array.dtype != dtype:
            raise ValueError(f"{name} must be {np.dtype(dtype)} {shape}, got {array.dtype} {array.shape}")
    if len(starts) < 1 or starts[0] != 0 or starts[-1] != len(truth) or (np.diff(starts) < 0).any():
        raise ValueError(f"starts must rise from 0 to the {len(truth)} true centres, got {starts}")
    if len(samples) and not -1 <= samples.min() <= samples.max() < len(starts) - 1:
        raise ValueError(f"samples must lie in [-1, {len(starts) - 1}), got {samples.min()} to {samples.max()}")
    if max(len(samples), len(truth)) > MOST:
        raise ValueError(f"at most {MOST} centres can be matched, got {len(samples)} and {len(truth)}")
    fused = _sums_are_fused()
    if NATIVE is None or fused is None:
        return greedy_centers_reference(centers, samples, truth, starts, thresholds)
    matches = np.empty((len(thresholds), len(samples)), np.int32)
    NATIVE.greedy_centers(
        np.ascontiguousarray(centers), np.ascontiguousarray(samples), np.ascontiguousarray(truth),
        np.ascontiguousarray(starts), np.ascontiguousarray(thresholds), fused, matches, torch.get_num_threads(),
    )
    return matches


def greedy_centers_reference(
    centers: np.ndarray, samples: np.ndarray, truth: np.ndarray, starts: np.ndarray, thresholds: np.ndarray
) -> np.ndarray:
    """The same sample by sample and prediction by prediction."""
    matches = np.full((len(thresholds), len(samples)), -1, np.int32)
    by_sample = np.argsort(samples, kind="stable")                                       # ranks rise within a sample
    bounds = np.searchsorted(samples[by_sample], np.arange(len(starts)))
    for sample, (first, last) in enumerate(pairwise(starts)):
        ranks = by_sample[bounds[sample] : bounds[sample + 1]]
        if first == last or not len(ranks):
            continue
        distances = row_norms(centers[ranks, None] - truth[first:last])                   # (k, g)
        distances[np.isnan(distances)] = np.inf
        for threshold, row in zip(thresholds, matches, strict=True):
            open_to = distances.copy()
            for at in np.flatnonzero((distances < threshold).any(axis=1)):
                nearest = open_to[at].argmin()
                if open_to[at, nearest] < threshold:
                    row[ranks[at]] = first + nearest
                    open_to[:, nearest] = np.inf
    return matches


def row_norms(vectors: np.ndarray) -> np.ndarray:
    """(..., D) float64 -> (...): `np.linalg.norm` of each vector alone, which is not that of all along an axis.

    A product of matrices (1, D) and (D, 1) is BLAS's dot product, as the norm of one vector is.
    """
    vectors = np.ascontiguousarray(vectors)
    squares = np.matmul(vectors[..., None, :], vectors[..., :, None])
    return np.sqrt(squares[..., 0, 0])


@cache
def _sums_are_fused() -> bool | None:
    """Whether BLAS adds the second square unrounded, seen on numbers where it matters; None if it does neither."""
    x, y = np.random.default_rng(0).uniform(1.0, 2.0, (2, _PROBES))
    seen = np.matmul(np.stack([x, y], axis=1)[:, None, :], np.stack([x, y], axis=1)[:, :, None]).ravel()
    fused = [float(Fraction(a * a) + Fraction(b) ** 2) for a, b in zip(x.tolist(), y.tolist(), strict=True)]
    if np.array_equal(seen, x * x + y * y):
        return False
    return True if np.array_equal(seen, fused) else None
