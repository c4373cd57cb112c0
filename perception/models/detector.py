"""The LiDAR detector: points to pillars to a bird's-eye-view map to boxes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from mmengine.model import BaseModel
from torch import Tensor

from perception.errors import ConfigError
from perception.registry import MODELS
from perception.structures import Boxes3D, Frame, Predictions

from .compiled_network import CompiledNetwork, Maps
from .forward_mode import frames_for
from .stage import Stage


@MODELS.register_module(role="task_model")
class Detector(BaseModel):
    """Wires a voxel encoder, a LiDAR backbone, a BEV backbone, a neck and a head, each built from its config.

    Args:
        voxel_encoder: points -> (features (M, C), coords (M, 4)).
        lidar_backbone: (features, coords, batch_size) -> canvas (B, C, ny, nx).
        bev_backbone: canvas -> maps of several strides.
        neck: maps -> one map.
        head: map -> raw maps per task; also gives losses and boxes.
        data_preprocessor: config of a `FrameDataPreprocessor`; None takes its defaults.
        channels_last: lay the dense part out channels last, which convolutions on CPUs and tensor cores prefer.
        compile: arguments of a `CompiledNetwork`, through which evaluation then runs; the first frames wait for the
            compiler. None runs as written.
    """

    def __init__(
        self,
        voxel_encoder: Mapping[str, Any],
        lidar_backbone: Mapping[str, Any],
        bev_backbone: Mapping[str, Any],
        neck: Mapping[str, Any],
        head: Mapping[str, Any],
        data_preprocessor: Mapping[str, Any] | None = None,
        *,
        channels_last: bool = True,
        compile: Mapping[str, Any] | None = None,
        init_cfg: Mapping[str, Any] | None = None,
    ) -> None:
        preprocessor = MODELS.build(data_preprocessor or {"type": "FrameDataPreprocessor"})
        super().__init__(data_preprocessor=preprocessor, init_cfg=init_cfg)
        self.voxel_encoder = MODELS.build(voxel_encoder)
        self.lidar_backbone = MODELS.build(lidar_backbone)
        self.bev_backbone = MODELS.build(bev_backbone)
        self.neck = MODELS.build(neck)
        self.head = MODELS.build(head)
        self.memory_format = torch.channels_last if channels_last else torch.contiguous_format
        for part in (self.bev_backbone, self.neck, self.head):
            part.to(memory_format=self.memory_format)
        self.compiled = None if compile is None else CompiledNetwork(self.network, **compile)

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names in the order of the labels of predictions."""
        return self.head.classes

    def forward(
        self, inputs: Mapping[str, Sequence[Tensor]], data_samples: Sequence[Frame] | None = None, mode: str = "tensor"
    ) -> Any:
        """Run the network.

        Args:
            inputs: ``points``: B tensors (P_i, C) float32, ego frame, as `FrameDataPreprocessor` gives them.
            data_samples: the B frames; needed for "loss" and "predict".
            mode: "loss" -> losses by name, "predict" -> list[Predictions], "tensor" -> raw maps per task.

        Raises:
            ValueError: the mode is another, or the frames are missing or too few.
        """
        frames = frames_for(mode, data_samples, len(inputs["points"]))
        features, coords = self.voxel_encoder(inputs["points"])
        run = self.network if self.training or self.compiled is None else self.compiled
        maps = run(features, coords, len(inputs["points"]))
        if mode == "tensor":
            return maps
        return self.loss(maps, frames) if mode == "loss" else self.decode(maps, frames)

    def network(self, features: Tensor, coords: Tensor, batch_size: int, spare_samples: int = 0) -> Maps:
        """Pillars (M, C) at coords (M, 4) to raw maps per task: all that is dense or of static structure.

        Pillars of ``spare_samples`` samples after the last are padding and give no maps.
        """
        canvas = self.lidar_backbone(features, coords, batch_size + spare_samples)[:batch_size]    # (B, C, ny, nx)
        canvas = canvas.contiguous(memory_format=self.memory_format)
        return self.head(self.neck(self.bev_backbone(canvas)))

    def stages(self, batch: Mapping[str, Any]) -> list[Stage]:
        """The steps from the inputs of a batch to its predictions; never compiled."""
        points, frames = batch["inputs"]["points"], batch["data_samples"]

        def scatter(pillars: tuple[Tensor, Tensor]) -> Tensor:
            return self.lidar_backbone(*pillars, len(points)).contiguous(memory_format=self.memory_format)

        return [
            Stage("voxel encoder", lambda inputs: self.voxel_encoder(inputs["points"]), (self.voxel_encoder,)),
            Stage("LiDAR backbone", scatter, (self.lidar_backbone,)),
            Stage("BEV backbone and neck", lambda canvas: self.neck(self.bev_backbone(canvas)),
                  (self.bev_backbone, self.neck)),
            Stage("head", self.head, (self.head,)),
            Stage("decode", lambda maps: self.decode(maps, frames)),
        ]

    def can_learn_from(self, frame: Frame) -> bool:
        """Whether a frame is annotated in the classes of the head."""
        return frame.annotations is not None and tuple(frame.annotations.classes) == tuple(self.classes)

    def loss(self, maps: Maps, data_samples: Sequence[Frame]) -> dict[str, Tensor]:
        """Losses by name against the annotations of the frames.

        Raises:
            ConfigError: a frame is not annotated, or its classes are not the head's.
        """
        for frame in data_samples:
            if frame.annotations is None:
                raise ConfigError(f"frame {frame.token} has no annotations to learn from; train on an annotated split")
        H, W = maps[0]["heatmap"].shape[2:]
        annotations = [frame.annotations for frame in data_samples if frame.annotations is not None]
        return self.head.loss(maps, self.head.targets(annotations, (H, W)))

    def decode(self, maps: Maps, data_samples: Sequence[Frame]) -> list[Predictions]:
        """Raw maps to predictions of each frame, best first."""
        return [
            _predictions(frame, detections.boxes, detections.scores, detections.labels, self.classes)
            for frame, detections in zip(data_samples, self.head.decode(maps), strict=True)
        ]


def _predictions(frame: Frame, boxes: Tensor, scores: Tensor, labels: Tensor, classes: tuple[str, ...]) -> Predictions:
    order = torch.argsort(scores, descending=True, stable=True)
    return Predictions(
        token=frame.token,
        timestamp_ns=frame.timestamp_ns,
        boxes=Boxes3D(boxes[order]),
        scores=scores[order],
        labels=labels[order],
        classes=classes,
        global_from_ego=frame.global_from_ego,
    )
