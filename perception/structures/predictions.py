"""What a model says is in a frame."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from .boxes3d import Boxes3D
from .geo import GeoPrediction
from .point_labels import PointPredictions
from .se3 import SE3
from .segmentation import SegmentationPredictions
from .vector_map import MapPredictions


@dataclass(frozen=True, eq=False)
class Predictions:
    """Detected objects of one frame, best first, in the frame's ego frame.

    Args:
        token: the frame's name, as in `Frame.token`.
        timestamp_ns: the frame's time.
        boxes: (K, 7 or 9) boxes.
        scores: (K,) float32 confidence in [0, 1].
        labels: (K,) int64 index into ``classes``.
        classes: class names of the model.
        global_from_ego: the frame's pose, for results that are written in global coordinates; None if unknown.

    Raises:
        ValueError: the columns differ in length or are not one-dimensional, or the labels are not int64.
    """

    token: str
    timestamp_ns: int
    boxes: Boxes3D
    scores: Tensor
    labels: Tensor
    classes: tuple[str, ...]
    global_from_ego: SE3 | None = None

    def __post_init__(self) -> None:
        if not (len(self.boxes),) == self.scores.shape == self.labels.shape:
            raise ValueError(
                f"scores and labels must be ({len(self.boxes)},) for {len(self.boxes)} boxes, "
                f"got {tuple(self.scores.shape)} and {tuple(self.labels.shape)}"
            )
        if self.labels.dtype != torch.int64:
            raise ValueError(f"labels must be int64, got {self.labels.dtype}")

    def __len__(self) -> int:
        return len(self.boxes)

    def __getitem__(self, index: slice | Tensor) -> Predictions:
        return replace(self, boxes=self.boxes[index], scores=self.scores[index], labels=self.labels[index])

    def names(self) -> list[str]:
        """K class names."""
        return [self.classes[label] for label in self.labels.tolist()]

    def to(self, device: torch.device | str) -> Predictions:
        """The same on another device."""
        return replace(self, boxes=self.boxes.to(device), scores=self.scores.to(device), labels=self.labels.to(device))


FramePredictions = Predictions | MapPredictions | SegmentationPredictions | PointPredictions | GeoPrediction
