"""Attention within square windows of a map, with a learnt bias a relative position (Swin Transformer).

"Swin Transformer: Hierarchical Vision Transformer using Shifted Windows" (Liu et al., ICCV 2021), section 3.2.
"""

from __future__ import annotations

import torch
from timm.layers import trunc_normal_
from torch import Tensor, nn
from torch.nn import functional as F

APART = -100.0                                       # added to the scores of pairs that shall not see each other


def windows_of(x: Tensor, window: int) -> Tensor:
    """(B, H, W, C) -> (B * G, window ** 2, C): windows row by row, and row by row within them."""
    B, H, W, C = x.shape
    parts = x.view(B, H // window, window, W // window, window, C).transpose(2, 3)
    return parts.reshape(-1, window * window, C)


def map_of_windows(windows: Tensor, window: int, size: tuple[int, int]) -> Tensor:
    """(B * G, window ** 2, C) -> (B, H, W, C), the inverse of `windows_of`."""
    H, W = size
    parts = windows.view(-1, H // window, W // window, window, window, windows.shape[2]).transpose(2, 3)
    return parts.reshape(-1, H, W, windows.shape[2])


def relative_positions(window: int) -> Tensor:
    """(N, N) int64 row of the bias table for each query and key of a window of N = window ** 2 tokens."""
    place = torch.arange(window)
    apart = place[:, None] - place + window - 1                                           # (window, window)
    rows, columns = apart[:, None, :, None], apart[None, :, None, :]
    return (rows * (2 * window - 1) + columns).flatten(2).flatten(0, 1)                   # (N, N)


def shift_mask(size: tuple[int, int], window: int, shift: int, like: Tensor) -> Tensor:
    """What to add to the scores of a map that was rolled, so that its opposite borders do not see each other.

    Args:
        size: height and width of the map, multiples of ``window``.
        window: side of a window.
        shift: rows and columns by which the map was rolled up and left, in [1, window).
        like: gives device and dtype.

    Returns:
        (G, N, N): 0 for pairs of one region of the G windows, -100 for others.
    """
    rows, columns = (_regions(length, window, shift, like.device) for length in size)
    regions = windows_of((3 * rows[:, None] + columns)[None, :, :, None], window)[..., 0]          # (G, N)
    return torch.where(regions[:, :, None] == regions[:, None, :], 0.0, APART).to(like.dtype)


def _regions(length: int, window: int, shift: int, device: torch.device) -> Tensor:
    """(length,) int64: 0, 1 in the last window, 2 in the part of it that came from the other border."""
    place = torch.arange(length, device=device)
    return (place >= length - window).long() + (place >= length - shift).long()


class WindowAttention(nn.Module):
    """Multi-head self-attention of the tokens of each window.

    Args:
        channels: width of the tokens, divisible by ``heads``.
        heads: of the attention.
        window: side of a window.
        qkv_bias: the projection to queries, keys and values has a bias.
        dropout: of what comes out.
        attention_dropout: of the attention weights.
    """

    positions: Tensor

    def __init__(
        self, channels: int, heads: int, window: int, *, qkv_bias: bool = True, dropout: float = 0.0,
        attention_dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if heads < 1 or channels % heads:
            raise ValueError(f"channels ({channels}) must be divisible by heads ({heads})")
        self.heads, self.attention_dropout = heads, attention_dropout
        self.bias_table = nn.Parameter(torch.zeros((2 * window - 1) ** 2, heads))
        self.register_buffer("positions", relative_positions(window), persistent=False)
        self.qkv = nn.Linear(channels, 3 * channels, bias=qkv_bias)
        self.proj = nn.Linear(channels, channels)
        self.dropout = nn.Dropout(dropout)
        trunc_normal_(self.bias_table, std=0.02)

    def forward(self, tokens: Tensor, mask: Tensor | None = None) -> Tensor:
        """(B * G, N, C) -> (B * G, N, C); ``mask`` (G, N, N) is added to the scores of the G windows of each map."""
        q, k, v = self.qkv(tokens).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)        # (BG, heads, N, D)
        bias = self.bias_table[self.positions].permute(2, 0, 1)[None].contiguous()                 # (1, heads, N, N)
        if mask is not None:
            bias = (bias + mask[:, None]).repeat(tokens.shape[0] // mask.shape[0], 1, 1, 1)        # (BG, heads, N, N)
        dropout = self.attention_dropout if self.training else 0.0
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=bias.to(q.dtype), dropout_p=dropout)
        return self.dropout(self.proj(mixed.transpose(1, 2).flatten(2)))
