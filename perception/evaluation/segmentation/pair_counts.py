"""How often two labels stand on the same pixel or point: what all segmentation metrics count."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from perception.datasets.compact_labels import label_runs


@dataclass(frozen=True, eq=False)
class PairCounts:
    """The pairs of labels that occur in two maps of the same shape, by rising first, then second label.

    Args:
        first: (K,) int64 label in the first map.
        second: (K,) int64 label in the second map.
        counts: (K,) int64 elements with both labels, > 0.
    """

    first: np.ndarray
    second: np.ndarray
    counts: np.ndarray

    def __len__(self) -> int:
        return len(self.counts)

    def __getitem__(self, keep: np.ndarray) -> PairCounts:
        """Those where a (K,) bool mask holds."""
        return PairCounts(self.first[keep], self.second[keep], self.counts[keep])

    def firsts(self) -> tuple[np.ndarray, np.ndarray]:
        """(L,) labels of the first map, rising, and their (L,) sizes."""
        return sums_by_label(self.first, self.counts)

    def seconds(self) -> tuple[np.ndarray, np.ndarray]:
        """(L,) labels of the second map, rising, and their (L,) sizes."""
        return sums_by_label(self.second, self.counts)


def pair_counts(first: npt.ArrayLike, second: npt.ArrayLike) -> PairCounts:
    """Counts of all pairs of two integer maps; maps in large patches are counted by their runs, so they are quick.

    Raises:
        ValueError: the shapes differ, a map is not of integers, or the labels span more than 63 bits together.
    """
    flat_first, flat_second = integer_maps(first, second)
    if not flat_first.size:
        empty = np.zeros(0, np.int64)
        return PairCounts(empty, empty, empty)
    low, high = (int(flat_first.min()), int(flat_second.min())), (int(flat_first.max()), int(flat_second.max()))
    span = high[1] - low[1] + 1
    if (high[0] - low[0] + 1) * span > np.iinfo(np.int64).max:
        raise ValueError(
            f"labels must span less than 63 bits together, got {low[0]} to {high[0]} and {low[1]} to {high[1]}"
        )
    codes = (flat_first - low[0]) * span + (flat_second - low[1])
    values, run_of, lengths = label_runs(codes)
    counts = np.bincount(run_of, weights=lengths).astype(np.int64)
    return PairCounts(values // span + low[0], values % span + low[1], counts)


def integer_maps(first: npt.ArrayLike, second: npt.ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Both as flat int64. Raises ValueError if the shapes differ or one does not hold integers."""
    arrays = np.asarray(first), np.asarray(second)
    if arrays[0].shape != arrays[1].shape:
        raise ValueError(f"the true labels are {arrays[0].shape}, the predicted ones {arrays[1].shape}")
    for array in arrays:
        if array.dtype.kind not in "iu":
            raise ValueError(f"labels must be integers, got {array.dtype}")
    return arrays[0].astype(np.int64).ravel(), arrays[1].astype(np.int64).ravel()


def checked_labels(labels: np.ndarray, low: int, high: int, name: str) -> np.ndarray:
    """The labels. Raises ValueError that names them if one lies outside [low, high]."""
    outside = labels[(labels < low) | (labels > high)]
    if outside.size:
        raise ValueError(f"{name} must lie in [{low}, {high}], got {outside[0]}")
    return labels


def rows_of(values: np.ndarray, known: np.ndarray) -> np.ndarray:
    """(K,) int64 position of each value among (S,) distinct known ones, which need no order; -1 if it is not there."""
    if not known.size:
        return np.full(len(values), -1, np.int64)
    order = np.argsort(known)
    place = order[np.minimum(np.searchsorted(known, values, sorter=order), len(known) - 1)]
    return np.where(known[place] == values, place, -1)


def ratio(numerator: npt.ArrayLike, denominator: npt.ArrayLike, empty: float = np.nan) -> np.ndarray:
    """float64 quotient; ``empty`` where the denominator is 0."""
    top, bottom = np.asarray(numerator, np.float64), np.asarray(denominator, np.float64)
    return np.divide(top, bottom, out=np.full(np.broadcast(top, bottom).shape, empty), where=bottom != 0)


def mean_or_nan(values: np.ndarray) -> float:
    """Mean of the numbers that are not NaN; NaN if there is none."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if known.size else float("nan")


def sums_by_label(labels: np.ndarray, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(L,) distinct labels, rising, and the (L,) int64 sums of their counts."""
    values, place = np.unique(labels, return_inverse=True)
    return values, np.bincount(place, weights=counts, minlength=len(values)).astype(np.int64)
