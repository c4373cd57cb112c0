"""The regular grid that voxel encoders sort points into."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class PillarGrid:
    """Cells of one size over a box in the ego frame.

    Args:
        voxel_size: cell size x, y, z [m].
        point_range: x0, y0, z0, x1, y1, z1 [m].

    Raises:
        ValueError: a size is not positive, or an upper bound does not exceed its lower one.
    """

    voxel_size: tuple[float, ...]
    point_range: tuple[float, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "voxel_size", _floats(self.voxel_size, 3, "voxel_size"))
        object.__setattr__(self, "point_range", _floats(self.point_range, 6, "point_range"))
        if min(self.voxel_size) <= 0:
            raise ValueError(f"voxel_size must be positive, got {self.voxel_size}")
        if any(high <= low for low, high in zip(self.point_range[:3], self.point_range[3:], strict=True)):
            raise ValueError(f"point_range must be x0, y0, z0, x1, y1, z1 with x0 < x1 etc., got {self.point_range}")

    @property
    def shape(self) -> tuple[int, int, int]:
        """Number of cells along x, y, z."""
        low, high = self.point_range[:3], self.point_range[3:]
        nx, ny, nz = (round((h - lo) / size) for lo, h, size in zip(low, high, self.voxel_size, strict=True))
        return nx, ny, nz

    def cells(self, xyz: Tensor) -> Tensor:
        """(N, 3) int64 cell index x, y, z of points (N, 3) [m]; outside the range it lies outside the shape."""
        low, size = xyz.new_tensor(self.point_range[:3]), xyz.new_tensor(self.voxel_size)
        return torch.floor((xyz - low) / size).long()

    def contains(self, cells: Tensor) -> Tensor:
        """(N,) bool: which cell indices (N, 3) lie in the grid."""
        return ((cells >= 0) & (cells < cells.new_tensor(self.shape))).all(dim=1)

    def centers(self, coords: Tensor) -> Tensor:
        """(N, 3) x, y, z [m] of the centres of cells given as (N, 4) batch, z, y, x."""
        low = torch.tensor(self.point_range[:3], device=coords.device)
        size = torch.tensor(self.voxel_size, device=coords.device)
        return coords[:, [3, 2, 1]] * size + (size / 2 + low)


def _floats(values: Sequence[float], count: int, name: str) -> tuple[float, ...]:
    numbers = tuple(float(value) for value in values)
    if len(numbers) != count or not all(math.isfinite(number) for number in numbers):
        raise ValueError(f"{name} takes {count} finite numbers, got {numbers}")
    return numbers


def batch_points(points: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Stack B clouds (P_i, C) to ((P, C), (P,) int64 sample index); rows with a NaN or an infinity are left out.

    Raises:
        ValueError: there is no cloud, or the clouds do not share one width.
    """
    if not points:
        raise ValueError("a batch needs at least one point cloud")
    widths = {cloud.shape[1] if cloud.ndim == 2 else None for cloud in points}
    if len(widths) > 1 or None in widths:
        raise ValueError(f"point clouds must share one width, got {[tuple(cloud.shape) for cloud in points]}")
    stacked = torch.cat(list(points))                                                    # (P, C)
    batch = torch.cat([cloud.new_full((cloud.shape[0],), i, dtype=torch.int64) for i, cloud in enumerate(points)])
    finite = torch.isfinite(stacked).all(dim=1)
    return stacked[finite], batch[finite]
