"""Modulated deformable convolution: every tap reads a learned place and is scaled by a learned weight.

"Deformable ConvNets v2: More Deformable, Better Results" (Zhu et al., CVPR 2019), section 3.2.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.ops import deform_conv2d

from perception.models.bilinear import bilinear_corners, sum_rows


class ModulatedDeformConv2d(nn.Module):
    """A 3x3 convolution whose taps are moved and weighted by a second convolution over the same input.

    That second one starts at zero: the taps at their usual places, each at half its weight.

    Args:
        in_channels: width of the input.
        out_channels: width of the output.
        stride: of both convolutions.
        bias: add a bias to the output.
    """

    bias: Tensor | None

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1, *, bias: bool = False) -> None:
        super().__init__()
        self.stride, self.padding = (stride, stride), (1, 1)
        self.weight = nn.Parameter(torch.empty(out_channels, in_channels, 3, 3))
        self.register_parameter("bias", nn.Parameter(torch.zeros(out_channels)) if bias else None)
        self.conv_offset = nn.Conv2d(in_channels, 27, 3, stride=stride, padding=1)
        self.init_weights()

    def init_weights(self) -> None:
        """Weights as of a plain convolution before a ReLU, no offsets."""
        nn.init.normal_(self.weight, std=math.sqrt(2.0 / (9 * self.weight.shape[0])))
        nn.init.zeros_(self.conv_offset.weight)
        if self.conv_offset.bias is not None:
            nn.init.zeros_(self.conv_offset.bias)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C_in, H, W) -> (B, C_out, H', W')."""
        moved = self.conv_offset(x)                                                 # (B, 27, H', W')
        offsets, scores = moved.split((18, 9), dim=1)                               # (dy, dx) of each tap, row by row
        if x.device.type != "cpu":
            return deform_conv2d(
                x, offsets, self.weight, self.bias, stride=self.stride, padding=self.padding, mask=scores.sigmoid()
            )
        taps = read_taps(x, offsets, scores.sigmoid(), self.stride[0])              # (B, H', W', 9 * C_in)
        return F.linear(taps, self.weight.permute(0, 2, 3, 1).flatten(1), self.bias).permute(0, 3, 1, 2)


def read_taps(x: Tensor, offsets: Tensor, scales: Tensor, stride: int) -> Tensor:
    """What the nine taps of a 3x3 kernel with padding 1 read.

    On a CPU this and a matrix product take less than half the time of torchvision's operator, which runs on one core,
    and a fifth with gradients.

    Args:
        x: (B, C, H, W); read without a copy if the channels are last in memory.
        offsets: (B, 18, H', W'), dy and dx of each tap [cells].
        scales: (B, 9, H', W'), factor of each tap.
        stride: of the kernel.

    Returns:
        (B, H', W', 9 * C), tap by tap.
    """
    B, C, H, W = x.shape
    dy, dx = offsets.float().permute(0, 2, 3, 1).unflatten(3, (9, 2)).unbind(4)     # (B, H', W', 9) each
    tap = torch.arange(-1.0, 2.0, device=x.device)
    row = dy + tap.repeat_interleave(3) + torch.arange(dy.shape[1], device=x.device)[:, None, None] * stride
    column = dx + tap.repeat(3) + torch.arange(dy.shape[2], device=x.device)[:, None] * stride
    corners, weights = bilinear_corners(torch.stack([column, row], dim=-1).view(-1, 2), (H, W))
    weights = weights * scales.permute(0, 2, 3, 1).reshape(-1, 1)                   # (B * H' * W' * 9, 4)
    corners = corners.view(B, -1) + torch.arange(B, device=x.device)[:, None] * (H * W)
    counts = corners.new_full((weights.shape[0],), 4)
    rows = x.permute(0, 2, 3, 1).reshape(-1, C)                                     # (B * H * W, C)
    return sum_rows(rows, corners.flatten(), weights.flatten(), counts).view(B, *dy.shape[1:3], 9 * C)
