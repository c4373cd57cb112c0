"""voxelize: the non-empty cells of a regular grid over a batch of point clouds, without caps on points or cells."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from .checks import check_finite, check_positive, check_tensor
from .dispatch import NATIVE, attach_native


def voxelize(
    xyz: Tensor, batch: Tensor, voxel_size: Sequence[float], point_range: Sequence[float], grid: Sequence[int]
) -> tuple[Tensor, Tensor, Tensor]:
    """Sort points into cells; a point outside the range counts to the nearest border cell, so filter the range first.

    Args:
        xyz: (N, 3) float32, finite, metres.
        batch: (N,) int64, sample of each point, >= 0, in any order.
        voxel_size: cell edges (x, y, z), metres.
        point_range: (x_low, y_low, z_low, x_high, y_high, z_high), metres; the low corner is cell 0.
        grid: cells (nx, ny, nz).

    Returns:
        coords (M, 4) int32, (batch, z, y, x) in lexicographic order; inverse (N,) int64, the row of ``coords`` of each
        point; counts (M,) int64, points of each cell.

    Raises:
        ValueError: wrong shapes, sizes that are not positive, NaN or infinite points, a negative batch index.
    """
    check_tensor("xyz", xyz, ("N", 3), (torch.float32,))
    check_tensor("batch", batch, (xyz.shape[0],), (torch.int64,))
    if len(voxel_size) != 3 or len(point_range) != 6 or len(grid) != 3:
        raise ValueError(
            "voxel_size, point_range and grid must have 3, 6 and 3 numbers, "
            f"got {len(voxel_size)}, {len(point_range)} and {len(grid)}"
        )
    if min(voxel_size) <= 0:
        raise ValueError(f"voxel_size must be positive, got {tuple(voxel_size)}")
    check_positive(nx=grid[0], ny=grid[1], nz=grid[2])
    return torch.ops.perception.voxelize(
        xyz, batch, [float(v) for v in voxel_size], [float(v) for v in point_range], list(grid)
    )


def voxelize_reference(
    xyz: Tensor, batch: Tensor, voxel_size: Sequence[float], point_range: Sequence[float], grid: Sequence[int]
) -> tuple[Tensor, Tensor, Tensor]:
    """The same in tensor algebra; float32 throughout, so that borders fall where the published models put them."""
    check_points(xyz, batch)
    nx, ny, nz = grid
    cell = ((xyz - xyz.new_tensor(point_range[:3])) / xyz.new_tensor(voxel_size)).floor()
    cell = cell.clamp(min=0).minimum(xyz.new_tensor([nx - 1, ny - 1, nz - 1])).long()       # (N, 3) x, y, z
    key = ((batch * nz + cell[:, 2]) * ny + cell[:, 1]) * nx + cell[:, 0]
    key, inverse, counts = key.unique(sorted=True, return_inverse=True, return_counts=True)
    coords = [key // (nx * ny * nz), key // (nx * ny) % nz, key // nx % ny, key % nx]
    return torch.stack(coords, 1).int(), inverse, counts


def check_points(xyz: Tensor, batch: Tensor) -> int:
    """Number of samples that the points' batch indices span, after a look at the values."""
    check_finite("xyz", xyz)
    if batch.numel() == 0:
        return 1
    first, last = torch.stack(batch.aminmax()).tolist()                                    # waits for a device once
    if first < 0:
        raise ValueError(f"batch must be >= 0, got {first}")
    return last + 1


def _voxelize_cpu(
    xyz: Tensor, batch: Tensor, voxel_size: Sequence[float], point_range: Sequence[float], grid: Sequence[int]
) -> tuple[Tensor, Tensor, Tensor]:
    assert NATIVE is not None
    xyz, batch = xyz.detach().contiguous(), batch.contiguous()
    check_points(xyz, batch)
    coords = batch.new_empty(len(batch), 4, dtype=torch.int32)             # as many cells as points at most
    inverse, counts = torch.empty_like(batch), torch.empty_like(batch)
    cells = NATIVE.voxelize(
        xyz, batch, tuple(point_range[:3]), tuple(voxel_size), tuple(grid), coords, inverse, counts,
        torch.get_num_threads(),
    )
    return coords[:cells].clone(), inverse, counts[:cells].clone()         # clones let go of the rest of the memory


_op = torch.library.custom_op("perception::voxelize", voxelize_reference, mutates_args=())
attach_native(_op, "voxelize", _voxelize_cpu)


@_op.register_fake
def _(
    xyz: Tensor, batch: Tensor, voxel_size: Sequence[float], point_range: Sequence[float], grid: Sequence[int]
) -> tuple[Tensor, Tensor, Tensor]:
    cells = torch.library.get_ctx().new_dynamic_size()
    return batch.new_empty(cells, 4, dtype=torch.int32), torch.empty_like(batch), batch.new_empty(cells)
