"""The neck of SECOND: every stage brought to one stride and joined along the channels."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from perception.models.conv_unit import ConvUnit
from perception.registry import MODELS


@MODELS.register_module(role="neck")
class SECONDFPN(nn.Module):
    """One resampling unit a stage, then concatenation.

    Args:
        in_channels: widths of the stages.
        channels: width that each stage is brought to.
        upsample: factor of each stage: above 1 a transposed convolution, below 1 a strided one.
        conv_for_no_stride: a factor of 1 is a plain 1x1 convolution instead of a transposed one.
        eps: of the batch normalisations.
        momentum: of their running statistics.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        channels: Sequence[int],
        upsample: Sequence[float],
        *,
        conv_for_no_stride: bool = False,
        eps: float = 1e-3,
        momentum: float = 0.01,
    ) -> None:
        super().__init__()
        if not len(in_channels) == len(channels) == len(upsample) > 0:
            given = f"{in_channels}, {channels}, {upsample}"
            raise ValueError(f"in_channels, channels and upsample must be as many, got {given}")
        if min(upsample) <= 0:
            raise ValueError(f"upsample factors must be positive, got {upsample}")
        self.channels = sum(channels)
        convs = [
            _resample(width, out, factor, conv_for_no_stride)
            for width, out, factor in zip(in_channels, channels, upsample, strict=True)
        ]
        self.stages = nn.ModuleList(ConvUnit(conv, eps=eps, momentum=momentum) for conv in convs)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Maps (B, C_i, H_i, W_i) -> (B, sum of channels, H, W).

        Raises:
            ValueError: the resampled maps differ in size: the canvas is not divisible by the strides.
        """
        resampled = [stage(x) for stage, x in zip(self.stages, maps, strict=True)]
        if len({x.shape[2:] for x in resampled}) > 1:
            sizes = [tuple(x.shape[2:]) for x in resampled]
            raise ValueError(f"stages come to different sizes {sizes}: the canvas must be divisible by all strides")
        return torch.cat(resampled, dim=1)


def _resample(
    in_channels: int, channels: int, factor: float, conv_for_no_stride: bool
) -> nn.Conv2d | nn.ConvTranspose2d:
    if factor > 1 or (factor == 1 and not conv_for_no_stride):
        size = round(factor)
        return nn.ConvTranspose2d(in_channels, channels, size, stride=size, bias=False)
    size = round(1 / factor)
    return nn.Conv2d(in_channels, channels, size, stride=size, bias=False)
