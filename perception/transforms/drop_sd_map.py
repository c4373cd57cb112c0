"""Forget the SD map."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..registry import TRANSFORMS
from ..structures import Frame


@TRANSFORMS.register_module()
class DropSDMap:
    """Forget the SD map of a frame now and then, so that a model learns to do without.

    Args:
        prob: probability.
    """

    def __init__(self, prob: float = 0.1) -> None:
        if not 0.0 <= prob <= 1.0:
            raise ValueError(f"prob must lie in [0, 1], got {prob}")
        self.prob = prob

    def __call__(self, frame: Frame, rng: np.random.Generator) -> Frame:
        """The frame, with ``sd_map`` None if it is dropped."""
        return replace(frame, sd_map=None) if rng.random() < self.prob else frame

    def __repr__(self) -> str:
        return f"DropSDMap(prob={self.prob})"
