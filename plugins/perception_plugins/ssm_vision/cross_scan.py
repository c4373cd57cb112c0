"""The four ways in which a map is read as a sequence, and back.

"VMamba: Visual State Space Model" (Liu et al., NeurIPS 2024), section 4.2.
"""

from __future__ import annotations

import torch
from torch import Tensor


def cross_scan(x: Tensor) -> Tensor:
    """(B, C, H, W) -> (B, 4, C, L): row by row, column by column, and both from the end; L = H * W."""
    ways = torch.stack([x.flatten(2), x.transpose(2, 3).flatten(2)], 1)                    # (B, 2, C, L)
    return torch.cat([ways, ways.flip(3)], 1)


def cross_merge(y: Tensor, size: tuple[int, int]) -> Tensor:
    """(B, 4, C, L) in the orders of `cross_scan` of a map of H, W -> (B, C, L) row by row, the sum of the four."""
    height, width = size
    rows, columns = (y[:, :2] + y[:, 2:].flip(3)).unbind(1)                                # (B, C, L) each
    return rows + columns.unflatten(2, (width, height)).transpose(2, 3).flatten(2)
