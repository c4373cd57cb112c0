"""Layers that all parts of P2AT are made of."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from perception.models.conv_unit import ConvUnit

EPS, MOMENTUM = 1e-5, 0.1                          # of every normalisation


class ConvPReLU(ConvUnit):
    """A convolution without bias, batch normalisation and a PReLU with one slope a channel.

    Args:
        in_channels: width of the input.
        channels: width of the output.
        kernel_size: odd; the size of the map is kept at stride 1.
        stride: of the convolution.
        groups: of the convolution.
    """

    def __init__(
        self, in_channels: int, channels: int, kernel_size: int = 1, *, stride: int = 1, groups: int = 1
    ) -> None:
        conv = nn.Conv2d(
            in_channels, channels, kernel_size, stride=stride, padding=kernel_size // 2, groups=groups, bias=False
        )
        super().__init__(conv, eps=EPS, momentum=MOMENTUM, activation=False)
        self.act = nn.PReLU(channels)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C_in, H, W) -> (B, C_out, H', W')."""
        return self.act(super().forward(x))


def conv_norm(in_channels: int, channels: int, kernel_size: int = 1) -> ConvUnit:
    """A convolution without bias that keeps the size of the map, and batch normalisation."""
    conv = nn.Conv2d(in_channels, channels, kernel_size, padding=kernel_size // 2, bias=False)
    return ConvUnit(conv, eps=EPS, momentum=MOMENTUM, activation=False)


def conv1x1(in_channels: int, channels: int, *, bias: bool = False) -> nn.Conv2d:
    """A 1x1 convolution."""
    return nn.Conv2d(in_channels, channels, 1, bias=bias)


def resized(x: Tensor, like: Tensor) -> Tensor:
    """(B, C, h, w) -> (B, C, H, W): bilinear, to the size of the map ``like``."""
    return F.interpolate(x, size=like.shape[2:], mode="bilinear", align_corners=False)
