"""The map query bank: a grid of learned embeddings over the ground, read at points.

The paper decomposes the distribution of map queries into point representations whose learned embeddings replace fixed
position codes, and says no more of their form. Our reading: one embedding a cell of about a metre, read bilinearly; a
point beyond the range reads the cell at its edge.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

INITIAL_STD = 0.02


class QueryBank(nn.Module):
    """Learned embeddings over the ground.

    Args:
        channels: width C.
        size: rows (along y) and columns (along x).
    """

    def __init__(self, channels: int, size: tuple[int, int]) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(channels, *size) * INITIAL_STD)

    def forward(self, points: Tensor) -> Tensor:
        """(B, Q, S, >= 2) points, x and y in [0, 1] within the range -> (B, Q, S, C) what the bank holds there."""
        B, Q, S = points.shape[:3]
        grid = (2 * points[..., :2] - 1).view(1, B * Q, S, 2).to(self.weight.dtype)
        read = F.grid_sample(self.weight[None], grid, padding_mode="border", align_corners=False)   # (1, C, B * Q, S)
        return read[0].permute(1, 2, 0).view(B, Q, S, -1)
