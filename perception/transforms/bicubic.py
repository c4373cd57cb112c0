"""Bicubic resizing as super-resolution defines it: MATLAB's ``imresize``, whose kernel widens when a picture shrinks.

Keys, "Cubic convolution interpolation for digital image processing", 1981, with a = -0.5. Borders are mirrored with
their edge pixels repeated, and nothing is clamped or rounded. torch's antialiased mode differs at the borders alone.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

SUPPORT = 4                                          # width of the kernel in source pixels, when nothing shrinks


def shrunk(images: Tensor, factor: int) -> Tensor:
    """(..., H, W) floats -> (..., ceil(H / factor), ceil(W / factor)).

    Raises:
        ValueError: the factor is below 1, or the pictures have no floats or no pixels.
    """
    return _resampled(images, factor, shrinking_weights)


def enlarged(images: Tensor, factor: int) -> Tensor:
    """(..., H, W) floats -> (..., factor * H, factor * W); errors as for `shrunk`."""
    return _resampled(images, factor, enlarging_weights)


def to_uint8(images: Tensor) -> Tensor:
    """Pictures in [0, 1] as uint8: clamped, and rounded to the nearest of 256 levels (ties to the even one)."""
    return (images.float().clamp(0, 1) * 255).round().to(torch.uint8)


@lru_cache(maxsize=64)
def shrinking_weights(length: int, factor: int) -> np.ndarray:
    """(ceil(length / factor), length) float64 weight of each source pixel."""
    return _weights((np.arange(-(-length // factor)) + 0.5) * factor - 0.5, length, factor)


@lru_cache(maxsize=64)
def enlarging_weights(length: int, factor: int) -> np.ndarray:
    """(length * factor, length) float64 weight of each source pixel."""
    return _weights((np.arange(length * factor) + 0.5) / factor - 0.5, length, 1)


def _resampled(images: Tensor, factor: int, weights_of: Callable[[int, int], np.ndarray]) -> Tensor:
    if factor < 1:
        raise ValueError(f"factor must be a whole number >= 1, got {factor}")
    if images.dim() < 2 or not images.is_floating_point() or 0 in images.shape[-2:]:
        raise ValueError(f"images must be floats (..., H, W) with pixels, got {tuple(images.shape)} {images.dtype}")
    rows, columns = (torch.from_numpy(weights_of(length, factor)).to(images) for length in images.shape[-2:])
    with torch.autocast(images.device.type, enabled=False):            # eight bits of a weight would show
        return rows @ images @ columns.T


def _weights(centers: np.ndarray, length: int, stretch: int) -> np.ndarray:
    """(M, length) weights of the pixels about M places, with the kernel ``stretch`` times as wide; rows sum up to 1."""
    width = SUPPORT * stretch
    taps = np.floor(centers - width / 2)[:, None] + np.arange(width + 2)                   # (M, P) source pixels
    weights = _cubic((centers[:, None] - taps) / stretch)
    weights /= weights.sum(axis=1, keepdims=True)
    place = taps.astype(np.int64) % (2 * length)
    mirrored = np.minimum(place, 2 * length - 1 - place)                                   # edge pixels repeated
    found = np.zeros((len(centers), length))
    np.add.at(found, (np.arange(len(centers))[:, None], mirrored), weights)
    return found


def _cubic(x: np.ndarray) -> np.ndarray:
    x = np.abs(x)
    near = 1.5 * x**3 - 2.5 * x**2 + 1
    far = -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2
    return np.where(x <= 1, near, np.where(x <= 2, far, 0.0))
