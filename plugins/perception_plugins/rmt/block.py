"""The block of RMT: a position code by convolution, Manhattan self-attention, a feed-forward layer."""

from __future__ import annotations

import torch
from timm.layers import DropPath
from torch import Tensor, nn
from torch.nn import functional as F

from .attention import MaSA
from .depthwise import DepthwiseConv
from .position import DecayTables

BLOCK_EPS = 1e-6                                     # of the norms of blocks; those of the maps given out have 1e-5


class ConvFeedForward(nn.Module):
    """Two linear layers with a GELU and, beside a shortcut, a depthwise convolution in between.

    Args:
        channels: width C.
        hidden: width in between.
    """

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(channels, hidden)
        self.local = DepthwiseConv(hidden, 3)
        self.fc2 = nn.Linear(hidden, channels)

    def forward(self, x: Tensor) -> Tensor:
        """(B, H, W, C) -> (B, H, W, C)."""
        hidden = F.gelu(self.fc1(x))
        return self.fc2(hidden + self.local(hidden))


class RMTBlock(nn.Module):
    """One block (figure 3 of the paper).

    Args:
        channels: width C.
        heads: of the attention.
        hidden: width inside of the feed-forward layer.
        drop_path: probability of leaving a sample's branch out in training.
        layer_scale: first value of the branches' scales; None leaves the scales out.
    """

    def __init__(
        self, channels: int, heads: int, hidden: int, *, drop_path: float = 0.0, layer_scale: float | None = None
    ) -> None:
        super().__init__()
        self.place = DepthwiseConv(channels, 3)
        self.norm1 = nn.LayerNorm(channels, eps=BLOCK_EPS)
        self.attention = MaSA(channels, heads)
        self.norm2 = nn.LayerNorm(channels, eps=BLOCK_EPS)
        self.ffn = ConvFeedForward(channels, hidden)
        self.drop_path = DropPath(drop_path) if drop_path > 0 else nn.Identity()
        self.scale1, self.scale2 = (_scale(channels, layer_scale) for _ in range(2))

    def forward(self, x: Tensor, tables: DecayTables) -> Tensor:
        """(B, H, W, C), tables for H, W -> (B, H, W, C)."""
        x = x + self.place(x)
        x = x + self.drop_path(_scaled(self.attention(self.norm1(x), tables), self.scale1))
        return x + self.drop_path(_scaled(self.ffn(self.norm2(x)), self.scale2))


def _scale(channels: int, value: float | None) -> nn.Parameter | None:
    return None if value is None else nn.Parameter(torch.full((1, 1, 1, channels), value))


def _scaled(x: Tensor, scale: Tensor | None) -> Tensor:
    return x if scale is None else scale * x
