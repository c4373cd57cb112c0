"""How alike two pictures are: PSNR and SSIM as super-resolution reports them.

Values lie in [0, 255]. Published tables compare the luma, cut by as many pixels at each border as the scale is.
"""

from __future__ import annotations

import math

import numpy as np
from scipy.ndimage import correlate1d

PEAK = 255.0
LUMA = (65.481, 128.553, 24.966)                     # BT.601 with foot room, of R, G, B in [0, 1]
WINDOW, SIGMA = 11, 1.5                              # of the Gaussian of SSIM [pixels]
C1, C2 = (0.01 * PEAK) ** 2, (0.03 * PEAK) ** 2


def luma(rgb: np.ndarray) -> np.ndarray:
    """(H, W, 3) RGB in [0, 255] -> (H, W) float64 Y of BT.601 in [16, 235], not rounded.

    Raises:
        ValueError: it has not three channels.
    """
    if rgb.ndim != 3 or rgb.shape[2] != 3:
        raise ValueError(f"rgb must be (H, W, 3), got {rgb.shape}")
    return 16.0 + rgb.astype(np.float64) @ np.array(LUMA) / PEAK


def psnr(first: np.ndarray, second: np.ndarray, border: int = 0) -> float:
    """Peak signal-to-noise ratio [dB] over all pixels and channels; infinite for equal pictures.

    Args:
        first: (H, W) or (H, W, C) in [0, 255].
        second: likewise.
        border: rows and columns at each side that do not count.

    Raises:
        ValueError: the shapes differ, or nothing is left within the border.
    """
    first, second = _inner(first, border), _inner(second, border)
    _check(first, second, 1)
    error = float(np.mean((first - second) ** 2))
    return math.inf if error == 0 else 10.0 * math.log10(PEAK**2 / error)


def ssim(first: np.ndarray, second: np.ndarray, border: int = 0) -> float:
    """Structural similarity (Wang et al., 2004), the mean over places where the window fits, and over channels.

    Arguments and errors as for `psnr`; within the border there must be a window of 11 x 11 pixels.
    """
    first, second = _inner(first, border), _inner(second, border)
    _check(first, second, WINDOW)
    mean1, mean2 = _smoothed(first), _smoothed(second)
    variance1 = _smoothed(first**2) - mean1**2
    variance2 = _smoothed(second**2) - mean2**2
    covariance = _smoothed(first * second) - mean1 * mean2
    similar = (2 * mean1 * mean2 + C1) * (2 * covariance + C2)
    return float(np.mean(similar / ((mean1**2 + mean2**2 + C1) * (variance1 + variance2 + C2))))


def _inner(picture: np.ndarray, border: int) -> np.ndarray:
    if border < 0:
        raise ValueError(f"border must be >= 0, got {border}")
    if picture.ndim not in (2, 3):
        raise ValueError(f"pictures must be (H, W) or (H, W, C), got {picture.shape}")
    return picture[border : picture.shape[0] - border, border : picture.shape[1] - border].astype(np.float64)


def _smoothed(picture: np.ndarray) -> np.ndarray:
    """Gaussian means, of the places where the window lies inside."""
    half = WINDOW // 2
    weights = np.exp(-((np.arange(WINDOW) - half) ** 2) / (2 * SIGMA**2))
    weights /= weights.sum()
    means = correlate1d(correlate1d(picture, weights, axis=0), weights, axis=1)
    return means[half:-half, half:-half]


def _check(first: np.ndarray, second: np.ndarray, least: int) -> None:
    if first.shape != second.shape:
        raise ValueError(f"pictures must have one shape, got {first.shape} and {second.shape} within the border")
    if min(first.shape[:2]) < least:
        raise ValueError(f"pictures must have {least} x {least} pixels within the border, got {first.shape}")
