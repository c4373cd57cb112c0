"""Keep what lies in the detection range."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from ..registry import TRANSFORMS
from ..structures import Annotations, Frame, PointCloud

logger = logging.getLogger(__name__)


@TRANSFORMS.register_module()
class RangeFilter:
    """Drop points outside a box around the vehicle, and objects whose centre lies outside it seen from above.

    Points with a value that is not finite, in any channel, are dropped too; the first time, a warning counts them.

    Args:
        point_range: x0, y0, z0, x1, y1, z1 [m], ego frame; the lower bounds belong to the range, the upper do not.
    """

    def __init__(self, point_range: Sequence[float]) -> None:
        if len(point_range) != 6 or not all(point_range[axis] < point_range[axis + 3] for axis in range(3)):
            raise ValueError(f"point_range must be x0, y0, z0, x1, y1, z1 with x0 < x1 and so on, got {point_range}")
        self.point_range = tuple(float(value) for value in point_range)
        self._warned = False

    def __call__(self, frame: Frame, rng: np.random.Generator) -> Frame:
        """The frame with what is in range. Raises ValueError if its sweeps are not aggregated yet."""
        if frame.sweeps:
            raise ValueError("filtering by range needs the sweeps aggregated first: put AggregateSweeps before it")
        if frame.points is not None:
            frame = frame.with_point_rows(self._points_in_range(frame.points, frame.token))
        if frame.annotations is None:
            return frame
        return replace(frame, annotations=self._filter_objects(frame.annotations))

    def _points_in_range(self, points: PointCloud, token: str) -> Tensor:
        """(N,) bool."""
        finite = torch.isfinite(points.data).all(dim=1)                           # (N,)
        dropped = len(points) - int(finite.sum())
        if dropped and not self._warned:
            self._warned = True
            logger.warning("dropped %d points that are not finite from frame %s; said once", dropped, token)
        low, high = points.data.new_tensor(self.point_range).view(2, 3)
        return finite & ((points.xyz >= low) & (points.xyz < high)).all(dim=1)

    def _filter_objects(self, annotations: Annotations) -> Annotations:
        bev = annotations.boxes.centers[:, :2]                                    # (K, 2)
        low, high = bev.new_tensor(self.point_range).view(2, 3)[:, :2]
        return annotations[((bev >= low) & (bev < high)).all(dim=1)]

    def __repr__(self) -> str:
        return f"RangeFilter(point_range={self.point_range})"
