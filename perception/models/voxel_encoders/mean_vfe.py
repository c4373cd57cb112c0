"""The mean of a voxel's points, as in SECOND and the voxel form of CenterPoint.

"SECOND: Sparsely Embedded Convolutional Detection" (Yan et al., Sensors 2018), in the form without parameters that its
authors' later code has.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from perception.registry import MODELS
from perception_ops import segment_reduce, voxelize

from .pillar_grid import PillarGrid, batch_points


@MODELS.register_module(role="voxel_encoder")
class MeanVFE(nn.Module):
    """Points to voxels that bear the mean of their points; has no parameters, no cap on points or voxels.

    Args:
        in_channels: width C of the points (x, y, z first), which is that of the voxels too.
        voxel_size: cell size x, y, z [m].
        point_range: x0, y0, z0, x1, y1, z1 [m], ego frame; points beyond it are dropped.
    """

    def __init__(self, in_channels: int, *, voxel_size: Sequence[float], point_range: Sequence[float]) -> None:
        super().__init__()
        if in_channels < 3:
            raise ValueError(f"in_channels must be >= 3, got {in_channels}")
        self.in_channels = self.channels = in_channels
        self.grid = PillarGrid(tuple(voxel_size), tuple(point_range))

    def forward(self, points: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """B clouds (P_i, C) -> voxels (M, C), coords (M, 4) int32 (batch, z, y, x), sorted."""
        cloud, batch = batch_points(points)                                              # (P, C), (P,)
        if cloud.shape[1] != self.in_channels:
            raise ValueError(f"points must have {self.in_channels} channels, got {cloud.shape[1]}")
        inside = self.grid.contains(self.grid.cells(cloud[:, :3]))
        cloud, batch = cloud[inside], batch[inside]
        xyz = cloud[:, :3].contiguous()
        coords, inverse, _ = voxelize(xyz, batch, self.grid.voxel_size, self.grid.point_range, self.grid.shape)
        return segment_reduce(cloud, inverse, len(coords), "mean"), coords
