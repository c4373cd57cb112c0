"""Turns a batch of frames into what a LiDAR model takes: bare point tensors on its device."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from mmengine.model import BaseDataPreprocessor
from torch import Tensor

from perception.registry import MODELS
from perception.structures import Frame


@MODELS.register_module()
class FrameDataPreprocessor(BaseDataPreprocessor):
    """Select, scale and move the points of each frame; points with a NaN or an infinity in a used channel are dropped.

    Args:
        channels: names of the point channels the model takes, x, y, z first.
        scales: factor by channel name, for models that were trained on another unit (``dict(intensity=255.0)``).
        squashed: channels that go through tanh, after scaling.
        non_blocking: overlap the copy to the device with computing.

    Raises:
        ValueError: ``scales`` or ``squashed`` names a channel that is not used, or a factor is not finite.
    """

    def __init__(
        self,
        channels: Sequence[str] = ("x", "y", "z", "intensity"),
        *,
        scales: Mapping[str, float] | None = None,
        squashed: Sequence[str] = (),
        non_blocking: bool = False,
    ) -> None:
        super().__init__(non_blocking=non_blocking)
        self.channels = tuple(channels)
        self.scales, self.squashed = dict(scales or {}), tuple(squashed)
        if self.channels[:3] != ("x", "y", "z"):
            raise ValueError(f"channels must begin with x, y, z, got {self.channels}")
        for name in (*self.scales, *self.squashed):
            if name not in self.channels[3:]:
                raise ValueError(f"{name!r} is not among the channels after x, y, z: {self.channels}")
        if not all(math.isfinite(factor) for factor in self.scales.values()):
            raise ValueError(f"scales must be finite, got {self.scales}")

    def forward(self, data: Any, training: bool = False) -> dict[str, Any]:
        """list[Frame] -> dict(inputs=dict(points=B tensors (P_i, C) float32), data_samples=list[Frame]).

        A batch of clips, a list of T steps of B frames, gives its T * B frames step by step, and ``steps`` among the
        inputs.

        Raises:
            TypeError: the batch is neither a list of Frames nor one of such lists.
            ValueError: a frame has no points or lacks a channel, or the steps of clips differ in length.
        """
        batch, steps = frames_of_batch(data)
        frames = [frame.to(self.device) for frame in batch]
        return {"inputs": {"points": [self.points_of(frame) for frame in frames], **steps}, "data_samples": frames}

    def points_of(self, frame: Frame) -> Tensor:
        """(P, C) float32 points of a frame, ego frame, all finite: its `usable_rows`."""
        points = self._selected(frame)[self.usable_rows(frame)]
        if not self.scales and not self.squashed:
            return points
        columns = [self._channel(name, column) for name, column in zip(self.channels, points.unbind(1), strict=True)]
        return torch.stack(columns, dim=1)

    def usable_rows(self, frame: Frame) -> Tensor:
        """(N,) bool: which of a frame's points the model gets."""
        return torch.isfinite(self._selected(frame)).all(dim=1)

    def _selected(self, frame: Frame) -> Tensor:
        if frame.points is None:
            raise ValueError(f"frame {frame.token} has no LiDAR points")
        return frame.points.select(self.channels)

    def _channel(self, name: str, values: Tensor) -> Tensor:
        values = values * self.scales[name] if name in self.scales else values
        return values.tanh() if name in self.squashed else values


def frames_of_batch(data: Any) -> tuple[Sequence[Frame], dict[str, int]]:
    """The frames of a batch, and ``steps`` if it is one of clips, which come step by step: T lists of B frames each.

    Raises:
        TypeError: the batch is neither a list of Frames nor one of such lists.
        ValueError: the steps differ in length.
    """
    steps = data if isinstance(data, (list, tuple)) and all(isinstance(step, (list, tuple)) for step in data) else ()
    batch = [frame for step in steps for frame in step] if steps else data
    if not isinstance(batch, (list, tuple)) or not all(isinstance(frame, Frame) for frame in batch):
        raise TypeError(f"a batch must be a list of Frames, got {type(data).__name__}")
    if len({len(step) for step in steps}) > 1:
        raise ValueError(f"all steps of clips must have as many frames, got {[len(step) for step in steps]}")
    return batch, {"steps": len(steps)} if steps else {}
