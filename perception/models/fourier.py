"""Waves of a place, by which a network tells near places apart."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def fourier(places: Tensor, frequencies: int) -> Tensor:
    """(..., 2) in [-1, 1] -> (..., 2 + 4 frequencies): it, and sine and cosine of pi / 2, pi, 2 pi, ... times it."""
    angles = [places * (math.pi / 2 * 2**octave) for octave in range(frequencies)]
    return torch.cat([places, *(part for angle in angles for part in (angle.sin(), angle.cos()))], dim=-1)
