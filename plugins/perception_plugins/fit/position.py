"""Where tokens and latents are, learned or as fixed codes."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn

Kind = Literal["learned", "sin_cos", "sin_cos2d"]
LAST = 1000.0                                        # the coordinate of the last place of an axis


def wave_code(place: Tensor, channels: int) -> Tensor:
    """Sines, then cosines, of coordinates (N,) in float32 -> (N, channels).

    The order of operations is the reference's: angles reach 1000, so that others move entries by up to 5e-5.

    Raises:
        ValueError: ``channels`` is odd.
    """
    if channels % 2:
        raise ValueError(f"the channels of a code must be even, got {channels}")
    steps = torch.arange(0, channels, 2, device=place.device, dtype=torch.float32)
    angle = place.float()[:, None] * (1.0 / 10000.0 ** (steps / channels))                   # (N, channels / 2)
    return torch.cat([angle.sin(), angle.cos()], dim=1)


def line_code(count: int, channels: int) -> Tensor:
    """The code of places on a line, (count, channels) float32."""
    return wave_code(torch.arange(count, dtype=torch.float32) / max(count - 1, 1) * LAST, channels)


def plane_code(grid: tuple[int, int], channels: int) -> Tensor:
    """The code of places of a grid, (rows * columns, channels) float32, row by row; half tells the row."""
    rows, columns = (line_code(length, channels // 2) for length in grid)
    return torch.cat([rows.repeat_interleave(grid[1], dim=0), columns.repeat(grid[0], 1)], dim=1)


class PositionTable(nn.Module):
    """A row of numbers for each place.

    Args:
        kind: "learned"; "sin_cos" codes the places one after another, "sin_cos2d" by row and column.
        grid: rows and columns of the places.
        channels: width C.

    Raises:
        ValueError: the kind is unknown, or the channels do not divide as its code needs.
    """

    table: Tensor

    def __init__(self, kind: Kind, grid: tuple[int, int], channels: int) -> None:
        super().__init__()
        count = grid[0] * grid[1]
        if kind == "learned":
            self.table = nn.Parameter(nn.init.trunc_normal_(torch.empty(count, channels), std=0.02))
        elif kind == "sin_cos":
            self.register_buffer("table", line_code(count, channels), persistent=False)
        elif kind == "sin_cos2d":
            self.register_buffer("table", plane_code(grid, channels), persistent=False)
        else:
            raise ValueError(f"position must be learned, sin_cos or sin_cos2d, got {kind!r}")

    def forward(self) -> Tensor:
        """(places, C)."""
        return self.table


def token_positions(kind: Kind, count: int, channels: int) -> PositionTable:
    """Of the tokens of a group, which "sin_cos2d" takes as a square. Raises ValueError if they form none."""
    side = math.isqrt(count)
    if kind == "sin_cos2d" and side**2 != count:
        raise ValueError(f"sin_cos2d needs a square number of tokens in a group, got {count}")
    return PositionTable(kind, (side, side) if kind == "sin_cos2d" else (1, count), channels)


def latent_positions(kind: Kind, groups: int, latents: int, channels: int) -> PositionTable:
    """Of the latents of all groups, (groups * latents, channels); "sin_cos" codes group and number if there are two."""
    in_plane = kind == "sin_cos" and min(groups, latents) > 1
    return PositionTable("sin_cos2d" if in_plane else kind, (groups, latents), channels)
