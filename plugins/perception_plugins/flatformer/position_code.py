"""Sine position code of pillar cells (FlatFormer, section 3.3)."""

from __future__ import annotations

import torch
from torch import Tensor

ROUNDED_PI = 3.1415                                  # the authors' value


def position_code(
    coords: Tensor, channels: int, *, temperature: float = 10000.0, grid: tuple[int, int] | None = None
) -> Tensor:
    """Interleaved sines and cosines of the cell's column, then of its row, padded with zeros.

    Args:
        coords: (N, 4) integer batch, z, y, x.
        channels: width of the code.
        temperature: longest wave length in cells, up to a factor of 2 pi.
        grid: number of cells along x and y, to bring columns and rows to [0, 2 pi) first; None takes them as they are.

    Returns:
        (N, channels) float32.
    """
    length = channels // 4 * 2                                                           # numbers an axis
    exponent = 2 * torch.div(torch.arange(length, device=coords.device), 2, rounding_mode="floor") / max(length, 1)
    frequency = temperature**exponent                                                    # (length,)
    cells = coords[:, [3, 2]].float()                                                    # (N, 2) x, y
    if grid is not None:
        cells = cells / cells.new_tensor(grid) * 2 * ROUNDED_PI
    phase = cells[:, :, None] / frequency                                                # (N, 2, length)
    waves = torch.stack([phase[..., 0::2].sin(), phase[..., 1::2].cos()], dim=3)         # (N, 2, length / 2, 2)
    return torch.nn.functional.pad(waves.flatten(1), (0, channels - 2 * length))
