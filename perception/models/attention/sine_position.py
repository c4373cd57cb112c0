"""Where a cell of a feature map lies, as sines and cosines of its row and its column.

Vaswani et al., "Attention Is All You Need", NeurIPS 2017, section 3.5, for two axes as in DETR (Carion et al., ECCV
2020), appendix A.4.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

EPS = 1e-6                                           # of the division by the greatest number


def sine_position(
    size: tuple[int, int],
    channels: int,
    *,
    temperature: float = 10000.0,
    normalize: bool = True,
    scale: float = 2 * math.pi,
    device: torch.device | str | None = None,
) -> Tensor:
    """The code of every cell: the first half of its channels tells the row, the second the column.

    Sine and cosine alternate, and each pair has a wave ``temperature ** (4 / channels)`` times as long as the one
    before.

    Args:
        size: rows H and columns W of the map.
        channels: width C of the code; divisible by 4.
        temperature: how many times longer than the first wave a last one with one pair more would be.
        normalize: count rows and columns in such steps that the last one is at ``scale``; otherwise 1, 2, 3 ...
        scale: phase of the last row and of the last column [rad].
        device: of the code.

    Returns:
        (C, H, W) float32.

    Raises:
        ValueError: ``channels`` is not divisible by 4.
    """
    if channels % 4:
        raise ValueError(f"channels must be divisible by 4, got {channels}")
    H, W = size
    half = channels // 2
    wave = temperature ** (torch.arange(0, half, 2, device=device, dtype=torch.float32) / half)      # (C / 4,)
    row, column = (_axis(length, wave, normalize, scale) for length in size)
    return torch.cat([row[:, :, None].expand(half, H, W), column[:, None, :].expand(half, H, W)])


def _axis(length: int, wave: Tensor, normalize: bool, scale: float) -> Tensor:
    """(C / 2, length) codes of the places along one axis."""
    place = torch.arange(1, length + 1, device=wave.device, dtype=torch.float32)
    if normalize:
        place = place / (length + EPS) * scale
    phase = place / wave[:, None]                                                   # (C / 4, length)
    return torch.stack([phase.sin(), phase.cos()], dim=1).flatten(0, 1)
