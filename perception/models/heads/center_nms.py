"""Suppression of double detections within one task of a centre head."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from perception.registry import MODELS
from perception_ops import circle_nms, rotated_nms

from .box_overlap import BEV_COLUMNS
from .center_coder import Detections, centers_in_range


class CenterNMS(Protocol):
    """Keeps some of the detections of one task."""

    def __call__(self, detections: Detections, task: int) -> Detections:
        """Those of one sample and task that remain; ``detections`` come by descending score."""


@MODELS.register_module()
class RotateNMS:
    """Greedy suppression by the rotated bird's-eye-view IoU.

    One threshold and one cap suppress over all classes of a task; a sequence of them, one a class, suppresses class by
    class and returns the classes one after another.

    Args:
        threshold: a box is dropped if its IoU with a better one exceeds this.
        pre_max: best boxes that are looked at.
        post_max: boxes kept.
        score_threshold: boxes must score at least this.
        center_range: x0, y0, z0, x1, y1, z1 [m] that the centres of kept boxes must lie in; None keeps all.

    Raises:
        ValueError: the three sequences differ in length.
    """

    def __init__(
        self,
        threshold: float | Sequence[float] = 0.2,
        pre_max: int | Sequence[int] = 1000,
        post_max: int | Sequence[int] = 83,
        *,
        score_threshold: float = 0.1,
        center_range: Sequence[float] | None = None,
    ) -> None:
        settings = (threshold, pre_max, post_max)
        lengths = {None if isinstance(value, (int, float)) else len(value) for value in settings}
        if len(lengths) > 1:
            raise ValueError(f"threshold, pre_max and post_max must all be numbers or as many, got {settings}")
        self.is_per_class = lengths != {None}
        self.settings: list[tuple[float, int, int]] = (
            list(zip(*settings, strict=True)) if self.is_per_class else [settings]    # type: ignore[arg-type, list-item]
        )
        self.score_threshold, self.center_range = score_threshold, center_range

    def __call__(self, detections: Detections, task: int) -> Detections:
        """As `CenterNMS`. Raises ValueError if a label has no threshold."""
        detections = detections[detections.scores >= self.score_threshold]
        if not self.is_per_class:
            keep = self._suppress(detections, *self.settings[0])
        else:
            parts = [torch.nonzero(detections.labels == label)[:, 0] for label in range(len(self.settings))]
            if sum(map(len, parts)) != len(detections):
                raise ValueError(f"task {task} has labels beyond the {len(self.settings)} thresholds of RotateNMS")
            kept = [self._suppress(detections[rows], *s) for rows, s in zip(parts, self.settings, strict=True)]
            keep = torch.cat([rows[part] for rows, part in zip(parts, kept, strict=True)])
        detections = detections[keep]
        if self.center_range is None:
            return detections
        return detections[centers_in_range(detections.boxes, self.center_range)]

    def _suppress(self, detections: Detections, threshold: float, pre_max: int, post_max: int) -> Tensor:
        best = detections[:pre_max]
        boxes = best.boxes[:, BEV_COLUMNS].contiguous()
        return rotated_nms(boxes, best.scores.contiguous(), float(threshold))[:post_max]


@MODELS.register_module()
class CircleNMS:
    """Greedy suppression by the distance of centres.

    Args:
        squared_radius: per task, the squared distance [m^2] up to which a box is dropped beside a better one.
        post_max: boxes kept in a task.
    """

    def __init__(self, squared_radius: Sequence[float] = (4, 12, 10, 1, 0.85, 0.175), post_max: int = 83) -> None:
        self.squared_radius, self.post_max = tuple(squared_radius), post_max

    def __call__(self, detections: Detections, task: int) -> Detections:
        """As `CenterNMS`. Raises ValueError if the task has no radius."""
        if task >= len(self.squared_radius):
            raise ValueError(f"CircleNMS has {len(self.squared_radius)} radii, task {task} needs one more")
        centers = detections.boxes[:, :2].contiguous()
        keep = circle_nms(centers, detections.scores.contiguous(), float(self.squared_radius[task]))
        return detections[keep[: self.post_max]]
