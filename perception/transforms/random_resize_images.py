"""Bring pictures to sizes that vary."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ..registry import TRANSFORMS
from ..structures import Frame
from .picture_geometry import decoded, resized


@TRANSFORMS.register_module()
class RandomResizeImages:
    """Resize the decoded pictures of a frame, all by one random factor; labels and intrinsics follow.

    Args:
        scales: least and greatest factor, drawn evenly between.
        size: height and width that the factor refers to; None takes each picture's own. Height and width are scaled
            alike: the picture fits into ``size`` times the factor.

    Raises:
        ValueError: the factors are not two positive numbers in order, or a picture is not decoded.
    """

    def __init__(self, scales: Sequence[float] = (0.5, 2.0), size: Sequence[int] | None = None) -> None:
        if len(scales) != 2 or not 0 < scales[0] <= scales[1]:
            raise ValueError(f"scales must be two positive factors in ascending order, got {tuple(scales)}")
        if size is not None and (len(size) != 2 or min(size) < 1):
            raise ValueError(f"size must be height and width, both >= 1, got {tuple(size)}")
        self.scales, self.size = (float(scales[0]), float(scales[1])), None if size is None else tuple(size)

    def __call__(self, frame: Frame, rng: np.random.Generator) -> Frame:
        """The frame with larger or smaller pictures."""
        factor = rng.uniform(*self.scales)
        cameras = {}
        for name, camera in frame.cameras.items():
            place = f"frame {frame.token}: camera {name}"
            height, width = decoded(camera, place).shape[1:]
            fit = 1.0 if self.size is None else min(self.size[0] / height, self.size[1] / width)
            size = (max(1, round(height * fit * factor)), max(1, round(width * fit * factor)))
            cameras[name] = resized(camera, size, place)
        return replace(frame, cameras=cameras)

    def __repr__(self) -> str:
        return f"RandomResizeImages(scales={self.scales}, size={self.size})"
