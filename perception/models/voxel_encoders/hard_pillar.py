"""PointPillars' encoder over hard voxels, as in CenterPoint.

"PointPillars: Fast Encoders for Object Detection from Point Clouds" (Lang et al., CVPR 2019), section 2.1.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from perception.registry import MODELS

from .hard_voxelization import hard_voxelize
from .pillar_grid import PillarGrid, batch_points
from .point_norm import PointLayer


@MODELS.register_module(role="voxel_encoder")
class HardPillar(nn.Module):
    """Points to pillar features by one or more layers over a fixed number of rows a pillar.

    Rows that no point fills are zero, and like the published model they take part in the normalisation and the maximum.

    Args:
        in_channels: width C of the points (x, y, z first).
        channels: widths of the layers; a layer before the last gives half of its width to the points and half to
            their maximum.
        voxel_size: cell size x, y, z [m].
        point_range: x0, y0, z0, x1, y1, z1 [m], ego frame; points beyond it are dropped.
        max_points: points kept in a pillar.
        max_voxels: pillars kept in a sample, while training and while testing.
        center_z: also give the offset from the pillar's centre along z (older releases do not).
        legacy: overwrite x, y, z by the offsets from the pillar's centre, as early releases of the library did.
        eps: of the batch normalisations.
        momentum: of their running statistics.
    """

    def __init__(
        self,
        in_channels: int,
        channels: Sequence[int] = (64,),
        *,
        voxel_size: Sequence[float],
        point_range: Sequence[float],
        max_points: int = 20,
        max_voxels: tuple[int, int] = (30000, 40000),
        center_z: bool = True,
        legacy: bool = False,
        eps: float = 1e-3,
        momentum: float = 0.01,
    ) -> None:
        super().__init__()
        if max_points < 1 or min(max_voxels) < 1:
            raise ValueError(f"max_points and max_voxels must be positive, got {max_points} and {tuple(max_voxels)}")
        self.in_channels, self.channels = in_channels, channels[-1]
        self.grid = PillarGrid(tuple(voxel_size), tuple(point_range))
        self.max_points, self.max_voxels = max_points, tuple(max_voxels)
        self.center_columns, self.legacy = (3 if center_z else 2), legacy
        widths = [in_channels + 3 + self.center_columns, *channels[:-1]]
        outputs = [*(width // 2 for width in channels[:-1]), channels[-1]]
        self.layers = nn.ModuleList(
            PointLayer(width, out, eps=eps, momentum=momentum) for width, out in zip(widths, outputs, strict=True)
        )

    def forward(self, points: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """B clouds (P_i, C) -> pillars (M, channels), coords (M, 4) int32 (batch, z, y, x), in the order of arrival."""
        voxels, coords, counts = self.voxelize(points)
        return self.encode(voxels, coords, counts), coords

    def voxelize(self, points: Sequence[Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """Cells (M, S, C) padded with zeros, coords (M, 4) int32 and (M,) number of points in each."""
        cloud, batch = batch_points(points)
        if cloud.shape[1] != self.in_channels:
            raise ValueError(f"points must have {self.in_channels} channels, got {cloud.shape[1]}")
        cap = self.max_voxels[0 if self.training else 1]
        parts = [hard_voxelize(cloud[batch == i], self.grid, self.max_points, cap) for i in range(len(points))]
        coords = [nn.functional.pad(zyx, (1, 0), value=i) for i, (_, zyx, _) in enumerate(parts)]
        return torch.cat([part[0] for part in parts]), torch.cat(coords), torch.cat([part[2] for part in parts])

    def encode(self, voxels: Tensor, coords: Tensor, counts: Tensor) -> Tensor:
        """Cells (M, S, C), coords (M, 4) and counts (M,) -> pillar features (M, channels)."""
        rows = self.decorate(voxels, coords, counts)                                     # (M, S, C + 6)
        M, S, _ = rows.shape
        for position, layer in enumerate(self.layers):
            rows = layer(rows.flatten(0, 1)).unflatten(0, (M, S))
            top = rows.amax(dim=1, keepdim=True)                                         # (M, 1, C_l)
            if position + 1 < len(self.layers):
                rows = torch.cat([rows, top.expand_as(rows)], dim=2)                     # (M, S, 2 C_l)
        return top[:, 0]

    def decorate(self, voxels: Tensor, coords: Tensor, counts: Tensor) -> Tensor:
        """Points with their offsets from the pillar's mean and centre; rows beyond the count are zero."""
        xyz = voxels[:, :, :3]                                                           # (M, S, 3)
        from_mean = xyz - xyz.sum(dim=1, keepdim=True) / counts.clamp(min=1)[:, None, None]
        columns = self.center_columns
        from_center = xyz[:, :, :columns] - self.grid.centers(coords)[:, None, :columns]
        raw = torch.cat([from_center, voxels[:, :, columns:]], dim=2) if self.legacy else voxels
        filled = torch.arange(voxels.shape[1], device=voxels.device) < counts[:, None]   # (M, S)
        return torch.cat([raw, from_mean, from_center], dim=2) * filled[:, :, None]
