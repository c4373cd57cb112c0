"""The LiDAR detector: points to pillars to a bird's-eye-view map to boxes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from mmengine.model import BaseModel
from torch import Tensor

from perception.errors import ConfigError
from perception.registry import MODELS
from perception.structures import Boxes3D, Frame, Predictions

from .compiled_network import CompiledNetwork, Maps
from .forward_mode import frames_for
from .occupied_cells import mix_occupied
from .stage import Stage
from .temporal.streaming_model import StreamingModel


@MODELS.register_module(role="task_model")
class Detector(StreamingModel, BaseModel):
    """Wires a voxel encoder, a LiDAR backbone, a BEV backbone, a neck and a head, each built from its config.

    Args:
        voxel_encoder: points -> (features (M, C), coords (M, 4)).
        lidar_backbone: (features, coords, batch_size) -> canvas (B, C, ny, nx).
        bev_backbone: canvas -> maps of several strides.
        neck: maps -> one map.
        head: map -> raw maps per task; also gives losses and boxes.
        data_preprocessor: config of a `FrameDataPreprocessor`; None takes its defaults.
        bev_mixer: config of a mixer of the canvas before the BEV backbone, such as `BEVSS2D`: takes (B, C, ny, nx) and
            a mask (B, 1, ny, nx) of the cells that hold a pillar, and gives a canvas. None goes without.
        channels_last: lay the dense part out channels last, which convolutions on CPUs and tensor cores prefer.
        compile: arguments of a `CompiledNetwork`, through which evaluation then runs; the first frames wait for the
            compiler. None runs as written.
        memory: config of a `TemporalMemory` or a `QueryMemory` between neck and head; None has none. With one, a
            training batch is to be of clips (`ClipDataset`), and prediction goes from frame to frame by
            `predict_stream`, since `forward` begins every frame, or clip, with an empty memory. ``compile`` then ends
            before it.
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
        bev_mixer: Mapping[str, Any] | None = None,
        channels_last: bool = True,
        compile: Mapping[str, Any] | None = None,
        memory: Mapping[str, Any] | None = None,
        init_cfg: Mapping[str, Any] | None = None,
    ) -> None:
        preprocessor = MODELS.build(data_preprocessor or {"type": "FrameDataPreprocessor"})
        super().__init__(data_preprocessor=preprocessor, init_cfg=init_cfg)
        self.voxel_encoder = MODELS.build(voxel_encoder)
        self.lidar_backbone = MODELS.build(lidar_backbone)
        self.bev_mixer = None if bev_mixer is None else MODELS.build(bev_mixer)
        self.bev_backbone = MODELS.build(bev_backbone)
        self.neck = MODELS.build(neck)
        self.head = MODELS.build(head)
        self.memory = None if memory is None else MODELS.build(memory)
        self.memory_format = torch.channels_last if channels_last else torch.contiguous_format
        for part in (self.bev_backbone, self.neck, self.head):
            part.to(memory_format=self.memory_format)
        network: Callable[..., Any] = self.network if memory is None else self.encode
        self.compiled = None if compile is None else CompiledNetwork(network, **compile)

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names in the order of the labels of predictions."""
        return self.head.classes

    def forward(
        self, inputs: Mapping[str, Any], data_samples: Sequence[Frame] | None = None, mode: str = "tensor"
    ) -> Any:
        """Run the network.

        Args:
            inputs: ``points``: B tensors (P_i, C) float32, ego frame, as `FrameDataPreprocessor` gives them; ``steps``
                of clips, whose frames then come step by step.
            data_samples: the B frames; needed for "loss" and "predict".
            mode: "loss" -> losses by name, "predict" -> list[Predictions], "tensor" -> raw maps per task.

        Raises:
            ValueError: the mode is another, or the frames are missing or too few.
        """
        points, steps = inputs["points"], inputs.get("steps", 1)
        frames = frames_for(mode, data_samples, len(points))
        if self.memory is None:
            maps = self._run(self.network, points)
        else:
            bev, _ = self.memory(self.bev(inputs), frames, steps=steps)
            if mode == "loss":
                first = self.memory.first_learned(len(frames), steps)
                bev, frames = bev[first:], frames[first:]
            maps = self.head(bev)
        if mode == "tensor":
            return maps
        return self.loss(maps, frames) if mode == "loss" else self.decode(maps, frames)

    def bev(self, inputs: Mapping[str, Any]) -> Tensor:
        """(B, C, H, W) map that the memory gets; see `StreamingModel`."""
        return self._run(self.encode, inputs["points"])

    def read(self, bev: Tensor, inputs: Mapping[str, Any]) -> Maps:
        """Raw maps per task of a map (B, C, H, W)."""
        return self.head(bev)

    def network(self, features: Tensor, coords: Tensor, batch_size: int, spare_samples: int = 0) -> Maps:
        """Pillars (M, C) at coords (M, 4) to raw maps per task: all that is dense or of static structure.

        Pillars of ``spare_samples`` samples after the last are padding and give no maps.
        """
        return self.head(self.encode(features, coords, batch_size, spare_samples))

    def encode(self, features: Tensor, coords: Tensor, batch_size: int, spare_samples: int = 0) -> Tensor:
        """The part of `network` before the head: (B, C, H, W) map."""
        canvas = self._canvas(features, coords, batch_size, spare_samples)                # (B, C, ny, nx)
        return self.neck(self.bev_backbone(canvas))

    def _run(self, network: Callable[..., Any], points: Sequence[Tensor]) -> Any:
        """Points through the voxel encoder and, compiled or not, the network that the pillars go into."""
        features, coords = self.voxel_encoder(points)
        run = network if self.training or self.compiled is None else self.compiled
        return run(features, coords, len(points))

    def _canvas(self, features: Tensor, coords: Tensor, batch_size: int, spare_samples: int = 0) -> Tensor:
        canvas = self.lidar_backbone(features, coords, batch_size + spare_samples)[:batch_size]
        stride = getattr(self.lidar_backbone, "stride", 1)
        canvas = mix_occupied(self.bev_mixer, canvas, coords, stride=stride, spare_samples=spare_samples)
        return canvas.contiguous(memory_format=self.memory_format)

    def stages(self, batch: Mapping[str, Any]) -> list[Stage]:
        """The steps from the inputs of a batch to its predictions; never compiled."""
        points, frames = batch["inputs"]["points"], batch["data_samples"]

        def scatter(pillars: tuple[Tensor, Tensor]) -> Tensor:
            return self._canvas(*pillars, len(points))

        mixers = () if self.bev_mixer is None else (self.bev_mixer,)
        remember = self.memory
        memory = [] if remember is None else [Stage("memory", lambda bev: remember(bev, frames)[0], (remember,))]
        return [
            Stage("voxel encoder", lambda inputs: self.voxel_encoder(inputs["points"]), (self.voxel_encoder,)),
            Stage("LiDAR backbone", scatter, (self.lidar_backbone, *mixers)),
            Stage("BEV backbone and neck", lambda canvas: self.neck(self.bev_backbone(canvas)),
                  (self.bev_backbone, self.neck)),
            *memory,
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
