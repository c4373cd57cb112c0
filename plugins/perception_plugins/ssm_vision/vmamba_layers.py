"""What makes the places of a stage of VMamba: its patch embeddings and reductions.

"VMamba" (Liu et al., NeurIPS 2024), section 4.1; both forms of each are those of the released code. Places have their
channels last: (B, H, W, C).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class ConvNorm(nn.Module):
    """A strided convolution with a bias and a layer norm of each place.

    Args:
        in_channels, channels: widths.
        kernel, stride, padding: of the convolution.
    """

    def __init__(self, in_channels: int, channels: int, *, kernel: int, stride: int, padding: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, channels, kernel, stride=stride, padding=padding)
        self.norm = nn.LayerNorm(channels, eps=1e-5)

    def forward(self, x: Tensor) -> Tensor:
        """(B, H, W, C_in) -> (B, h, w, C)."""
        return self.norm(self.conv(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1))


class PatchMerging(nn.Module):
    """The four places of a 2 x 2 cell beside each other, normed and projected; odd sizes are filled up with zeros.

    Args:
        in_channels, channels: widths.
    """

    def __init__(self, in_channels: int, channels: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(4 * in_channels, eps=1e-5)
        self.reduction = nn.Linear(4 * in_channels, channels, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, H, W, C_in) -> (B, H / 2, W / 2, C), rounded up."""
        x = F.pad(x, (0, 0, 0, x.shape[2] % 2, 0, x.shape[1] % 2))
        phases = [x[:, row::2, column::2] for column in (0, 1) for row in (0, 1)]
        return self.reduction(self.norm(torch.cat(phases, -1)))


def patch_embedding(kind: str, channels: int) -> nn.Module:
    """A picture with channels last to places of stride 4: "patches" of 4 x 4, or two "convolutions" that overlap."""
    if kind == "patches":
        return ConvNorm(3, channels, kernel=4, stride=4, padding=0)
    if kind == "convolutions":
        return nn.Sequential(
            ConvNorm(3, channels // 2, kernel=3, stride=2, padding=1), nn.GELU(),
            ConvNorm(channels // 2, channels, kernel=3, stride=2, padding=1),
        )
    raise ValueError(f"stem must be patches or convolutions, got {kind!r}")


def reduction(kind: str, in_channels: int, channels: int) -> nn.Module:
    """Places of twice the stride: by "merging" 2 x 2 cells, or by a "convolution" that overlaps."""
    if kind == "merging":
        return PatchMerging(in_channels, channels)
    if kind == "convolution":
        return ConvNorm(in_channels, channels, kernel=3, stride=2, padding=1)
    raise ValueError(f"downsample must be merging or convolution, got {kind!r}")
