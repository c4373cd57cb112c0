"""SECOND's sparse 3-D encoder in its residual form, through which CenterPoint brings voxels to a bird's-eye-view map.

"Center-based 3D Object Detection and Tracking" (Yin et al., CVPR 2021), section 4; submanifold convolutions are those
of "3D Semantic Segmentation with Submanifold Sparse Convolutional Networks" (Graham et al., CVPR 2018).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from perception.errors import MissingExtraError
from perception.models.voxel_encoders.point_norm import PointBatchNorm
from perception.registry import MODELS
from perception_ops import bev_scatter
from perception_ops.checks import FLOATING, check_positive, check_range, check_tensor

from .spconv_import import import_spconv

if TYPE_CHECKING:
    from spconv.pytorch import SparseConvTensor

LAST_KERNEL, LAST_STRIDE = (3, 1, 1), (2, 1, 1)      # z, y, x; of the convolution that halves the height once more


class SparseUnit(nn.Module):
    """A sparse convolution without bias, batch normalisation and ReLU.

    Args:
        conv: one of spconv's convolutions.
        channels: width C_out that it gives.
        eps: of the normalisation.
        momentum: of its running statistics.
    """

    def __init__(self, conv: nn.Module, channels: int, *, eps: float, momentum: float) -> None:
        super().__init__()
        self.conv = conv
        self.bn = PointBatchNorm(channels, eps=eps, momentum=momentum)

    def forward(self, x: SparseConvTensor) -> SparseConvTensor:
        """Features (M, C_in) -> (M', C_out); a strided convolution also changes the sites."""
        x = self.conv(x)
        return x.replace_feature(self.bn(x.features).relu())


class SparseResidualBlock(nn.Module):
    """Two submanifold 3x3x3 convolutions with a skip that joins before the last ReLU; the sites stay.

    Args:
        channels: width C.
        key: name under which layers of the same sites share their neighbourhoods.
        eps: of the normalisations.
        momentum: of their running statistics.
    """

    def __init__(self, channels: int, key: str, *, eps: float, momentum: float) -> None:
        super().__init__()
        self.conv1 = _submanifold(channels, channels, key)
        self.bn1 = PointBatchNorm(channels, eps=eps, momentum=momentum)
        self.conv2 = _submanifold(channels, channels, key)
        self.bn2 = PointBatchNorm(channels, eps=eps, momentum=momentum)

    def forward(self, x: SparseConvTensor) -> SparseConvTensor:
        """Features (M, C) -> (M, C)."""
        out = self.conv1(x)
        out = self.conv2(out.replace_feature(self.bn1(out.features).relu()))
        return out.replace_feature((self.bn2(out.features) + x.features).relu())


@MODELS.register_module(role="lidar_backbone")
class SparseEncoder(nn.Module):
    """Voxels to a dense map whose channels hold the heights that are left.

    A stem, then stages of residual blocks; between two stages a 3x3x3 convolution halves every axis, and at the end one
    halves the height. As published, one empty layer of cells lies on top of the grid, and the last convolution between
    stages does not pad the height. On a GPU it needs the extra ``cuda``, else ``sparse``; the weights are the same.

    Args:
        in_channels: width of the voxel features.
        grid: number of cells along x, y and z; some numbers along z would lose the topmost cells and are refused.
        channels: width of each stage.
        num_blocks: residual blocks of a stage.
        out_channels: width C of a cell at the end; the map has C times the heights left.
        eps: of the batch normalisations.
        momentum: of their running statistics.

    Raises:
        ValueError: a size is below 1, or cells along z would be lost.
        MissingExtraError: spconv is not installed.
    """

    def __init__(
        self,
        in_channels: int,
        grid: Sequence[int],
        *,
        channels: Sequence[int] = (16, 32, 64, 128),
        num_blocks: int = 2,
        out_channels: int = 128,
        eps: float = 1e-3,
        momentum: float = 0.01,
    ) -> None:
        super().__init__()
        if len(grid) != 3 or min(grid) < 1:
            raise ValueError(f"grid must be three positive numbers of cells x, y, z, got {tuple(grid)}")
        check_positive(
            in_channels=in_channels, stages=len(channels), num_blocks=num_blocks, out_channels=out_channels,
            **{f"channels[{stage}]": width for stage, width in enumerate(channels)},
        )
        spconv, last = import_spconv(), len(channels) - 1
        self.in_channels, self.grid = in_channels, (int(grid[0]), int(grid[1]), int(grid[2]))
        norm = {"eps": eps, "momentum": momentum}
        self.stem = SparseUnit(_submanifold(in_channels, channels[0], "stage0"), channels[0], **norm)
        self.stages, self.downs = nn.ModuleList(), nn.ModuleList()
        height = self.grid[2] + 1
        for stage, width in enumerate(channels):
            blocks = [SparseResidualBlock(width, f"stage{stage}", **norm) for _ in range(num_blocks)]
            self.stages.append(nn.Sequential(*blocks))
            if stage < last:
                padding, wider = (0 if stage == last - 1 else 1, 1, 1), channels[stage + 1]
                down = spconv.SparseConv3d(width, wider, 3, stride=2, padding=padding, bias=False)
                self.downs.append(SparseUnit(down, wider, **norm))
                height = _height_after(height, padding[0], self.grid[2])
        end = spconv.SparseConv3d(channels[-1], out_channels, LAST_KERNEL, stride=LAST_STRIDE, bias=False)
        self.end = SparseUnit(end, out_channels, **norm)
        self.height = _height_after(height, 0, self.grid[2])
        self.channels, self.stride = out_channels * self.height, 2**last

    def forward(self, features: Tensor, coords: Tensor, batch_size: int) -> Tensor:
        """Voxels to the map.

        Args:
            features: (M, in_channels).
            coords: (M, 4) int32 (batch, z, y, x), no two alike.
            batch_size: number of samples B; some may be empty, or all.

        Returns:
            (B, channels, ny / stride, nx / stride), rounded up; channel ``c * height + z``, cells that no voxel reaches
            are 0. In float32 under autocast too, except to float16 on a GPU, since spconv knows no bfloat16.

        Raises:
            ValueError: wrong shapes or dtypes, or (on the CPU) a cell outside the grid.
        """
        check_positive(batch_size=batch_size)
        check_tensor("features", features, ("M", self.in_channels), FLOATING)
        check_tensor("coords", coords, (len(features), 4), (torch.int32,))
        if coords.device.type == "cpu":              # elsewhere looking at the values would stall
            for axis, size in enumerate((batch_size, *reversed(self.grid))):
                check_range(f"coords[:, {axis}]", coords[:, axis], size)
        device = features.device.type
        half = device == "cuda" and torch.get_autocast_dtype("cuda") == torch.float16
        with torch.autocast(device, enabled=half and torch.is_autocast_enabled(device)):
            return self._encode(features.to(self.end.bn.weight.dtype), coords, batch_size)

    def _encode(self, features: Tensor, coords: Tensor, batch_size: int) -> Tensor:
        is_empty = len(features) == 0
        if is_empty:                                 # spconv takes no empty tensor: a voxel of zeros stands in for none
            features = torch.cat([features, features.new_zeros(1, self.in_channels)])
            coords = torch.cat([coords, coords.new_zeros(1, 4)])
        nx, ny, nz = self.grid
        self._choose_algorithm(features.device)
        x = self.stem(import_spconv().SparseConvTensor(features, coords, (nz + 1, ny, nx), batch_size))
        for stage, blocks in enumerate(self.stages):
            x = blocks(x if stage == 0 else self.downs[stage - 1](x))
        canvas = self._fold(self.end(x), batch_size)
        return canvas * 0 if is_empty else canvas

    def _fold(self, x: SparseConvTensor, batch_size: int) -> Tensor:
        """Cells (M, C) to (B, C * height, ny, nx): each writes the channels of its height, the sum joins a column."""
        at_height = F.one_hot(x.indices[:, 1].long(), self.height).to(x.features.dtype)     # (M, height)
        columns = (x.features[:, :, None] * at_height[:, None, :]).flatten(1)               # (M, C height)
        _, ny, nx = x.spatial_shape
        return bev_scatter(columns, x.indices, batch_size, ny, nx, channels_last=True)

    def _choose_algorithm(self, device: torch.device) -> None:
        """spconv has one algorithm for the CPU; the layers default to the one its build prefers."""
        from spconv.cppconstants import CPU_ONLY_BUILD

        if CPU_ONLY_BUILD and device.type != "cpu":
            raise MissingExtraError("cuda", f"SparseEncoder on {device.type} (this spconv was built for the CPU)")
        algorithms = import_spconv().ConvAlgo
        algorithm = algorithms.Native if device.type == "cpu" else algorithms.MaskImplicitGemm
        for module in self.modules():
            if hasattr(module, "algo"):
                module.algo = algorithm


def _submanifold(in_channels: int, channels: int, key: str) -> nn.Module:
    """A 3x3x3 convolution that is evaluated at the given sites only, and sees only those."""
    return import_spconv().SubMConv3d(in_channels, channels, 3, padding=1, bias=False, indice_key=key)


def _height_after(size: int, padding: int, nz: int) -> int:
    """Layers left of ``size`` after a kernel of 3 at stride 2. Raises ValueError if the topmost reach no output."""
    left = (size + 2 * padding - 3) // 2 + 1
    if left < 1 or 2 * left + 1 - padding < size:
        raise ValueError(
            f"grid has {nz} cells along z, the topmost of which would be lost where {size} layers are halved with "
            f"padding {padding}; four stages fit 24 to 27 or 40 to 43, three stages 20 or 21"
        )
    return left
