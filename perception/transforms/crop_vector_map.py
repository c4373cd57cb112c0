"""Keep what of the true map lies in the region that a model sees."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ..datasets.maps.map_elements import cropped
from ..datasets.maps.window import MapWindow
from ..registry import TRANSFORMS
from ..structures import Frame


@TRANSFORMS.register_module()
class CropVectorMap:
    """Cut the true map elements to a region again, after an augmentation that moved them.

    To fill the region's corners after a turn, let the data set cut out a larger one. Lane graphs and SD maps stay
    whole.

    Args:
        region: x0, y0, x1, y1 [m], ego frame.
        inset: boundaries and crossings are cut by the region less this on every side [m].
    """

    def __init__(self, region: Sequence[float], inset: float = 0.2) -> None:
        self.window = MapWindow(region, inset=inset, tolerance=0.0)

    def __call__(self, frame: Frame, rng: np.random.Generator) -> Frame:
        """The frame with the cut map; one without a map passes."""
        if frame.vector_map is None:
            return frame
        return replace(frame, vector_map=cropped(frame.vector_map, self.window))

    def __repr__(self) -> str:
        return f"CropVectorMap(region={self.window.region}, inset={self.window.inset})"
