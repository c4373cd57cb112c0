"""The cells of one hierarchy: a list of classes, each a part of the Earth with the places that it was made from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .coordinates import checked_latlng
from .s2_cells import id_ranges, is_valid, leaf_ids, levels_of, tokens_of

NO_CELL = -1                                         # label of a place outside all cells


@dataclass(frozen=True, eq=False)
class CellList:
    """C cells that lie apart, in ascending order of their ids; a cell's place in the list is its class.

    Args:
        ids: (C,) uint64 S2 ids.
        counts: (C,) int64 places that each was made from, >= 1.
        latlng: (C, 2) float64 mean latitude and longitude [deg] of those places: where a class lies. The middle of the
            cell may lie in the sea.

    Raises:
        ValueError: there is no cell, an id is none of a cell or out of order, two cells overlap, one has no member, or
            a mean is no place on Earth.
    """

    ids: np.ndarray
    counts: np.ndarray
    latlng: np.ndarray

    def __post_init__(self) -> None:
        if self.ids.dtype != np.uint64 or self.ids.ndim != 1 or not len(self.ids):
            raise ValueError(f"ids must be (C,) uint64 with C >= 1, got {self.ids.shape} {self.ids.dtype}")
        if self.counts.shape != self.ids.shape or self.latlng.shape != (len(self.ids), 2):
            got = f"{self.counts.shape} and {self.latlng.shape}"
            raise ValueError(f"counts and latlng must have a row for each of {len(self.ids)} cells, got {got}")
        wrong = np.flatnonzero(~is_valid(self.ids))
        if len(wrong):
            raise ValueError(f"ids must be of S2 cells, got {int(self.ids[wrong[0]])} in row {wrong[0]}")
        low, high = id_ranges(self.ids)
        wrong = np.flatnonzero(low[1:] <= high[:-1])
        if len(wrong):
            pair = " before ".join(tokens_of(self.ids[wrong[0] : wrong[0] + 2]))
            raise ValueError(f"ids must ascend and cells must not overlap, got {pair}")
        empty = np.flatnonzero(self.counts < 1)
        if len(empty):
            named = ", ".join(tokens_of(self.ids[empty[:4]]))
            got = f"{len(empty)} of {len(self.ids)} without, such as {named}"
            raise ValueError(f"every cell must have a member, got {got}")
        checked_latlng(self.latlng)

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def levels(self) -> np.ndarray:
        """(C,) int64 S2 levels."""
        return levels_of(self.ids)

    @property
    def tokens(self) -> list[str]:
        """C ids in short, see `tokens_of`."""
        return tokens_of(self.ids)

    def labels_of(self, latlng: np.ndarray) -> np.ndarray:
        """(N, 2) places -> (N,) int64 class of the cell that each lies in, `NO_CELL` if there is none.

        Raises:
            ValueError: see `checked_latlng`.
        """
        leaves = leaf_ids(checked_latlng(latlng))
        order = np.argsort(leaves)
        labels = np.empty(len(leaves), np.int64)
        labels[order] = labels_of_leaves(leaves[order], self.ids)
        return labels

    def classes_of(self, ids: np.ndarray) -> np.ndarray:
        """(N,) uint64 cells -> (N,) int64 class of the one that each is or lies in, `NO_CELL` if there is none."""
        low, high = id_ranges(self.ids)
        place = np.minimum(np.searchsorted(high, ids), len(self) - 1)
        inner_low, inner_high = id_ranges(ids)
        return np.where((inner_low >= low[place]) & (inner_high <= high[place]), place, NO_CELL)


def labels_of_leaves(leaves: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """Class of each leaf cell: (N,) uint64 and (C,) uint64, both ascending -> (N,) int64, or `NO_CELL`."""
    low, high = id_ranges(ids)
    begin, end = np.searchsorted(leaves, low), np.searchsorted(leaves, high, side="right")
    edges = np.stack([begin, end], axis=1).ravel()                                 # of gap, cell, gap, cell, ..., gap
    lengths = np.diff(edges, prepend=0, append=len(leaves))
    values = np.full(len(lengths), NO_CELL)
    values[1::2] = np.arange(len(ids))
    return np.repeat(values, lengths)
