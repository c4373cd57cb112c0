"""Bring pictures to sizes that vary."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ..registry import TRANSFORMS
from ..structures import Frame
from .picture_geometry import decoded, resized, short_side_scale


@TRANSFORMS.register_module()
class RandomResizeImages:
    """Resize the decoded pictures of a frame, all by one random factor; labels and intrinsics follow.

    Args:
        scales: least and greatest factor.
        size: height and width that the factor refers to; None takes each picture's own. Height and width are scaled
            alike: the picture fits into ``size`` times the factor.
        short_side: in place of ``size``, what the factor refers the shorter of height and width to.
        long_limit: with ``short_side``, most that the longer one may get.
        steps: number of factors to draw from, at equal distances; None draws evenly between the least and greatest.

    Raises:
        ValueError: the factors are not two positive numbers in order, a size or number of steps cannot be, or a
            picture is not decoded.
    """

    def __init__(
        self,
        scales: Sequence[float] = (0.5, 2.0),
        size: Sequence[int] | None = None,
        *,
        short_side: int | None = None,
        long_limit: float = math.inf,
        steps: int | None = None,
    ) -> None:
        if len(scales) != 2 or not 0 < scales[0] <= scales[1]:
            raise ValueError(f"scales must be two positive factors in ascending order, got {tuple(scales)}")
        if size is not None and (len(size) != 2 or min(size) < 1):
            raise ValueError(f"size must be height and width, both >= 1, got {tuple(size)}")
        if short_side is not None and (size is not None or short_side < 1 or long_limit < 1):
            raise ValueError(
                f"short_side and long_limit must be >= 1 and stand without size, got {short_side}, {long_limit} and "
                f"{size}"
            )
        if steps is not None and steps < 2:
            raise ValueError(f"steps must be at least the two of scales, got {steps}")
        self.scales, self.size = (float(scales[0]), float(scales[1])), None if size is None else tuple(size)
        self.short_side, self.long_limit, self.steps = short_side, long_limit, steps

    def __call__(self, frame: Frame, rng: np.random.Generator) -> Frame:
        """The frame with larger or smaller pictures."""
        least, greatest = self.scales
        share = rng.random() if self.steps is None else int(rng.integers(self.steps)) / (self.steps - 1)
        factor = least + share * (greatest - least)
        cameras = {}
        for name, camera in frame.cameras.items():
            place = f"frame {frame.token}: camera {name}"
            height, width = decoded(camera, place).shape[1:]
            scale = self._scale(height, width, factor)
            cameras[name] = resized(camera, (max(1, round(height * scale)), max(1, round(width * scale))), place)
        return replace(frame, cameras=cameras)

    def _scale(self, height: int, width: int, factor: float) -> float:
        if self.short_side is not None:
            return short_side_scale((height, width), self.short_side * factor, self.long_limit)
        return factor if self.size is None else factor * min(self.size[0] / height, self.size[1] / width)

    def __repr__(self) -> str:
        return (
            f"RandomResizeImages(scales={self.scales}, size={self.size}, short_side={self.short_side}, "
            f"long_limit={self.long_limit}, steps={self.steps})"
        )
