"""Keep the objects of some classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

from ..registry import TRANSFORMS
from ..structures import Annotations, Frame


@TRANSFORMS.register_module()
class FilterClasses:
    """Keep objects of the given classes and number their labels in this order; ignored ones (-1) are dropped.

    Args:
        classes: class names, the frame's new class list. Those that the frame does not know simply have no object.
        min_points: drop objects that the data set states to hold fewer LiDAR returns; unknown counts (-1) stay.
    """

    def __init__(self, classes: Sequence[str], min_points: int = 0) -> None:
        if isinstance(classes, str) or not classes or len(set(classes)) != len(classes):
            raise ValueError(f"classes must be distinct names, at least one, got {classes!r}")
        self.classes, self.min_points = tuple(classes), min_points

    def __call__(self, frame: Frame, rng: np.random.Generator) -> Frame:
        """The frame with the kept objects."""
        return frame if frame.annotations is None else replace(frame, annotations=self._filter(frame.annotations))

    def _filter(self, annotations: Annotations) -> Annotations:
        index = {name: label for label, name in enumerate(self.classes)}
        new_label = [index.get(name, -1) for name in annotations.classes] + [-1]  # the last one serves label -1
        labels = torch.tensor(new_label, device=annotations.labels.device)[annotations.labels]   # (K,)
        keep = labels >= 0
        counts = annotations.num_lidar_pts
        if counts is not None:
            keep &= (counts < 0) | (counts >= self.min_points)
        return replace(annotations, labels=labels, classes=self.classes)[keep]

    def __repr__(self) -> str:
        return f"FilterClasses(classes={self.classes}, min_points={self.min_points})"
