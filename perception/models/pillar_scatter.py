"""Lays pillar features out as a dense bird's-eye-view map."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from perception.registry import MODELS
from perception_ops import bev_scatter


@MODELS.register_module(role="lidar_backbone")
class PillarScatter(nn.Module):
    """Pillars to a canvas whose empty cells are zero; has no parameters.

    Args:
        grid: number of cells along x and y.
    """

    def __init__(self, grid: Sequence[int]) -> None:
        super().__init__()
        self.nx, self.ny = int(grid[0]), int(grid[1])

    def forward(self, features: Tensor, coords: Tensor, batch_size: int) -> Tensor:
        """(M, C) and (M, 4) int32 (batch, z, y, x) -> (B, C, ny, nx)."""
        return bev_scatter(features, coords, batch_size, self.ny, self.nx)
