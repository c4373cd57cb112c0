"""voxelize: the non-empty cells of a regular grid over a batch of point clouds, without caps on points or cells."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from .checks import MOST, check_device, check_finite, check_positive, check_range, check_tensor, check_values
from .dispatch import NATIVE, attach_native, is_portable

_TINY, _HUGE = torch.finfo(torch.float32).tiny, torch.finfo(torch.float32).max
_MOST_CELLS = 2**24                                # along an axis: float32 counts no further
_WORDS_PER_POINT, _FEW_WORDS = 8, 1 << 16          # grids with more words of 64 cells than this are sorted, not marked


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
        ValueError: wrong shapes, sizes that are not positive, NaN or infinite numbers, a batch index below 0 or beyond
            int32, more than 2**24 cells along an axis, or 2**63 in all.
    """
    check_tensor("xyz", xyz, ("N", 3), (torch.float32,))
    check_tensor("batch", batch, (xyz.shape[0],), (torch.int64,))
    if len(voxel_size) != 3 or len(point_range) != 6 or len(grid) != 3:
        raise ValueError(
            "voxel_size, point_range and grid must have 3, 6 and 3 numbers, "
            f"got {len(voxel_size)}, {len(point_range)} and {len(grid)}"
        )
    check_device("xyz", xyz, batch=batch)
    check_values("xyz", xyz)
    _check_geometry(voxel_size, point_range)
    check_positive(nx=grid[0], ny=grid[1], nz=grid[2])
    if max(grid) > _MOST_CELLS:
        raise ValueError(f"grid must have at most {_MOST_CELLS} cells along an axis, got {tuple(grid)}")
    sort = voxelize_portable if is_portable() else torch.ops.perception.voxelize
    return sort(xyz, batch, [float(v) for v in voxel_size], [float(v) for v in point_range], list(grid))


def voxelize_reference(
    xyz: Tensor, batch: Tensor, voxel_size: Sequence[float], point_range: Sequence[float], grid: Sequence[int]
) -> tuple[Tensor, Tensor, Tensor]:
    """The same in tensor algebra; float32 throughout, so that borders fall where the published models put them."""
    check_points(xyz, batch, grid)
    keys = _cell_numbers(xyz, voxel_size, point_range, grid) + batch * math.prod(grid)
    keys, inverse, counts = keys.unique(sorted=True, return_inverse=True, return_counts=True)
    return _coords_of(keys, grid), inverse, counts


def voxelize_portable(
    xyz: Tensor, batch: Tensor, voxel_size: Sequence[float], point_range: Sequence[float], grid: Sequence[int]
) -> tuple[Tensor, Tensor, Tensor]:
    """The same for the points of one sample: cells are counted on the whole grid, so nothing is sorted."""
    check_range("batch of a portable graph", batch, 1)
    keys = _cell_numbers(xyz, voxel_size, point_range, grid)                                # (N,)
    counts = keys.new_zeros(math.prod(grid)).scatter_add(0, keys, torch.ones_like(keys))    # (cells,)
    is_filled = counts > 0
    ranks = is_filled.long().cumsum(0) - 1
    filled = is_filled.nonzero()[:, 0]                                                      # (M,)
    return _coords_of(filled, grid), ranks[keys], counts[filled]


def _cell_numbers(
    xyz: Tensor, voxel_size: Sequence[float], point_range: Sequence[float], grid: Sequence[int]
) -> Tensor:
    """(N, 3) -> (N,) int64 number of each point's cell within its sample."""
    nx, ny, nz = grid
    cell = ((xyz - xyz.new_tensor(point_range[:3])) / xyz.new_tensor(voxel_size)).floor()
    cell = cell.clamp(min=0).minimum(xyz.new_tensor([nx - 1, ny - 1, nz - 1])).long()       # (N, 3) x, y, z
    return (cell[:, 2] * ny + cell[:, 1]) * nx + cell[:, 0]


