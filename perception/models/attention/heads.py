"""Channels of tokens as heads of attention."""

from __future__ import annotations

from torch import Tensor


def count_heads(channels: int, heads: int | None, head_channels: int) -> int:
    """The number of heads: ``heads``, or as many as give each ``head_channels``.

    Raises:
        ValueError: ``channels`` is not divisible by it.
    """
    if heads is None:
        if channels % head_channels:
            raise ValueError(f"channels ({channels}) must be divisible by head_channels ({head_channels})")
        return channels // head_channels
    if heads < 1 or channels % heads:
        raise ValueError(f"channels ({channels}) must be divisible by heads ({heads})")
    return heads


def by_head(x: Tensor, heads: int) -> Tensor:
    """(..., N, heads * D) -> (..., heads, N, D)."""
    return x.unflatten(-1, (heads, -1)).transpose(-3, -2)


def together(x: Tensor) -> Tensor:
    """(..., heads, N, D) -> (..., N, heads * D)."""
    return x.transpose(-3, -2).flatten(-2)
