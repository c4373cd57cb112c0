"""Weights of 4 bits with a range for each group of inputs, and how two codes share a byte."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

LEVELS = 15


class Groups(NamedTuple):
    """Asymmetric codes: value = (code - zero) * scale of the row's group.

    Args:
        codes: (N, K) uint8, 0 to 15.
        scale: (N, ceil(K / size)) of the values' dtype.
        zero: (N, ceil(K / size)) uint8.
        size: inputs of a group; the last one may be smaller.
    """

    codes: Tensor
    scale: Tensor
    zero: Tensor
    size: int


def quantize_groups(weight: Tensor, size: int) -> Groups:
    """(N, K) -> codes of 4 bits; the range of a group holds 0, and a group of zeros has scale 1.

    Raises:
        ValueError: the size is below 1.
    """
    if size < 1:
        raise ValueError(f"a group must have one input or more, got {size}")
    blocks = _blocks(weight, size)                                                           # (N, G, size)
    lowest, highest = blocks.amin(dim=-1).clamp(max=0), blocks.amax(dim=-1).clamp(min=0)     # (N, G)
    scale = (highest - lowest) / LEVELS
    scale = torch.where(scale == 0, torch.ones_like(scale), scale)
    zero = (-lowest / scale).round().clamp(0, LEVELS)
    codes = ((blocks / scale.unsqueeze(-1)).round() + zero.unsqueeze(-1)).clamp(0, LEVELS)
    return Groups(codes.flatten(1)[:, : weight.shape[1]].to(torch.uint8), scale, zero.to(torch.uint8), size)


def dequantize_groups(groups: Groups) -> Tensor:
    """(N, K) values of codes."""
    blocks = _blocks(groups.codes, groups.size).to(groups.scale.dtype)
    values = (blocks - groups.zero.unsqueeze(-1)) * groups.scale.unsqueeze(-1)               # (N, G, size)
    return values.flatten(1)[:, : groups.codes.shape[1]]


def _blocks(rows: Tensor, size: int) -> Tensor:
    """(N, K) -> (N, G, size), zeros at the end of the last group: they change no range, which holds 0."""
    return F.pad(rows, (0, -rows.shape[1] % size)).unflatten(1, (-1, size))
