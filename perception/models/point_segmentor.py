"""The point segmentation model: points to bird's-eye-view maps and back to a class, and an instance, of each point."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from mmengine.model import BaseModel
from torch import Tensor

from perception.errors import ConfigError
from perception.registry import MODELS
from perception.structures import Frame, PointLabels, PointPredictions
from perception.structures.segmentation import IGNORE_LABEL

from .forward_mode import frames_for
from .heads.point_head import PointMaps
from .stage import Stage


@MODELS.register_module(role="task_model")
class PointSegmentor(BaseModel):
    """Wires a BEV encoder and a point head, each built from its config.

    Args:
        bev_encoder: inputs -> BEV map (B, C, H, W); rows along y, columns along x. If it has ``maps``, as
            `LidarBEVEncoder` does, the head reads all of those.
        head: (maps, points) -> what is at the points; also gives losses, classes and instances.
        data_preprocessor: config of a `FrameDataPreprocessor`; None takes its defaults.
    """

    def __init__(
        self,
        bev_encoder: Mapping[str, Any],
        head: Mapping[str, Any],
        data_preprocessor: Mapping[str, Any] | None = None,
        *,
        init_cfg: Mapping[str, Any] | None = None,
    ) -> None:
        preprocessor = MODELS.build(data_preprocessor or {"type": "FrameDataPreprocessor"})
        super().__init__(data_preprocessor=preprocessor, init_cfg=init_cfg)
        self.bev_encoder = MODELS.build(bev_encoder)
        self.head = MODELS.build(head)

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names in the order of the labels of predictions."""
        return self.head.classes

    def forward(
        self, inputs: Mapping[str, Any], data_samples: Sequence[Frame] | None = None, mode: str = "tensor"
    ) -> Any:
        """Run the network.

        Args:
            inputs: ``points``: B tensors (P_i, C) float32, ego frame, as `FrameDataPreprocessor` gives them.
            data_samples: the B frames; needed for "loss" and "predict".
            mode: "loss" -> losses by name, "predict" -> list[PointPredictions], "tensor" -> `PointMaps`.

        Raises:
            ValueError: the mode is another, or the frames are missing or too few.
            ConfigError: a frame of a training batch has no labels of points, or other classes than the head.
        """
        frames = frames_for(mode, data_samples, len(inputs["points"]))
        labels = [self.labels_of(frame) for frame in frames] if mode == "loss" else []
        raw = self.head(self.maps(inputs), inputs["points"])
        if mode == "tensor":
            return raw
        return self.head.loss(raw, labels) if mode == "loss" else self.decode(raw, frames)

    def maps(self, inputs: Mapping[str, Any]) -> tuple[Tensor, ...]:
        """The maps (B, C_i, H_i, W_i) that the head reads."""
        maps = getattr(self.bev_encoder, "maps", None)
        return (self.bev_encoder(inputs),) if maps is None else maps(inputs)

    def stages(self, batch: Mapping[str, Any]) -> list[Stage]:
        """The steps from the inputs of a batch to its predictions."""
        points, frames = batch["inputs"]["points"], batch["data_samples"]
        return [
            Stage("BEV encoder", self.maps, (self.bev_encoder,)),
            Stage("head", lambda maps: self.head(maps, points), (self.head,)),
            Stage("decode", lambda raw: self.decode(raw, frames)),
        ]

    def can_learn_from(self, frame: Frame) -> bool:
        """Whether points of a frame are labelled in the classes of the head, and with instances if it finds them."""
        labels = frame.point_labels
        if labels is None or (self.head.finds_instances and labels.instances is None):
            return False
        return not labels.names or labels.names == self.classes

    def labels_of(self, frame: Frame) -> PointLabels:
        """The labels of the points that the model sees. Raises ConfigError if it cannot learn from the frame."""
        labels = frame.point_labels
        if labels is None:
            raise ConfigError(f"frame {frame.token} has no labels of points; give the data set a `point_labels`")
        if labels.names and labels.names != self.classes:
            raise ConfigError(f"points of frame {frame.token} are labelled as {labels.names}, not {self.classes}")
        if self.head.finds_instances and labels.instances is None:
            raise ConfigError(f'points of frame {frame.token} have no instances; point_labels="panoptic" reads them')
        return labels[self.data_preprocessor.usable_rows(frame)]

    @torch.no_grad()
    def decode(self, raw: PointMaps, data_samples: Sequence[Frame]) -> list[PointPredictions]:
        """What the head gave to predictions of each frame, with a row for each of its points."""
        return [
            self._predictions(frame, *found)
            for frame, found in zip(data_samples, self.head.decode(raw), strict=True)
        ]

    def _predictions(self, frame: Frame, classes: Tensor, instances: Tensor | None) -> PointPredictions:
        usable = self.data_preprocessor.usable_rows(frame)
        return PointPredictions(
            token=frame.token,
            timestamp_ns=frame.timestamp_ns,
            classes=_spread(classes, usable, IGNORE_LABEL),
            names=self.classes,
            instances=None if instances is None else _spread(instances, usable, 0),
        )


def _spread(values: Tensor, rows: Tensor, other: int) -> Tensor:
    """(N,) with the values where ``rows`` (N,) bool is True, and another elsewhere."""
    spread = values.new_full((len(rows),), other)
    spread[rows] = values
    return spread
