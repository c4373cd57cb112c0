"""Distances of many pairs of point sets or sampled lines at once: Chamfer, discrete Frechet, share of near points.

Every function takes two `PointSets`, (K, 2) int64 pairs of rows (of the first, of the second) and gives (K,) float64.
Pairs that cannot matter cost next to nothing: give a ``limit`` and those surely beyond it are not computed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from .resampling import chunks

CANCELLATION = 1e-7                                        # of the squared extent; products are too coarse below it


@dataclass(frozen=True, eq=False)
class PointSets:
    """P sets of points [m]; shorter ones are filled up with repeats of a point of their own.

    Args:
        points: (P, S, D) float64.
        counts: (P,) int64 number of points that count, the first ones of a row; >= 1.
    """

    points: np.ndarray
    counts: np.ndarray

    @classmethod
    def full(cls, points: np.ndarray) -> PointSets:
        """Of (P, S, D) points that all count."""
        return cls(points, np.full(len(points), points.shape[1], np.int64))

    @classmethod
    def padded(cls, sets: Sequence[np.ndarray], dim: int = 3) -> PointSets:
        """Of P arrays (S_i, D); ``dim`` is D if there is none."""
        counts = np.array([len(points) for points in sets], np.int64)
        width = int(counts.max(initial=1))
        padded = [np.concatenate([points, np.repeat(points[-1:], width - len(points), axis=0)]) for points in sets]
        return cls(np.stack(padded) if padded else np.zeros((0, 1, dim)), counts)

    @cached_property
    def is_full(self) -> bool:
        """Whether all points count."""
        return bool((self.counts == self.points.shape[1]).all())

    @cached_property
    def columns(self) -> np.ndarray:
        """(P, D, S) the coordinates one after the other, as sums and minima over the points want them."""
        return np.ascontiguousarray(self.points.transpose(0, 2, 1))

    @cached_property
    def low(self) -> np.ndarray:
        """(P, D) lower corner of each set's bounding box."""
        return self.columns.min(axis=2)

    @cached_property
    def high(self) -> np.ndarray:
        """(P, D) upper corner."""
        return self.columns.max(axis=2)

    def without_closing_points(self) -> PointSets:
        """The last point of a set does not count where it is the first one again."""
        last = self.points[np.arange(len(self.points)), self.counts - 1]
        is_closed = (last == self.points[:, 0]).all(axis=1) & (self.counts > 1)
        return PointSets(self.points, self.counts - is_closed)

    def mean_along(self, rows: np.ndarray, values: np.ndarray) -> np.ndarray:
        """Mean of (R, S) values over the points that count of R rows."""
        if self.is_full:
            return values.mean(axis=1)
        counts = self.counts[rows]
        return (values * (np.arange(values.shape[1]) < counts[:, None])).sum(axis=1) / counts


def chamfer_pairs(first: PointSets, second: PointSets, pairs: np.ndarray, limit: float = np.inf) -> np.ndarray:
    """Half the sum of the two mean distances to the other set's nearest point [m]; beyond ``limit`` inf.

    O(S^2) for a pair. Squared distances are a product of matrices (|a|^2 + |b|^2 - 2ab); the few that are so small that
    the difference has lost its digits are computed again from the coordinates, so results are good to 1e-9 m.
    """
    distances = np.full(len(pairs), np.inf)
    if not len(pairs):
        return distances
    low = np.minimum(first.low.min(axis=0), second.low.min(axis=0))
    middle = 0.5 * (low + np.maximum(first.high.max(axis=0), second.high.max(axis=0)))   # where squares are smallest
    left, right = _product_form(first.columns - middle[:, None], second.columns - middle[:, None])
    coarse = CANCELLATION * max(left[:, -2].max(), right[:, -1].max())
    elements = first.points.shape[1] * second.points.shape[1]
    for rows in chunks(within_boxes(first, second, pairs, limit), elements):
        a, b = pairs[rows].T
        squared = left[a].transpose(0, 2, 1) @ right[b]                                  # (R, S, T)
        to_second = np.sqrt(_refined(squared.min(axis=2), coarse, first, second, a, b))
        to_first = np.sqrt(_refined(squared.min(axis=1), coarse, second, first, b, a))
        distances[rows] = 0.5 * (first.mean_along(a, to_second) + second.mean_along(b, to_first))
    distances[distances > limit] = np.inf
    return distances


def near_share_pairs(first: PointSets, second: PointSets, pairs: np.ndarray, radius: float = 1.0) -> np.ndarray:
    """Share of the points that have a point of the other set within ``radius`` [m]; the smaller of both directions."""
    shares = np.zeros(len(pairs))
    near = np.flatnonzero(_box_gaps(first, second, pairs) <= radius)
    for rows in chunks(near, first.points.shape[1] * second.points.shape[1]):
        a, b = pairs[rows].T
        is_near = _distances(first.points[a], second.points[b]) <= radius                # (R, S, T)
        to_second = first.mean_along(a, is_near.any(axis=2).astype(np.float64))
        to_first = second.mean_along(b, is_near.any(axis=1).astype(np.float64))
        shares[rows] = np.minimum(to_second, to_first)
    return shares


