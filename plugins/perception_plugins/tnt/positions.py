"""Learned tables of positions for pictures of another size than the one they were learned at."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

Grid = tuple[int, int]


def resized_positions(table: Tensor, grid: Grid, size: Grid) -> Tensor:
    """A code a cell, interpolated bicubically: (B, h * w, C) of a grid h, w -> (B, H * W, C) of another.

    Args:
        table: the codes, row by row.
        grid: rows and columns that the table is of.
        size: rows and columns wanted; if they are ``grid``, the table itself is given.
    """
    if grid == size:
        return table
    plane = table.transpose(1, 2).unflatten(2, grid)                                       # (B, C, h, w)
    resized = F.interpolate(plane, size=size, mode="bicubic", align_corners=False)
    return resized.flatten(2).transpose(1, 2)


def resized_pairs(table: Tensor, grids: tuple[Grid, Grid], sizes: tuple[Grid, Grid]) -> Tensor:
    """A number a pair of cells, interpolated over the queries' grid and then over the keys'.

    Args:
        table: (1, heads, N, M) for N queries and M keys.
        grids: rows and columns of the queries and of the keys that the table is of.
        sizes: those wanted, of N' queries and M' keys.

    Returns:
        (1, heads, N', M').
    """
    queries = resized_positions(table[0], grids[0], sizes[0])                              # (heads, N', M)
    return resized_positions(queries.transpose(1, 2), grids[1], sizes[1]).transpose(1, 2)[None]
