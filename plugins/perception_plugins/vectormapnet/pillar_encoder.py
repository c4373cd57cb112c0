"""The LiDAR branch: every point to a feature, their means over pillars to a map."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from perception.models.bev_backbones.second import SECOND
from perception.models.conv_unit import ConvUnit, conv3x3
from perception.models.voxel_encoders.pillar_grid import PillarGrid, batch_points
from perception.models.voxel_encoders.point_norm import PointBatchNorm, PointLayer
from perception_ops import segment_reduce

NORM: dict[str, Any] = {"eps": 1e-5, "momentum": 0.1}
ADDED_FEATURES = 10                                  # count, offset from the mean, mean, offset from the centre


class PillarPoints(NamedTuple):
    """Points with what their pillars say of them.

    Args:
        features: (P, C + 10): the point, how many points its pillar has, its offset from their mean, the mean, its
            offset from the pillar's centre.
        pillars: (P,) int64, (sample * nx + column) * ny + row.
        inside: (P,) bool, False for padding and what lies out of range.
    """

    features: Tensor
    pillars: Tensor
    inside: Tensor


class PillarEncoder(nn.Module):
    """Pillars, three convolutional stages joined at full resolution, a convolution.

    Args:
        channels: width of the result.
        region: x0, y0, x1, y1 [m], ego frame.
        grid: pillars along x and y, both divisible by 4.
        z_range: lowest and highest z [m] of a point that counts.
        in_channels: channels C of a point (x, y, z first).
        base: width of the pillars; the stages have once, twice and four times as many channels.
        hidden_channels: width before the last convolution.
        as_released: count as the authors' code does. A point less than a pillar below the range lies in the first
            pillar, and what lies out of range counts as a point of feature zero in pillar 0 of its sample. Otherwise
            the range is exact, and points outside are left out.
        standardize: bring every input of the point layer to zero mean and unit variance; see `DynamicVFE`.

    Raises:
        ValueError: the grid is not divisible by 4, or points have fewer than three channels.
    """

    def __init__(
        self,
        channels: int = 128,
        *,
        region: Sequence[float] = (-30.0, -15.0, 30.0, 15.0),
        grid: Sequence[int] = (200, 100),
        z_range: Sequence[float] = (-10.0, 10.0),
        in_channels: int = 5,
        base: int = 64,
        hidden_channels: int = 128,
        as_released: bool = False,
        standardize: bool = False,
    ) -> None:
        super().__init__()
        (nx, ny), (x0, y0, x1, y1), (z0, z1) = grid, region, z_range
        if min(nx, ny) < 4 or nx % 4 or ny % 4:
            raise ValueError(f"grid must be divisible by 4, got {tuple(grid)}")
        if in_channels < 3:
            raise ValueError(f"in_channels must be >= 3, got {in_channels}")
        self.grid = PillarGrid(((x1 - x0) / nx, (y1 - y0) / ny, z1 - z0), (x0, y0, z0, x1, y1, z1))
        self.in_channels, self.as_released = in_channels, as_released
        features, widths = in_channels + ADDED_FEATURES, (base, 2 * base, 4 * base)
        self.standardize = PointBatchNorm(features, affine=False) if standardize else nn.Identity()
        self.point_layer = PointLayer(features, base, **NORM)
        self.backbone = SECOND(base, widths, (1, 2, 2), (1, 2, 2), **NORM)
        self.ups = nn.ModuleList(ConvUnit(conv3x3(width, width), **NORM) for width in widths)
        self.join = nn.Sequential(
            ConvUnit(conv3x3(sum(widths), 4 * base), **NORM), ConvUnit(conv3x3(4 * base, 2 * base), **NORM),
            nn.Conv2d(2 * base, hidden_channels, 1),
        )
        self.output = nn.Conv2d(hidden_channels, channels, 3, padding=1)

    def forward(self, points: Sequence[Tensor]) -> Tensor:
        """B clouds (P_i, C), any of them empty -> (B, channels, ny, nx)."""
        cloud, batch = batch_points(points)                                         # (P, C), (P,)
        described = self.describe(cloud, batch, len(points))
        return self.output(self.join_stages(self.pillar_map(described, len(points))))

    def describe(
        self, cloud: Tensor, batch: Tensor, samples: int, is_padding: Tensor | None = None
    ) -> PillarPoints:
        """Points with their pillars; what lies out of range is left out, unless ``as_released``.

        Args:
            cloud: (P, C), ego frame [m].
            batch: (P,) int64, sample of each point.
            samples: how many there are.
            is_padding: (P,) bool, rows that are no points; None: all are.

        Raises:
            ValueError: the points have another number of channels.
        """
        if cloud.shape[1] != self.in_channels:
            raise ValueError(f"points must have {self.in_channels} channels, got {cloud.shape[1]}")
        cells = self._cells(cloud)                                                  # (P, 3) x, y, z
        inside = self.grid.contains(cells)
        inside = inside if is_padding is None else inside & ~is_padding
        if not self.as_released:
            cloud, batch, cells, inside = cloud[inside], batch[inside], cells[inside], inside[inside]
        nx, ny, _ = self.grid.shape
        pillars = torch.where(inside, cells[:, 0] * ny + cells[:, 1], 0) + batch * (nx * ny)
        xyz = cloud[:, :3].contiguous()
        means = segment_reduce(xyz, pillars, samples * nx * ny, "mean")[pillars]    # (P, 3)
        ones = inside.to(xyz.dtype)[:, None]
        counts = segment_reduce(ones, pillars, samples * nx * ny, "sum")[pillars]   # (P, 1)
        centers = (cells + 0.5) * xyz.new_tensor(self.grid.voxel_size) + xyz.new_tensor(self.grid.point_range[:3])
        features = torch.cat([cloud, counts, xyz - means, means, xyz - centers], dim=1)
        return PillarPoints(features, pillars, inside)

    def _cells(self, cloud: Tensor) -> Tensor:
        """(P, 3) int64 cell x, y, z; truncation, unlike the floor, puts what is just below the range into cell 0."""
        if not self.as_released:
            return self.grid.cells(cloud[:, :3])
        low, size = cloud.new_tensor(self.grid.point_range[:3]), cloud.new_tensor(self.grid.voxel_size)
        return ((cloud[:, :3] - low) / size).long()

    def pillar_map(self, points: PillarPoints, samples: int) -> Tensor:
        """Mean feature of each pillar, (B, base, nx, ny); 0 in an empty one."""
        nx, ny, _ = self.grid.shape
        features = self.point_layer(self.standardize(points.features)) * points.inside[:, None]
        pillars = segment_reduce(features, points.pillars, samples * nx * ny, "mean")
        return pillars.view(samples, nx, ny, -1).permute(0, 3, 1, 2)

    def join_stages(self, pillars: Tensor) -> Tensor:
        """(B, base, nx, ny) -> (B, hidden_channels, ny, nx)."""
        size = pillars.shape[2:]
        stages = self.backbone(pillars)
        full = [stages[0]] + [F.interpolate(x, size=size, mode="bilinear", align_corners=True) for x in stages[1:]]
        joined = torch.cat([up(x) for up, x in zip(self.ups, full, strict=True)], dim=1)
        return self.join(joined).transpose(2, 3)
