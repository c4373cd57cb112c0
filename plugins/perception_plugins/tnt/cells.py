"""A map cut into square cells, and the words of cells laid out as a map again."""

from __future__ import annotations

from torch import Tensor


def split_cells(plane: Tensor, side: int) -> Tensor:
    """(B, C, h * side, w * side) -> (B * h * w, C, side, side), the cells of a picture row by row."""
    rows = plane.unflatten(3, (-1, side)).unflatten(2, (-1, side))                         # (B, C, h, side, w, side)
    return rows.permute(0, 2, 4, 1, 3, 5).flatten(0, 2)


def join_words(words: Tensor, size: tuple[int, int], side: int) -> Tensor:
    """Words (B * h * w, side * side, C) of the cells of a grid h, w -> a map (B, C, h * side, w * side)."""
    cells = words.unflatten(1, (side, side)).unflatten(0, (-1, *size))                     # (B, h, w, side, side, C)
    return cells.permute(0, 5, 1, 3, 2, 4).flatten(4, 5).flatten(2, 3)
