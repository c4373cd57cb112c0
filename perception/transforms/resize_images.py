"""Bring pictures to one size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ..registry import TRANSFORMS
from ..structures import Frame
from .picture_geometry import resized


@TRANSFORMS.register_module()
class ResizeImages:
    """Resize the decoded pictures; intrinsics follow, so that points stay on what they fall on.

    See `picture_geometry.resized` for how.

    Args:
        size: height and width of every picture [pixels].
        names: cameras to resize; None: all. A frame may lack some of them.
        move_centers: False makes u into u * scale, half a pixel off, as the releases of map models do.

    Raises:
        ValueError: ``size`` is not two numbers of at least 1, or a picture to resize is not decoded.
    """

    def __init__(
        self, size: Sequence[int], names: Sequence[str] | None = None, *, move_centers: bool = True
    ) -> None:
        if len(size) != 2 or min(size) < 1:
            raise ValueError(f"size must be height and width, both >= 1, got {tuple(size)}")
        self.size, self.move_centers = (int(size[0]), int(size[1])), move_centers
        self.names = None if names is None else tuple(names)

    def __call__(self, frame: Frame, rng: np.random.Generator) -> Frame:
        """The frame with pictures of one size."""
        cameras = {
            name: resized(camera, self.size, f"frame {frame.token}: camera {name}", move_centers=self.move_centers)
            if self.names is None or name in self.names else camera
            for name, camera in frame.cameras.items()
        }
        return replace(frame, cameras=cameras)

    def __repr__(self) -> str:
        return f"ResizeImages(size={self.size}, names={self.names}, move_centers={self.move_centers})"
