"""Misplace the SD map."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from ..registry import TRANSFORMS
from ..structures import SE3, Frame


@TRANSFORMS.register_module()
class JitterSDMap:
    """Turn and move the SD map as a whole, normally distributed; nothing else in the frame moves with it.

    Args:
        sigma_m: standard deviation of the shift along x and along y [m], >= 0.
        sigma_deg: standard deviation of the turn about the ego origin [deg], >= 0.
    """

    def __init__(self, sigma_m: float = 1.0, sigma_deg: float = 1.0) -> None:
        for name, value in (("sigma_m", sigma_m), ("sigma_deg", sigma_deg)):
            if not 0.0 <= value < math.inf:
                raise ValueError(f"{name} must be finite and >= 0, got {value}")
        self.sigma_m, self.sigma_deg = float(sigma_m), float(sigma_deg)

    def __call__(self, frame: Frame, rng: np.random.Generator) -> Frame:
        """The frame with its SD map elsewhere; one without is given back."""
        x, y, turn = rng.normal(size=3).tolist()
        if frame.sd_map is None:
            return frame
        error = SE3.about_z(math.radians(self.sigma_deg * turn), [self.sigma_m * x, self.sigma_m * y, 0.0])
        return replace(frame, sd_map=frame.sd_map.moved_by(error))

    def __repr__(self) -> str:
        return f"JitterSDMap(sigma_m={self.sigma_m}, sigma_deg={self.sigma_deg})"
