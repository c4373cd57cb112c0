"""The regions of a picture, and the pixels of a map that lie in each."""

from __future__ import annotations

from torch import Tensor


def region_tokens(x: Tensor, side: int, *, by_column: bool = False) -> Tensor:
    """The pixels of each square region of a map, as tokens.

    Args:
        x: (B, C, R_h * side, R_w * side).
        side: of a region, in pixels.
        by_column: pixels of a region follow one another column by column, in place of row by row.

    Returns:
        (B, R_h * R_w, side * side, C), regions row by row.
    """
    blocks = x.unflatten(3, (-1, side)).unflatten(2, (-1, side))                           # (B, C, R_h, s, R_w, s)
    order = (0, 2, 4, 5, 3, 1) if by_column else (0, 2, 4, 3, 5, 1)
    return blocks.permute(order).flatten(3, 4).flatten(1, 2)


def map_of_regions(tokens: Tensor, grid: tuple[int, int], *, by_column: bool = False) -> Tensor:
    """The inverse of `region_tokens`.

    Args:
        tokens: (B, R_h * R_w, side * side, C).
        grid: R_h and R_w.
        by_column: see `region_tokens`.

    Returns:
        (B, C, R_h * side, R_w * side).
    """
    side = round(tokens.shape[2] ** 0.5)
    blocks = tokens.unflatten(2, (side, side)).unflatten(1, grid)                          # (B, R_h, R_w, s, s, C)
    order = (0, 5, 1, 4, 2, 3) if by_column else (0, 5, 1, 3, 2, 4)
    return blocks.permute(order).flatten(4, 5).flatten(2, 3)
