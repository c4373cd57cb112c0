"""Adaptive partition of the Earth into cells with similar numbers of pictures, at several granularities.

Weyand et al., "PlaNet - Photo Geolocation with Convolutional Neural Networks", ECCV 2016, section 3; several nested
partitions as in Mueller-Budack et al., "Geolocation Estimation of Photos using a Hierarchical Model and Scene
Classification", ECCV 2018.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike

from .cell_list import NO_CELL, CellList, labels_of_leaves
from .coordinates import checked_latlng
from .s2_cells import MAX_LEVEL, leaf_ids, parent_ids, tokens_of


@dataclass(frozen=True, eq=False)
class GeoPartition:
    """H hierarchies, coarse to fine; each cell of one lies in a cell of the one before.

    Args:
        hierarchies: the cells of each.

    Raises:
        ValueError: there is no hierarchy, or a cell lies in no coarser one (the hierarchies were made from different
            places).
    """

    hierarchies: tuple[CellList, ...]

    def __post_init__(self) -> None:
        if not self.hierarchies:
            raise ValueError("hierarchies must be at least one list of cells, got none")
        for level, parents in enumerate(self.parents, start=1):
            orphans = np.flatnonzero(parents == NO_CELL)
            if len(orphans):
                named = ", ".join(tokens_of(self.hierarchies[level].ids[orphans[:4]]))
                raise ValueError(
                    f"{len(orphans)} cells of hierarchy {level} lie in no cell of hierarchy {level - 1}, such as "
                    f"{named}: make all hierarchies from the same places"
                )

    def __len__(self) -> int:
        return len(self.hierarchies)

    @property
    def num_classes(self) -> tuple[int, ...]:
        """Cells of each hierarchy."""
        return tuple(len(cells) for cells in self.hierarchies)

    @cached_property
    def parents(self) -> tuple[np.ndarray, ...]:
        """H - 1 maps, from the second hierarchy on: (C_i,) int64 class of the coarser cell that each lies in."""
        return tuple(coarse.classes_of(fine.ids) for coarse, fine in pairwise(self.hierarchies))

    def labels_of(self, latlng: ArrayLike) -> np.ndarray:
        """(N, 2) places -> (N, H) int64 class in each hierarchy, `NO_CELL` where a place lies in none of its cells.

        Raises:
            ValueError: see `checked_latlng`.
        """
        leaves = leaf_ids(checked_latlng(latlng))
        order = np.argsort(leaves)
        labels = np.empty((len(leaves), len(self)), np.int64)
        for column, cells in enumerate(self.hierarchies):
            labels[order, column] = labels_of_leaves(leaves[order], cells.ids)
        return labels

    def chain_of(self, label: int) -> tuple[int, ...]:
        """Classes of all hierarchies, coarse to fine, of a class of the finest one."""
        chain = [label]
        for parents in reversed(self.parents):
            chain.append(int(parents[chain[-1]]))
        return tuple(reversed(chain))

    def check_members(self, latlng: ArrayLike, what: str = "these places") -> None:
        """Raise ValueError if a cell holds none of some places: its class could never be learned from them.

        Args:
            latlng: (N, 2) places.
            what: how the error calls them.
        """
        labels = self.labels_of(latlng)
        for column, cells in enumerate(self.hierarchies):
            found = labels[labels[:, column] != NO_CELL, column]
            empty = np.flatnonzero(np.bincount(found, minlength=len(cells)) == 0)
            if len(empty):
                named = ", ".join(tokens_of(cells.ids[empty[:4]]))
                raise ValueError(
                    f"{len(empty)} of {len(cells)} cells of hierarchy {column} hold none of {what}, such as {named}"
                )


def adaptive_partition(
    latlng: ArrayLike, tau_max: Sequence[int], *, tau_min: int = 50, level_min: int = 2, level_max: int = MAX_LEVEL
) -> GeoPartition:
    """Cut the Earth into cells of at most ``tau_max`` places each, once for every entry of ``tau_max``.

    A cell of ``level_min`` with more than ``tau_max`` places is cut into its four children, those likewise, down to
    ``level_max``; then cells of at most ``tau_min`` places are dropped, and their places have no class. Classes are in
    ascending order of ids; the place of a class is the mean of its members' degrees, which is safe since no cell of
    level 1 or deeper goes across the 180th meridian.

    One pass down the tree serves all hierarchies: the count of a node doesn't depend on ``tau_max``. It takes
    O(N log N) for the order and O(N) a level.

    Args:
        latlng: (N, 2) latitudes and longitudes [deg].
        tau_max: most places of a cell, strictly descending: coarse to fine.
        tau_min: a cell must have more places than this.
        level_min, level_max: S2 levels of the largest and the smallest cells, in [1, 30].

    Raises:
        ValueError: a place is none on Earth (see `checked_latlng`), the bounds make no sense, or a hierarchy would have
            no cell.
    """
    _check_bounds(tau_max, tau_min, level_min, level_max)
    places = checked_latlng(latlng)
    leaves = leaf_ids(places)
    order = np.argsort(leaves)
    leaves, places = leaves[order], places[order]
    none = (np.empty(0, np.uint64), np.empty(0, np.int64))
    found = [[none] for _ in tau_max]
    for nodes in _levels_of_tree(leaves, min(tau_max), level_min, level_max):
        for most, lists in zip(tau_max, found, strict=True):
            whole = nodes.above > most
            if not nodes.is_last:
                whole &= nodes.counts <= most
            kept = whole & (nodes.counts > tau_min)
            lists.append((nodes.ids[kept], nodes.counts[kept]))
    hierarchies = []
    for most, lists in zip(tau_max, found, strict=True):
        ids, counts = (np.concatenate(parts) for parts in zip(*lists, strict=True))
        if not len(ids):
            raise ValueError(
                f"no cell has more than tau_min = {tau_min} of the {len(places)} places with tau_max = {most}: "
                "lower tau_min, or give more places"
            )
        up = np.argsort(ids)
        hierarchies.append(_cell_list(ids[up], counts[up], leaves, places))
    return GeoPartition(tuple(hierarchies))


@dataclass(frozen=True, eq=False)
class _Nodes:
    """Cells of one level that hold places: ids, counts, counts of the cells above, and whether none is cut further."""

    ids: np.ndarray
    counts: np.ndarray
    above: np.ndarray
    is_last: bool


def _levels_of_tree(leaves: np.ndarray, least: int, level_min: int, level_max: int) -> Iterator[_Nodes]:
    """The tree level by level, of ascending leaves; only nodes of more than ``least`` leaves are gone into."""
    above = np.full(len(leaves), np.iinfo(np.int64).max)                           # nothing is too small to begin with
    for level in range(level_min, level_max + 1):
        if not len(leaves):
            return
        ids = parent_ids(leaves, level)
        begin = np.flatnonzero(np.concatenate([[True], ids[1:] != ids[:-1]]))
        counts = np.diff(begin, append=len(ids))
        yield _Nodes(ids[begin], counts, above[begin], level == level_max)
        inside = np.repeat(counts > least, counts)
        leaves, above = leaves[inside], np.repeat(counts, counts)[inside]


def _cell_list(ids: np.ndarray, counts: np.ndarray, leaves: np.ndarray, places: np.ndarray) -> CellList:
    """Cells with the means of the places in them; leaves and places are in ascending order of leaves."""
    labels = labels_of_leaves(leaves, ids)
    inside = labels != NO_CELL
    labels, places = labels[inside], places[inside]
    sums = [np.bincount(labels, weights=column, minlength=len(ids)) for column in places.T]
    return CellList(ids, counts, np.stack(sums, axis=1) / counts[:, None])


def _check_bounds(tau_max: Sequence[int], tau_min: int, level_min: int, level_max: int) -> None:
    if not tau_max or any(fine >= coarse for coarse, fine in pairwise(tau_max)):
        raise ValueError(f"tau_max must be one or more strictly descending numbers, got {tuple(tau_max)}")
    if not 0 <= tau_min < min(tau_max):
        raise ValueError(f"tau_min must lie in [0, {min(tau_max)}), below all of tau_max, got {tau_min}")
    if not 1 <= level_min <= level_max <= MAX_LEVEL:
        raise ValueError(
            f"level_min and level_max must satisfy 1 <= level_min <= level_max <= {MAX_LEVEL}, "
            f"got {level_min} and {level_max}"
        )
