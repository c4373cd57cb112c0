"""Reading bird's-eye-view maps at the places of points."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from .bilinear import bilinear_corners, sum_rows

SAMPLINGS = ("nearest", "bilinear")


def cell_positions(xy: Tensor, region: Sequence[float], size: tuple[int, int]) -> Tensor:
    """Places on a map that covers a region, those outside moved to its border.

    Args:
        xy: (P, 2) x, y [m].
        region: x0, y0, x1, y1 [m] that the map covers.
        size: rows H (along y) and columns W (along x).

    Returns:
        (P, 2) column and row, fractional, in [-0.5, W - 0.5] and [-0.5, H - 0.5]; centres of cells are whole numbers.
    """
    low, high = xy.new_tensor(region).view(2, 2)
    cells = xy.new_tensor([size[1], size[0]])
    return ((xy - low) / (high - low)).clamp(0, 1) * cells - 0.5


def read_bev(bev: Tensor, positions: Tensor, sample: Tensor, sampling: str) -> Tensor:
    """Features at places of a map, differentiable in the map.

    Args:
        bev: (B, C, H, W).
        positions: (P, 2) column and row as `cell_positions` gives them.
        sample: (P,) int64 which of the B maps.
        sampling: "nearest" reads the cell that the place lies in; "bilinear" its four neighbours, with the border
            repeated beyond the outermost centres.

    Returns:
        (P, C).
    """
    B, C, H, W = bev.shape
    rows = bev.permute(0, 2, 3, 1).reshape(B * H * W, C)
    limits = positions.new_tensor([W - 1, H - 1])
    if sampling == "nearest":
        column, row = (positions + 0.5).floor().clamp(min=0).minimum(limits).long().unbind(1)
        return rows.index_select(0, (sample * H + row) * W + column)
    corners, weights = bilinear_corners(positions.clamp(min=0).minimum(limits), (H, W))       # (P, 4) each
    index = corners + (sample * (H * W))[:, None]
    return sum_rows(rows, index.flatten(), weights.flatten(), torch.full_like(sample, 4))
