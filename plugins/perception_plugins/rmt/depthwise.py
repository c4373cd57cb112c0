"""Depthwise convolution of maps whose channels come last."""

from __future__ import annotations

from torch import Tensor, nn


class DepthwiseConv(nn.Conv2d):
    """A convolution of each channel by itself that keeps the size of the map.

    Args:
        channels: width C.
        kernel: odd side of the window.
    """

    def __init__(self, channels: int, kernel: int) -> None:
        super().__init__(channels, channels, kernel, padding=kernel // 2, groups=channels)

    def forward(self, x: Tensor) -> Tensor:
        """(B, H, W, C) -> (B, H, W, C)."""
        return super().forward(x.movedim(-1, 1)).movedim(1, -1)