def _coords_of(keys: Tensor, grid: Sequence[int]) -> Tensor:
    """(M,) numbers of cells -> (M, 4) int32 batch, z, y, x."""
    nx, ny, nz = grid
    coords = [keys // (nx * ny * nz), keys // (nx * ny) % nz, keys // nx % ny, keys % nx]
    return torch.stack(coords, 1).int()


def _check_geometry(voxel_size: Sequence[float], point_range: Sequence[float]) -> None:
    """Sizes and corners must be what they should in float32 too."""
    if not all(size > 0 for size in voxel_size):
        raise ValueError(f"voxel_size must be positive, got {tuple(voxel_size)}")
    if not all(_TINY <= size <= _HUGE for size in voxel_size):
        raise ValueError(f"voxel_size must be neither 0 nor infinite in float32, got {tuple(voxel_size)}")
    if not all(abs(corner) <= _HUGE for corner in point_range):
        raise ValueError(f"point_range must be finite in float32, got {tuple(point_range)}")


def check_points(xyz: Tensor, batch: Tensor, grid: Sequence[int]) -> int:
    """Number of samples that the points' batch indices span, after a look at the values."""
    check_finite("xyz", xyz)
    if batch.numel() == 0:
        return 1
    lowest, highest = torch.stack(batch.aminmax()).tolist()                                # waits for a device once
    if lowest < 0:
        raise ValueError(f"batch must be >= 0, got {lowest}")
    _check_numbers(highest, grid)
    return highest + 1


def _check_numbers(last_sample: int, grid: Sequence[int]) -> None:
    if last_sample > MOST:
        raise ValueError(f"batch must lie in int32, as coords does, got {last_sample}")
    if (last_sample + 1) * math.prod(grid) >= 2**63:
        raise ValueError(f"grid must give cell numbers below 2**63, got {tuple(grid)} for {last_sample + 1} samples")


def _voxelize_cpu(
    xyz: Tensor, batch: Tensor, voxel_size: Sequence[float], point_range: Sequence[float], grid: Sequence[int]
) -> tuple[Tensor, Tensor, Tensor]:
    assert NATIVE is not None
    xyz, batch, threads = xyz.detach().contiguous(), batch.contiguous(), torch.get_num_threads()
    samples = NATIVE.count_point_samples(xyz, batch, threads)
    if samples < 0:
        check_points(xyz, batch, grid)                                     # says what is wrong
    _check_numbers(samples - 1, grid)
    low, size, cells = tuple(point_range[:3]), tuple(voxel_size), tuple(grid)
    words = -(-samples * math.prod(grid) // 64)
    inverse = torch.empty_like(batch)
    if words <= _WORDS_PER_POINT * len(batch) + _FEW_WORDS:
        bits, ranks = batch.new_zeros(words), batch.new_empty(words, dtype=torch.int32)
        M = NATIVE.mark_cells(xyz, batch, low, size, cells, bits, ranks, inverse, threads)
        coords, counts = batch.new_empty(M, 4, dtype=torch.int32), batch.new_empty(M)
        NATIVE.list_cells(cells, bits, ranks, coords, inverse, counts, threads)
        return coords, inverse, counts
    coords, counts = batch.new_empty(len(batch), 4, dtype=torch.int32), torch.empty_like(batch)
    M = NATIVE.sort_cells(xyz, batch, low, size, cells, coords, inverse, counts, threads)
    return coords[:M].clone(), inverse, counts[:M].clone()                 # clones let go of the rest of the memory


_op = torch.library.custom_op("perception::voxelize", voxelize_reference, mutates_args=())
attach_native("voxelize", _voxelize_cpu)


@_op.register_fake
def _(
    xyz: Tensor, batch: Tensor, voxel_size: Sequence[float], point_range: Sequence[float], grid: Sequence[int]
) -> tuple[Tensor, Tensor, Tensor]:
    cells = torch.library.get_ctx().new_dynamic_size()
    return batch.new_empty(cells, 4, dtype=torch.int32), torch.empty_like(batch), batch.new_empty(cells)
