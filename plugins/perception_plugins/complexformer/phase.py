"""Channels as complex numbers, and the angles by which places turn them."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

from perception.models.attention.rotary import rotary_rates

FreqDtype = Literal["float32", "bfloat16"]
FREQ_DTYPES: dict[str, torch.dtype] = {"float32": torch.float32, "bfloat16": torch.bfloat16}
EPS = 1e-9                                           # under the root of a magnitude: its gradient at 0 stays finite


def polar(x: Tensor) -> tuple[Tensor, Tensor]:
    """Magnitude and phase (-pi, pi] of numbers whose real parts come first: (..., 2h) -> (..., h), (..., h)."""
    real, imaginary = x.chunk(2, dim=-1)
    return (real.square() + imaginary.square() + EPS).sqrt(), torch.atan2(imaginary, real)


def cartesian(magnitude: Tensor, phase: Tensor) -> Tensor:
    """The inverse of `polar`: (..., h), (..., h) -> (..., 2h)."""
    return torch.cat([magnitude * phase.cos(), magnitude * phase.sin()], dim=-1)


def sequence_places(count: int, first: int = 0, *, device: torch.device) -> Tensor:
    """Positions of tokens in their order, (count, 1) float64."""
    return torch.arange(first, first + count, device=device, dtype=torch.float64)[:, None]


def plane_places(size: tuple[int, int], cell: float = 1.0, *, device: torch.device) -> Tensor:
    """Row and column of each cell of a map of H, W, times the length of a cell, (H * W, 2) float64."""
    rows, columns = (torch.arange(length, device=device, dtype=torch.float64) * cell for length in size)
    return torch.stack(torch.meshgrid(rows, columns, indexing="ij"), dim=-1).flatten(0, 1)


def turn_of(places: Tensor, pairs: int, freq_dtype: FreqDtype = "float32") -> Tensor:
    """By how much places turn each pair of channels [rad].

    Each axis has an equal share of the pairs, the first ones one more if they do not divide, and its own ladder of
    rates ``10000 ** (-2j / (2 n))`` for its n pairs. More than one axis is our interpretation; the source has one.

    Args:
        places: (..., L, A) real positions on A axes.
        pairs: h.
        freq_dtype: what the rates are rounded to; "bfloat16" as the first official revision does.

    Returns:
        (..., L, h) float64 in [0, 2 pi), so that places far away lose no digits.

    Raises:
        ValueError: there are fewer pairs than axes.
    """
    axes = places.shape[-1]
    if pairs < axes:
        raise ValueError(f"{axes} axes need a pair of channels each in every head, got {pairs}")
    turns = []
    for axis in range(axes):
        count = (pairs + axes - 1 - axis) // axes
        rates = rotary_rates(2 * count, device=places.device).to(FREQ_DTYPES[freq_dtype]).double()
        turns.append(places[..., axis, None].double() * rates)
    return torch.cat(turns, dim=-1).remainder(2 * math.pi)
