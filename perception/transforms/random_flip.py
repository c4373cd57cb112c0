"""Mirror the scene."""

from __future__ import annotations

import math

import numpy as np

from ..registry import TRANSFORMS
from ..structures import SE3, Frame


@TRANSFORMS.register_module()
class RandomFlip:
    """Mirror the scene left to right, front to back, or both.

    Args:
        prob_y: probability that left and right (y) are exchanged.
        prob_x: probability that front and back (x) are exchanged, drawn apart.
    """

    def __init__(self, prob_y: float = 0.5, prob_x: float = 0.5) -> None:
        for name, value in (("prob_y", prob_y), ("prob_x", prob_x)):
            if not 0.0 <= value <= 1.0:
                raise ValueError(f"{name} must lie in [0, 1], got {value}")
        self.prob_y, self.prob_x = prob_y, prob_x

    def __call__(self, frame: Frame, rng: np.random.Generator) -> Frame:
        """The mirrored frame. Raises ValueError if sweeps are not aggregated or pictures not decoded yet."""
        left_right, front_back = rng.random(2) < (self.prob_y, self.prob_x)
        if left_right:
            frame = frame.mirrored_y()
        if front_back:
            frame = frame.mirrored_y().moved_by(SE3.about_z(math.pi))             # (x, y) -> (x, -y) -> (-x, y)
        return frame

    def __repr__(self) -> str:
        return f"RandomFlip(prob_y={self.prob_y}, prob_x={self.prob_x})"
