"""Enlarge or shrink the scene."""

from __future__ import annotations

import numpy as np

from ..registry import TRANSFORMS
from ..structures import Frame


@TRANSFORMS.register_module()
class GlobalScaling:
    """Scale the scene about the ego origin: points, boxes, velocities and the cameras' positions.

    Args:
        min_factor: lower end of the uniform range, > 0.
        max_factor: upper end, >= ``min_factor``.
    """

    def __init__(self, min_factor: float = 0.95, max_factor: float = 1.05) -> None:
        if not 0.0 < min_factor <= max_factor < float("inf"):
            raise ValueError(f"factors must satisfy 0 < min_factor <= max_factor, got {min_factor} and {max_factor}")
        self.min_factor, self.max_factor = min_factor, max_factor

    def __call__(self, frame: Frame, rng: np.random.Generator) -> Frame:
        """The scaled frame. Raises ValueError if its sweeps are not aggregated yet."""
        return frame.scaled_by(rng.uniform(self.min_factor, self.max_factor))

    def __repr__(self) -> str:
        return f"GlobalScaling(min_factor={self.min_factor}, max_factor={self.max_factor})"
