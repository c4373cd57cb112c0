"""Heights seen through magnifying glasses: centimetres near the ground count as much as metres above it."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor


def checked_heights(heights: Sequence[float]) -> tuple[float, ...]:
    """The scales [m] as a tuple. Raises ValueError if one is not positive."""
    if any(not scale > 0 for scale in heights):
        raise ValueError(f"heights must be positive, got {tuple(heights)}")
    return tuple(float(scale) for scale in heights)


def squashed_heights(z: Tensor, heights: Sequence[float]) -> Tensor:
    """(N,) heights over the ego's ground [m] -> (N, scales) tanh(z / scale)."""
    return (z[:, None] / z.new_tensor(heights)).tanh()
