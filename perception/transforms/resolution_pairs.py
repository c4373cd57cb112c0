"""Pairs of pictures in low and high resolution, to learn super-resolution from or to measure it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ..registry import TRANSFORMS
from ..structures import Camera, Frame
from ..structures.super_resolution import HIGH
from .bicubic import shrunk, to_uint8
from .picture_geometry import cropped, decoded, with_picture


@TRANSFORMS.register_module()
class ResolutionPairs:
    """Shrink pictures, and keep what they were as cameras of their own: NAME becomes NAME and NAME/high.

    The picture is first cut to multiples of the scale at the right and below, then shrunk as super-resolution defines
    it, see `perception.transforms.bicubic`. Labels and intrinsics of both follow.

    Args:
        scale: factor between the two, at least 2.
        patch: height and width of a part of the small picture, drawn at random, that remains with the same part of the
            large one; None keeps all.
        names: cameras to pair; None: all. A frame may lack some of them.

    Raises:
        ValueError: the scale is below 2, the patch is not two numbers of at least 1, or a picture is not decoded or has
            fewer pixels than a patch or pixel needs.
    """

    def __init__(
        self, scale: int, patch: Sequence[int] | None = None, names: Sequence[str] | None = None
    ) -> None:
        if scale < 2:
            raise ValueError(f"scale must be a whole number >= 2, got {scale}")
        if patch is not None and (len(patch) != 2 or min(patch) < 1):
            raise ValueError(f"patch must be height and width, both >= 1, got {tuple(patch)}")
        self.scale, self.patch = scale, None if patch is None else (int(patch[0]), int(patch[1]))
        self.names = None if names is None else tuple(names)

    def __call__(self, frame: Frame, rng: np.random.Generator) -> Frame:
        """The frame with two cameras for each that was paired."""
        cameras: dict[str, Camera] = {}
        for name, camera in frame.cameras.items():
            if self.names is None or name in self.names:
                cameras[name], cameras[name + HIGH] = self._pair(camera, rng, f"frame {frame.token}: camera {name}")
            else:
                cameras[name] = camera
        return replace(frame, cameras=cameras)

    def _pair(self, camera: Camera, rng: np.random.Generator, place: str) -> tuple[Camera, Camera]:
        size = tuple(decoded(camera, place).shape[1:])
        rows, columns = (length // self.scale for length in size)
        needed = self.patch or (1, 1)
        if rows < needed[0] or columns < needed[1]:
            least = (needed[0] * self.scale, needed[1] * self.scale)
            raise ValueError(f"{place} must have at least {least} pixels, got {size}")
        high = cropped(camera, (0, 0), (rows * self.scale, columns * self.scale), place)
        low = with_picture(high, to_uint8(shrunk(decoded(high, place) / 255, self.scale)))
        if self.patch is None:
            return low, high
        top, left = int(rng.integers(rows - self.patch[0] + 1)), int(rng.integers(columns - self.patch[1] + 1))
        corner = (top * self.scale, left * self.scale)
        large = cropped(high, corner, (self.patch[0] * self.scale, self.patch[1] * self.scale), place)
        return cropped(low, (top, left), self.patch, place), large

    def __repr__(self) -> str:
        return f"ResolutionPairs(scale={self.scale}, patch={self.patch}, names={self.names})"
