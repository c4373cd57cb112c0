"""Real tokens before masked ones, for mixers that read tokens in their order and must not read a masked one."""

from __future__ import annotations

import torch
from torch import Tensor


def real_first(tokens: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Move the real tokens of each sample to its front, in their order; shapes stay, so it can be exported.

    Args:
        tokens: (B, N, C).
        mask: (B, N) bool, False where a token is not real.

    Returns:
        The tokens (B, N, C), real ones first and then zeros, and their old places (B, N) int64, see `back_in_place`.
    """
    places = torch.argsort((~mask).to(torch.uint8), dim=1, stable=True)                    # (B, N)
    moved = tokens.gather(1, places[:, :, None].expand_as(tokens))
    is_real = mask.gather(1, places)
    return moved.masked_fill(~is_real[:, :, None], 0.0), places


def back_in_place(tokens: Tensor, places: Tensor) -> Tensor:
    """Undo `real_first`: (B, N, C) tokens to their old places (B, N)."""
    index = places[:, :, None].expand_as(tokens)
    return torch.zeros_like(tokens).scatter(1, index, tokens)
