"""Bilinear reading of feature maps as sums of few rows, so that only what is asked for is touched."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def bilinear_corners(positions: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """The four cells around each position, and their weights; a cell beyond the border has weight zero.

    Args:
        positions: (V, 2) x, y [cells], with the centre of the first cell at 0.
        size: rows H and columns W of the map.

    Returns:
        (V, 4) int64 cells row * W + column, clamped into the map; (V, 4) weights, NaN if the position is not finite.
    """
    H, W = size
    corner = positions.floor()                                                      # (V, 2), the upper left one
    share = torch.stack([1 - (positions - corner), positions - corner], dim=-1)     # (V, xy, low | high)
    cells = torch.stack([corner, corner + 1], dim=-1)                               # (V, xy, low | high)
    limits = cells.new_tensor([W - 1, H - 1])[:, None]
    share = share * ((cells >= 0) & (cells <= limits))
    columns, rows = cells.nan_to_num().clamp(min=0).minimum(limits).long().unbind(1)  # (V, 2) each
    weights = share[:, 1, :, None] * share[:, 0, None, :]                           # (V, row, column)
    return (rows[:, :, None] * W + columns[:, None, :]).flatten(1), weights.flatten(1)


def sum_rows(rows: Tensor, index: Tensor, weights: Tensor, counts: Tensor) -> Tensor:
    """Weighted sums of consecutive groups of looked-up rows, differentiable in ``rows`` and ``weights``.

    Args:
        rows: (R, C) floating.
        index: (I,) int64 in [0, R).
        weights: (I,) floating.
        counts: (S,) int64, how many of the indices each group has; their sum is I.

    Returns:
        (S, C) of the dtype of ``rows``; 0 for an empty group.
    """
    if index.numel() == 0 or rows.shape[1] == 0:        # of which torch's kernel makes an error
        return rows[:0].sum() + rows.new_zeros(len(counts), rows.shape[1])         # keeps the graph whole
    dtype, starts = torch.promote_types(rows.dtype, weights.dtype), counts.cumsum(0) - counts
    sums = F.embedding_bag(index, rows.to(dtype), starts, mode="sum", per_sample_weights=weights.to(dtype))
    return sums.to(rows.dtype)
