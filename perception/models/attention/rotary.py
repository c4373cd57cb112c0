"""Positions as rotations of queries and keys, in halves.

"RoFormer: Enhanced Transformer with Rotary Position Embedding" (Su et al., 2021), in the layout of GPT-NeoX: channel j
of the first half of those that turn makes a pair with channel j of the second half.
"""

from __future__ import annotations

import torch
from torch import Tensor


def rotary_rates(channels: int, base: float = 10000.0, *, device: torch.device | str | None = None) -> Tensor:
    """By how much each pair turns from one position to the next [rad], (channels / 2,) float32, ``base ** (-2j / r)``.

    Raises:
        ValueError: ``channels`` is odd, so that they make no pairs.
    """
    if channels % 2:
        raise ValueError(f"rotary channels must be even, got {channels}")
    steps = torch.arange(0, channels, 2, device=device, dtype=torch.float32)
    return base ** (-steps / max(channels, 1))


def turned(x: Tensor, rates: Tensor, first: int = 0) -> Tensor:
    """Turn the channels of queries or keys by their position; angles are float32 at least.

    Args:
        x: (..., N, D).
        rates: (r / 2,) of the first r <= D channels, see `rotary_rates`; the others pass through.
        first: position of the first token.

    Returns:
        (..., N, D).
    """
    dtype = torch.promote_types(x.dtype, torch.float32)
    place = torch.arange(first, first + x.shape[-2], device=x.device, dtype=dtype)
    phase = place[:, None] * rates.to(dtype)                                             # (N, r / 2)
    cos, sin = phase.cos(), phase.sin()
    pairs, half = x.to(dtype), len(rates)
    one, other, rest = pairs[..., :half], pairs[..., half : 2 * half], pairs[..., 2 * half :]
    return torch.cat([one * cos - other * sin, other * cos + one * sin, rest], dim=-1).to(x.dtype)
