"""Shuffle the points."""

from __future__ import annotations

import numpy as np
import torch

from ..registry import TRANSFORMS
from ..structures import Frame


@TRANSFORMS.register_module()
class PointShuffle:
    """Put the points in random order, so that limits on points a voxel keep a random part of them."""

    def __call__(self, frame: Frame, rng: np.random.Generator) -> Frame:
        """The frame with the same points in another order."""
        if frame.points is None:
            return frame
        return frame.with_point_rows(torch.from_numpy(rng.permutation(len(frame.points))))

    def __repr__(self) -> str:
        return "PointShuffle()"
