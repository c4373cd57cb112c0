"""Move the scene."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from ..registry import TRANSFORMS
from ..structures import SE3, Frame


@TRANSFORMS.register_module()
class GlobalTranslation:
    """Move the scene by a normally distributed vector; everything in the frame moves with it.

    Args:
        std: standard deviations along x, y and z [m], >= 0.
    """

    def __init__(self, std: Sequence[float] = (0.5, 0.5, 0.5)) -> None:
        if len(std) != 3 or not all(0.0 <= value < float("inf") for value in std):
            raise ValueError(f"std must be three finite numbers >= 0 [m], got {std}")
        self.std = tuple(float(value) for value in std)

    def __call__(self, frame: Frame, rng: np.random.Generator) -> Frame:
        """The moved frame; camera poses follow, so pictures still line up."""
        shift = torch.from_numpy(rng.normal(scale=self.std))                      # (3,) float64
        return frame.moved_by(SE3(torch.eye(3, dtype=torch.float64), shift))

    def __repr__(self) -> str:
        return f"GlobalTranslation(std={self.std})"
