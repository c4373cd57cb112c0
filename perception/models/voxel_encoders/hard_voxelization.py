"""Hard voxelisation: a capped number of cells in the order of their first point, a capped number of points in each."""

from __future__ import annotations

import torch
from torch import Tensor

from .pillar_grid import PillarGrid


def hard_voxelize(points: Tensor, grid: PillarGrid, max_points: int, max_voxels: int) -> tuple[Tensor, Tensor, Tensor]:
    """Sort the points of one sample into cells.

    Args:
        points: (P, C) with x, y, z first, finite; those beyond the grid are dropped.
        grid: the cells.
        max_points: points kept in a cell, the first ones.
        max_voxels: cells kept, those met first.

    Returns:
        Cells (M, max_points, C) padded with zeros, (M, 3) int32 z, y, x, and (M,) int64 number of points, in the order
        of each cell's first point.
    """
    cells = grid.cells(points[:, :3])                                                    # (P, 3) x, y, z
    inside = grid.contains(cells)
    points, cells = points[inside], cells[inside]
    nx, ny, _ = grid.shape
    key = (cells[:, 2] * ny + cells[:, 1]) * nx + cells[:, 0]                            # (P,)
    _, inverse, counts = torch.unique(key, return_inverse=True, return_counts=True)
    order = torch.argsort(inverse, stable=True)                                          # by cell, then by arrival
    starts = counts.cumsum(0) - counts                                                   # (M,)
    slot = torch.empty_like(order)
    slot[order] = torch.arange(len(order), device=order.device) - starts[inverse[order]]  # (P,) place within the cell
    first = order[starts]                                                                # (M,) row of the first point
    rank = torch.empty_like(first)
    rank[first.argsort()] = torch.arange(len(first), device=first.device)                # (M,) order of arrival
    cell = rank[inverse]
    kept = (cell < max_voxels) & (slot < max_points)
    num_cells = min(len(first), max_voxels)
    voxels = points.new_zeros(num_cells, max_points, points.shape[1])
    voxels[cell[kept], slot[kept]] = points[kept]
    opening = first.sort().values[:num_cells]                                            # first point of each kept cell
    return voxels, cells[opening].flip(1).int(), counts[inverse[opening]].clamp(max=max_points)
