"""Leave out the instances of pictures that are too small to be learned from."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..registry import TRANSFORMS
from ..structures import Camera, Frame
from ..structures.segmentation import IGNORE_LABEL


@TRANSFORMS.register_module()
class FilterInstances:
    """Take class and number from the pixels of instances that have few in their picture.

    Put it behind resizing and cropping: it counts what is left to be seen.

    Args:
        min_pixels: instances with fewer are left out.

    Raises:
        ValueError: ``min_pixels`` is negative.
    """

    def __init__(self, min_pixels: int) -> None:
        if min_pixels < 0:
            raise ValueError(f"min_pixels must be >= 0, got {min_pixels}")
        self.min_pixels = min_pixels

    def __call__(self, frame: Frame, rng: np.random.Generator) -> Frame:
        """The frame with other labels; pictures without labelled instances stay as they are."""
        return replace(frame, cameras={name: self._filtered(camera) for name, camera in frame.cameras.items()})

    def _filtered(self, camera: Camera) -> Camera:
        labels = camera.labels
        if labels is None or labels.instances is None:
            return camera
        numbers, of_pixel, counts = labels.instances.unique(return_inverse=True, return_counts=True)
        is_small = ((counts < self.min_pixels) & (numbers > 0))[of_pixel]                # (H, W)
        classes = labels.classes.masked_fill(is_small, IGNORE_LABEL)
        instances = labels.instances.masked_fill(is_small, 0)
        return replace(camera, labels=replace(labels, classes=classes, instances=instances))

    def __repr__(self) -> str:
        return f"FilterInstances(min_pixels={self.min_pixels})"
