"""Turn the scene about the vertical axis."""

from __future__ import annotations

import math

import numpy as np

from ..registry import TRANSFORMS
from ..structures import SE3, Frame


@TRANSFORMS.register_module()
class GlobalRotation:
    """Turn the scene about the ego's z axis; everything in the frame turns with it.

    Args:
        max_angle: half-width of the uniform range [rad], in [0, pi].
    """

    def __init__(self, max_angle: float = math.pi / 4) -> None:
        if not 0.0 <= max_angle <= math.pi:
            raise ValueError(f"max_angle must lie in [0, pi] rad, got {max_angle}")
        self.max_angle = max_angle

    def __call__(self, frame: Frame, rng: np.random.Generator) -> Frame:
        """The turned frame; camera poses follow, so pictures still line up."""
        return frame.moved_by(SE3.about_z(rng.uniform(-self.max_angle, self.max_angle)))

    def __repr__(self) -> str:
        return f"GlobalRotation(max_angle={self.max_angle:.3f})"
