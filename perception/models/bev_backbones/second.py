"""The 2-D backbone of SECOND, with the residual units of SST and FlatFormer as an option.

"SECOND: Sparsely Embedded Convolutional Detection" (Yan et al., Sensors 2018), section 3.2.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from operator import mul

from torch import Tensor, nn

from perception.models.conv_unit import ConvUnit, conv3x3
from perception.registry import MODELS


@MODELS.register_module(role="bev_backbone")
class SECOND(nn.Module):
    """Stages of 3x3 convolution units; the first unit of a stage has its stride.

    Args:
        in_channels: width of the canvas.
        channels: width of each stage.
        layers: further units of each stage at stride 1.
        strides: stride of each stage.
        residual: units that keep the shape add their input after the ReLU.
        eps: of the batch normalisations.
        momentum: of their running statistics.
    """

    def __init__(
        self,
        in_channels: int,
        channels: Sequence[int] = (64, 128),
        layers: Sequence[int] = (3, 3),
        strides: Sequence[int] = (1, 2),
        *,
        residual: bool = False,
        eps: float = 1e-3,
        momentum: float = 0.01,
    ) -> None:
        super().__init__()
        if not len(channels) == len(layers) == len(strides) > 0:
            raise ValueError(f"channels, layers and strides must be as many, got {channels}, {layers}, {strides}")
        self.channels, self.strides = tuple(channels), tuple(accumulate(strides, mul))
        self.stages = nn.ModuleList()
        for width, extra, stride in zip(channels, layers, strides, strict=True):
            units = []
            for unit_stride in (stride, *(1,) * extra):
                keeps_shape = unit_stride == 1 and in_channels == width
                conv = conv3x3(in_channels, width, unit_stride)
                units.append(ConvUnit(conv, eps=eps, momentum=momentum, residual=residual and keeps_shape))
                in_channels = width
            self.stages.append(nn.Sequential(*units))

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """(B, C, H, W) -> the last map of each stage, (B, C_i, H / s_i, W / s_i)."""
        maps = []
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        return tuple(maps)
