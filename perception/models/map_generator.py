"""The map model: pictures, points or both to a bird's-eye-view map to vector map elements."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from mmengine.model import BaseModel
from torch import Tensor, nn

from perception.errors import ConfigError
from perception.registry import MODELS
from perception.structures import Frame, MapPredictions

from .forward_mode import frames_for
from .stage import Stage, stages_of
from .temporal.streaming_model import StreamingModel


@MODELS.register_module(role="task_model")
class MapGenerator(StreamingModel, BaseModel):
    """Wires a BEV encoder, a neck and a map head, each built from its config.

    Args:
        bev_encoder: inputs -> BEV map (B, C, H, W); rows along y, columns along x, both ascending.
        head: BEV map -> map elements; also gives losses.
        neck: BEV map -> BEV map; None leaves it as it is.
        data_preprocessor: config of a `MapDataPreprocessor`; None takes its defaults.
        auxiliary_head: (the head's BEV map, frames) -> further losses; only for training.
        memory: config of a `TemporalMemory` or `QueryMemory` between neck and head, as of a `Detector`; None has none.
    """

    def __init__(
        self,
        bev_encoder: Mapping[str, Any],
        head: Mapping[str, Any],
        neck: Mapping[str, Any] | None = None,
        data_preprocessor: Mapping[str, Any] | None = None,
        *,
        auxiliary_head: Mapping[str, Any] | None = None,
        memory: Mapping[str, Any] | None = None,
        init_cfg: Mapping[str, Any] | None = None,
    ) -> None:
        preprocessor = MODELS.build(data_preprocessor or {"type": "MapDataPreprocessor"})
        super().__init__(data_preprocessor=preprocessor, init_cfg=init_cfg)
        self.bev_encoder = MODELS.build(bev_encoder)
        self.neck = nn.Identity() if neck is None else MODELS.build(neck)
        self.head = MODELS.build(head)
        self.auxiliary_head = None if auxiliary_head is None else MODELS.build(auxiliary_head)
        self.memory = None if memory is None else MODELS.build(memory)

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names in the order of the labels of predictions."""
        return self.head.classes

    def forward(
        self, inputs: Mapping[str, Any], data_samples: Sequence[Frame] | None = None, mode: str = "tensor"
    ) -> Any:
        """Run the network.

        Args:
            inputs: as `MapDataPreprocessor` gives them.
            data_samples: the B frames; needed for "loss" and "predict".
            mode: "loss" -> losses by name, "predict" -> list[MapPredictions], "tensor" -> what the head gives.

        Raises:
            ValueError: the mode is another, or the frames are missing.
            ConfigError: a frame of a training batch has no map.
        """
        frames = frames_for(mode, data_samples)
        if mode == "loss":
            return self.loss(inputs, frames)
        raw = self.read(self._remembered(inputs, frames), inputs)
        return raw if mode == "tensor" else self.decode(raw, frames)

    def bev(self, inputs: Mapping[str, Any]) -> Tensor:
        """(B, C, H, W) map that the memory, or without one the head, gets."""
        return self.neck(self.bev_encoder(inputs))

    def read(self, bev: Tensor, inputs: Mapping[str, Any]) -> Any:
        """What the head gives of a map (B, C, H, W)."""
        return self.head(bev, inputs)

    def _remembered(self, inputs: Mapping[str, Any], frames: Sequence[Frame]) -> Tensor:
        """The map that the head reads: with what the memory told of the frames before in each clip."""
        bev = self.bev(inputs)
        return bev if self.memory is None else self.memory(bev, frames, steps=inputs.get("steps", 1))[0]

    def stages(self, batch: Mapping[str, Any]) -> list[Stage]:
        """The steps from the inputs of a batch to its predictions."""
        inputs, frames = batch["inputs"], batch["data_samples"]
        encode, head = stages_of(self.bev_encoder, "BEV encoder"), getattr(self.head, "stages", None)
        neck = [] if isinstance(self.neck, nn.Identity) else [Stage("BEV neck", self.neck, (self.neck,))]
        find = [Stage("head", lambda bev: self.head(bev, inputs), (self.head,))] if head is None else head(inputs)
        if self.memory is not None:
            remember = self.memory
            neck.append(Stage("memory", lambda bev: remember(bev, frames)[0], (remember,)))
        return [*encode, *neck, *find, Stage("decode", lambda raw: self.decode(raw, frames))]

    def can_learn_from(self, frame: Frame) -> bool:
        """Whether a frame has a map."""
        return frame.vector_map is not None or frame.lane_graph is not None

    def loss(self, inputs: Mapping[str, Any], frames: Sequence[Frame]) -> dict[str, Tensor]:
        """Losses by name against the maps of the frames."""
        for frame in frames:
            if not self.can_learn_from(frame):
                raise ConfigError(f"frame {frame.token} has no map to learn from; give the data set a `map`")
        bev = self._remembered(inputs, frames)
        if self.memory is not None and "steps" in inputs:
            first = self.memory.first_learned(len(frames), inputs["steps"])
            inputs = {name: value[first:] for name, value in inputs.items() if name != "steps"}
            bev, frames = bev[first:], frames[first:]
        losses = self.head.loss(bev, frames, inputs)
        if self.auxiliary_head is not None:
            losses |= self.auxiliary_head.loss(bev, frames)
        return losses

    @torch.no_grad()
    def decode(self, raw: Any, data_samples: Sequence[Frame]) -> list[MapPredictions]:
        """What the head gave to predictions of each frame, best first."""
        return self.head.decode(raw, data_samples)
