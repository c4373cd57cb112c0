"""Cut parts of one size out of pictures, at random."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ..registry import TRANSFORMS
from ..structures import Camera, Frame
from ..structures.segmentation import IGNORE_LABEL
from .picture_geometry import cropped, decoded

TRIES = 10                                           # then the last part is taken, whatever it shows


@TRANSFORMS.register_module()
class RandomCropImages:
    """A part of each decoded picture; labels and intrinsics follow. Smaller pictures are padded at the right and below.

    Args:
        size: height and width of the part.
        max_share: most that one class may have of the labelled pixels; parts with more are drawn again, ten times at
            most. Trainings on Cityscapes usually have 0.75.
        fill: grey value of the padding.

    Raises:
        ValueError: ``size`` is not two numbers of at least 1, ``max_share`` lies outside (0, 1], ``fill`` is no grey
            value, or a picture is not decoded.
    """

    def __init__(self, size: Sequence[int], max_share: float = 1.0, fill: int = 0) -> None:
        if len(size) != 2 or min(size) < 1:
            raise ValueError(f"size must be height and width, both >= 1, got {tuple(size)}")
        if not 0 < max_share <= 1:
            raise ValueError(f"max_share must lie in (0, 1], got {max_share}")
        if not 0 <= fill <= 255:
            raise ValueError(f"fill must lie in [0, 255], got {fill}")
        self.size, self.max_share, self.fill = (int(size[0]), int(size[1])), max_share, fill

    def __call__(self, frame: Frame, rng: np.random.Generator) -> Frame:
        """The frame with parts of its pictures."""
        cameras = {
            name: self._part(camera, rng, f"frame {frame.token}: camera {name}")
            for name, camera in frame.cameras.items()
        }
        return replace(frame, cameras=cameras)

    def _part(self, camera: Camera, rng: np.random.Generator, place: str) -> Camera:
        rows, columns = decoded(camera, place).shape[1:]
        for _ in range(TRIES):
            top = int(rng.integers(max(0, rows - self.size[0]) + 1))
            left = int(rng.integers(max(0, columns - self.size[1]) + 1))
            part = cropped(camera, (top, left), self.size, place, fill=self.fill)
            if self.max_share == 1.0 or part.labels is None or self._is_varied(part.labels.classes.numpy()):
                break
        return part

    def _is_varied(self, classes: np.ndarray) -> bool:
        counts = np.unique(classes[classes != IGNORE_LABEL], return_counts=True)[1]
        return len(counts) > 1 and counts.max() < self.max_share * counts.sum()

    def __repr__(self) -> str:
        return f"RandomCropImages(size={self.size}, max_share={self.max_share}, fill={self.fill})"