def frechet_pairs(first: PointSets, second: PointSets, pairs: np.ndarray, limit: float = np.inf) -> np.ndarray:
    """Discrete Frechet distance [m] of (P, S, D) and (Q, T, D) lines in their directions; beyond ``limit`` inf.

    Eiter and Mannila, "Computing discrete Frechet distance", 1994. The recursion runs over the S + T - 1 anti-diagonals
    of all pairs at once. All points count.
    """
    distances = np.full(len(pairs), np.inf)
    S, T = first.points.shape[1], second.points.shape[1]
    ends = [
        np.linalg.norm(first.points[pairs[:, 0], end] - second.points[pairs[:, 1], end], axis=1) for end in (0, -1)
    ]
    for rows in chunks(np.flatnonzero(np.maximum(*ends) <= limit), S * T):
        a, b = pairs[rows].T
        distances[rows] = _couple(_distances(first.points[a], second.points[b]))
    distances[distances > limit] = np.inf
    return distances


def undirected_frechet_pairs(
    first: PointSets, second: PointSets, pairs: np.ndarray, limit: float = np.inf
) -> np.ndarray:
    """The smaller `frechet_pairs` of a line as it runs and reversed [m]."""
    reversed_first = PointSets(first.points[:, ::-1], first.counts)
    return np.minimum(
        frechet_pairs(first, second, pairs, limit), frechet_pairs(reversed_first, second, pairs, limit)
    )


def within_boxes(first: PointSets, second: PointSets, pairs: np.ndarray, limit: float) -> np.ndarray:
    """Rows of the pairs whose Chamfer distance can be within ``limit``: no point is nearer to a set than to its box."""
    if not np.isfinite(limit):
        return np.arange(len(pairs))
    near = np.flatnonzero(_box_gaps(first, second, pairs) <= limit)
    kept = [np.zeros(0, np.int64)]
    for rows in chunks(near, first.columns[:1].size + second.columns[:1].size):
        a, b = pairs[rows].T
        bound = 0.5 * (_mean_gap(first, second, a, b) + _mean_gap(second, first, b, a))
        kept.append(rows[bound <= limit])
    return np.concatenate(kept)


def _box_gaps(first: PointSets, second: PointSets, pairs: np.ndarray) -> np.ndarray:
    """(K,) distance of the bounding boxes of each pair."""
    a, b = pairs.T
    gap = np.maximum(first.low[a] - second.high[b], second.low[b] - first.high[a])       # (K, D)
    return np.linalg.norm(np.maximum(gap, 0.0), axis=1)


def _mean_gap(points: PointSets, boxes: PointSets, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """(R,) mean distance of the points of rows a to the bounding boxes of rows b."""
    of_rows = points.columns[a]                                                          # (R, D, S)
    gap = np.maximum(boxes.low[b, :, None] - of_rows, of_rows - boxes.high[b, :, None])
    np.maximum(gap, 0.0, out=gap)
    return points.mean_along(a, np.sqrt(_squares(gap)))


def _product_form(first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(P, D, S), (Q, D, T) -> (P, D + 2, S), (Q, D + 2, T), whose inner products are squared distances."""
    left = np.concatenate([-2.0 * first, _squares(first)[:, None], np.ones_like(first[:, :1])], axis=1)
    right = np.concatenate([second, np.ones_like(second[:, :1]), _squares(second)[:, None]], axis=1)
    return left, right


def _squares(columns: np.ndarray) -> np.ndarray:
    """(P, D, S) -> (P, S) squared lengths."""
    return np.einsum("pds,pds->ps", columns, columns)


def _refined(
    squared: np.ndarray, coarse: float, points: PointSets, others: PointSets, a: np.ndarray, b: np.ndarray
) -> np.ndarray:
    """(R, S) squared distances to the nearest point of the other set, those below ``coarse`` computed anew."""
    pair, point = np.nonzero(squared < coarse)
    for some in chunks(np.arange(len(pair)), others.points[0].size):
        rows = pair[some]
        offsets = points.columns[a[rows], :, point[some], None] - others.columns[b[rows]]        # (r, D, T)
        squared[rows, point[some]] = _squares(offsets).min(axis=1)
    return squared


def _distances(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """(R, S, D), (R, T, D) -> (R, S, T) Euclidean distances."""
    squared = np.zeros((len(first), first.shape[1], second.shape[1]))
    for axis in range(first.shape[2]):
        difference = first[:, :, None, axis] - second[:, None, :, axis]
        squared += difference * difference
    return np.sqrt(squared)


def _couple(distances: np.ndarray) -> np.ndarray:
    """(R, S, T) distances -> (R,) smallest leash over all couplings of the points, in order."""
    R, S, T = distances.shape
    flat = distances.reshape(R, S * T)
    leash = np.full((R, S + 1), np.inf)                    # of the last diagonal, by first index + 1; [0] stays inf
    before = leash.copy()                                  # of the one before it
    before[:, 0] = -np.inf                                 # the way to the first pair of points is free
    for diagonal in range(S + T - 1):
        low, high = max(0, diagonal - T + 1), min(S, diagonal + 1)
        entries = flat[:, diagonal + low * (T - 1) : diagonal + (high - 1) * (T - 1) + 1 : max(T - 1, 1)]
        current = np.full((R, S + 1), np.inf)
        cheapest = np.minimum(np.minimum(leash[:, low:high], leash[:, low + 1 : high + 1]), before[:, low:high])
        current[:, low + 1 : high + 1] = np.maximum(entries, cheapest)
        before, leash = leash, current
    return leash[:, S]
