"""A class token in the middle of the patches, and the table of positions that counts it."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from perception.models.token_layout import map_of, tokens_of


def insert_middle(patches: Tensor, token: Tensor) -> Tensor:
    """(B, M, C) and (1 or B, 1, C) -> (B, M + 1, C), the token behind M // 2 patches."""
    middle = patches.shape[1] // 2
    token = token.to(patches.dtype).expand(len(patches), -1, -1)
    return torch.cat([patches[:, :middle], token, patches[:, middle:]], 1)


def without_middle(tokens: Tensor) -> Tensor:
    """(B, M + 1, C) -> (B, M, C), the patches alone."""
    return _without(tokens, (tokens.shape[1] - 1) // 2)


def resized_positions(table: Tensor, own: tuple[int, int], size: tuple[int, int], *, legacy: bool = False) -> Tensor:
    """Positions of the patches of a map of another size, bicubic; the class token keeps its own.

    Args:
        table: (1, M + 1, C) of a map of ``own`` rows and columns, M = rows * columns.
        own: that size.
        size: rows and columns wanted, whose product is M'.
        legacy: take the first row for the class token's, as the authors' loader does, and put it first: of tables with
            the class token in the middle that shifts all positions. For exact repetition of its results only.

    Returns:
        (1, M' + 1, C).
    """
    if own == size:
        return table
    at = 0 if legacy else own[0] * own[1] // 2
    grid = F.interpolate(map_of(_without(table, at), own), size, mode="bicubic", align_corners=False)
    patches, own_row = tokens_of(grid), table[:, at : at + 1]                              # (1, M', C), (1, 1, C)
    return torch.cat([own_row, patches], 1) if legacy else insert_middle(patches, own_row)


def _without(tokens: Tensor, at: int) -> Tensor:
    return torch.cat([tokens[:, :at], tokens[:, at + 1 :]], 1)
