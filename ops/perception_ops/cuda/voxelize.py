"""voxelize on a GPU."""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType

import torch
from torch import Tensor

from ..dispatch import attach_cuda, workspace
from ..voxelize import check_points, voxelize_reference


def voxelize(
    kernels: ModuleType, stream: int, xyz: Tensor, batch: Tensor, voxel_size: Sequence[float],
    point_range: Sequence[float], grid: Sequence[int],
) -> tuple[Tensor, Tensor, Tensor]:
    """`voxelize_reference` with one sort; waits for the device to learn the number of cells, as the reference does."""
    xyz, batch = xyz.detach().contiguous(), batch.contiguous()
    samples = check_points(xyz, batch, grid)
    if len(xyz) >= 2**31:
        return voxelize_reference(xyz, batch, voxel_size, point_range, grid)
    coords = batch.new_empty(len(batch), 4, dtype=torch.int32)             # as many cells as points at most
    inverse, counts, found = torch.empty_like(batch), torch.empty_like(batch), batch.new_empty(1)
    space = workspace(kernels.voxelize_workspace(len(batch), samples, tuple(grid)), batch.device)
    kernels.voxelize(
        xyz, batch, samples, tuple(point_range[:3]), tuple(voxel_size), tuple(grid), coords, inverse, counts, found,
        space, stream,
    )
    cells = int(found)
    return coords[:cells].clone(), inverse, counts[:cells].clone()         # clones let go of the rest of the memory


attach_cuda("voxelize", voxelize)
