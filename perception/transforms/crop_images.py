"""Cut rows off pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ..registry import TRANSFORMS
from ..structures import Camera, Frame
from .picture_geometry import cropped, decoded


@TRANSFORMS.register_module()
class CropImages:
    """Keep some rows of the decoded pictures; intrinsics follow, so that points stay on what they fall on.

    Args:
        rows: first row, and the one behind the last.
        names: cameras to crop; None: all. A frame may lack some of them.

    Raises:
        ValueError: the rows are none, or a picture to crop is not decoded or has fewer.
    """

    def __init__(self, rows: Sequence[int], names: Sequence[str] | None = None) -> None:
        if len(rows) != 2 or not 0 <= rows[0] < rows[1]:
            raise ValueError(f"rows must be a first one >= 0 and a greater one, got {tuple(rows)}")
        self.rows, self.names = (int(rows[0]), int(rows[1])), None if names is None else tuple(names)

    def __call__(self, frame: Frame, rng: np.random.Generator) -> Frame:
        """The frame with lower pictures."""
        cameras = {
            name: self._cropped(camera, f"frame {frame.token}: camera {name}")
            if self.names is None or name in self.names else camera
            for name, camera in frame.cameras.items()
        }
        return replace(frame, cameras=cameras)

    def _cropped(self, camera: Camera, place: str) -> Camera:
        first, end = self.rows
        rows, columns = decoded(camera, place).shape[1:]
        if rows < end:
            raise ValueError(f"{place} has {rows} rows, cannot keep {first} to {end - 1}")
        return cropped(camera, (first, 0), (end - first, columns), place)

    def __repr__(self) -> str:
        return f"CropImages(rows={self.rows}, names={self.names})"
