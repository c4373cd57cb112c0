"""Dynamic voxel feature encoding: every point counts, no cap on points or pillars.

"End-to-End Multi-View Fusion for 3D Object Detection in LiDAR Point Clouds" (Zhou et al., CoRL 2019), section 3.1, in
the two-layer form of SST and FlatFormer.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from perception.registry import MODELS
from perception_ops import segment_reduce, voxelize

from .pillar_grid import PillarGrid, batch_points
from .point_norm import PointBatchNorm, PointLayer
from .squashed_heights import checked_heights, squashed_heights


@MODELS.register_module(role="voxel_encoder")
class DynamicVFE(nn.Module):
    """Points to pillar features: layers on points, each followed by the maximum over the pillar.

    Args:
        in_channels: width C of the points (x, y, z first).
        channels: widths of the layers; the last one is the width of the pillars.
        voxel_size: cell size x, y, z [m].
        point_range: x0, y0, z0, x1, y1, z1 [m], ego frame.
        outside: "drop" leaves points beyond the range out; "clamp" moves their cell to the border, as the authors do,
            who filter by range before.
        keep_first_pillar: False drops the pillar with the smallest (z, y, x) of each sample, as the authors' CUDA
            scatter does.
        standardize: bring every input of the first layer to zero mean and unit variance. Absolute coordinates are a
            hundred times as large as offsets within a pillar; without this, as published, the first thousands of
            iterations go by before a model sees the shape of things.
        heights: further inputs tanh(z / h), one for each h [m]: they tell a kerb from the road beside it, which is a
            hundredth of the spread of z. As published there is none.
        eps: of the batch normalisations.
        momentum: of their running statistics.
    """

    def __init__(
        self,
        in_channels: int,
        channels: Sequence[int] = (64, 128),
        *,
        voxel_size: Sequence[float],
        point_range: Sequence[float],
        outside: str = "drop",
        keep_first_pillar: bool = True,
        standardize: bool = False,
        heights: Sequence[float] = (),
        eps: float = 1e-3,
        momentum: float = 0.01,
    ) -> None:
        super().__init__()
        if in_channels < 3 or not channels:
            raise ValueError(f"in_channels must be >= 3 and channels not empty, got {in_channels}, {channels}")
        if outside not in ("drop", "clamp"):
            raise ValueError(f'outside must be "drop" or "clamp", got {outside!r}')
        self.in_channels, self.channels = in_channels, channels[-1]
        self.grid = PillarGrid(tuple(voxel_size), tuple(point_range))
        self.outside, self.keep_first_pillar = outside, keep_first_pillar
        self.heights = checked_heights(heights)
        inputs = in_channels + 6 + len(self.heights)
        self.standardize = PointBatchNorm(inputs, affine=False) if standardize else nn.Identity()
        widths = [inputs, *(2 * width for width in channels[:-1])]
        self.layers = nn.ModuleList(
            PointLayer(width, out, eps=eps, momentum=momentum) for width, out in zip(widths, channels, strict=True)
        )

    def forward(self, points: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """B clouds (P_i, C) -> pillars (M, channels), coords (M, 4) int32 (batch, z, y, x), sorted."""
        features, coords, inverse = self.voxelize(points)
        features = self.standardize(features)
        for position, layer in enumerate(self.layers):
            features = layer(features)                                                   # (P, C_l)
            pillars = segment_reduce(features, inverse, coords.shape[0], "max")              # (M, C_l)
            if position + 1 < len(self.layers):
                features = torch.cat([features, pillars[inverse]], dim=1)                # (P, 2 C_l)
        return (pillars, coords) if self.keep_first_pillar else _without_first(pillars, coords)

    def voxelize(self, points: Sequence[Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """Point features (P, C + 6 + heights), pillar coords (M, 4) int32 and the pillar of each point (P,) int64."""
        cloud, batch = batch_points(points)                                              # (P, C), (P,)
        if cloud.shape[1] != self.in_channels:
            raise ValueError(f"points must have {self.in_channels} channels, got {cloud.shape[1]}")
        if self.outside == "drop":
            inside = self.grid.contains(self.grid.cells(cloud[:, :3]))
            cloud, batch = cloud[inside], batch[inside]
        xyz = cloud[:, :3].contiguous()
        coords, inverse, _ = voxelize(xyz, batch, self.grid.voxel_size, self.grid.point_range, self.grid.shape)
        means = segment_reduce(xyz, inverse, coords.shape[0], "mean")                        # (M, 3)
        centers = self.grid.centers(coords)                                              # (M, 3)
        features = [cloud, xyz - means[inverse], xyz - centers[inverse], squashed_heights(xyz[:, 2], self.heights)]
        return torch.cat(features, dim=1), coords, inverse


def _without_first(pillars: Tensor, coords: Tensor) -> tuple[Tensor, Tensor]:
    batch = coords[:, 0]
    keep = torch.zeros_like(batch, dtype=torch.bool)
    keep[1:] = batch[1:] == batch[:-1]
    return pillars[keep], coords[keep]
