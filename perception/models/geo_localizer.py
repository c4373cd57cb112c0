"""The geo-localization model: a picture to the cells on Earth that it was taken in."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.model import BaseModel
from torch import Tensor

from perception.errors import CheckpointError, ConfigError
from perception.geo import NO_CELL, GeoPartition
from perception.geo.partition_file import load_partition
from perception.geo.s2_cells import tokens_of
from perception.registry import MODELS
from perception.structures import Frame, GeoCell, GeoPrediction
from perception.structures.geo import UNKNOWN_SCENE

from .forward_mode import frames_for
from .geo_inference import GeoLogits, chained_log_probabilities, entropy_of
from .pretrained_backbone import load_backbone
from .stage import Stage


@MODELS.register_module(role="task_model")
class GeoLocalizer(BaseModel):
    """Wires an image backbone and a geo head, each built from its config, over the cells of a partition.

    It is meant for the cameras of vehicles: a coarse place that tells which map tile to load when GNSS is missing, and
    whether GNSS is plausible. It never replaces metric localisation.

    A geo head gives `GeoLogits` and has ``loss(raw, labels, scenes)`` on (B, H) int64 classes and (B,) int64 kinds of
    scene, both -1 where unknown. The ids of the cells are part of the state, so weights never meet another partition.

    Args:
        backbone: pictures (B, 3, H, W) -> maps; has ``channels``.
        head: maps -> `GeoLogits`; its ``in_channels``, ``num_classes`` and ``num_scenes`` are filled in unless given.
        partition: file of `save_partition`, or a partition. None (the head then needs ``num_classes``) gives logits
            alone, for weights whose cells are not known.
        data_preprocessor: config of a `GeoDataPreprocessor`; None takes its defaults.
        scene_names: kinds of scene in the order of their labels; empty for one nameless kind, None leaves their number
            to the head.
        pretrained: checkpoint with keys ``backbone.*`` that training begins with.
        channels_last: lay pictures and weights out channels last, which most convolutions on CPUs and tensor cores
            prefer.

    Raises:
        DataError: the file of the partition is absent or malformed.
        ConfigError: the head's classes or kinds of scene are not as many as those given here.
    """

    def __init__(
        self,
        backbone: Mapping[str, Any],
        head: Mapping[str, Any],
        partition: Path | str | GeoPartition | None = None,
        data_preprocessor: Mapping[str, Any] | None = None,
        *,
        scene_names: Sequence[str] | None = None,
        pretrained: Path | str | None = None,
        channels_last: bool = False,
        init_cfg: Mapping[str, Any] | None = None,
    ) -> None:
        preprocessor = MODELS.build(data_preprocessor or {"type": "GeoDataPreprocessor"})
        super().__init__(data_preprocessor=preprocessor, init_cfg=init_cfg)
        self.partition = load_partition(partition) if isinstance(partition, (str, Path)) else partition
        self.scene_names, self.pretrained = tuple(scene_names or ()), pretrained
        self.backbone = MODELS.build(backbone)
        given: dict[str, Any] = {"in_channels": self.backbone.channels}
        if self.partition is not None:
            given["num_classes"] = self.partition.num_classes
        if scene_names is not None:
            given["num_scenes"] = max(1, len(scene_names))
        self.head = MODELS.build(head, default_args=given)
        for name in ("num_classes", "num_scenes"):
            if name in given and getattr(self.head, name) != given[name]:
                raise ConfigError(f"the head has {name} {getattr(self.head, name)}, the model has {given[name]}")
        self.num_hierarchies = len(self.head.num_classes)
        self.memory_format = torch.channels_last if channels_last else torch.contiguous_format
        self.backbone.to(memory_format=self.memory_format)
        if self.partition is not None:
            for number, cells in enumerate(self.partition.hierarchies):
                self.register_buffer(f"cells{number}", torch.from_numpy(cells.ids.view(np.int64).copy()))
            for number, parents in enumerate(self.partition.parents, start=1):
                self.register_buffer(f"parents{number}", torch.from_numpy(parents), persistent=False)

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the kinds of scene; the cells are in ``partition``."""
        return self.scene_names

    def init_weights(self) -> None:
        """Initial weights of all parts, and those of ``pretrained``. Raises CheckpointError if they do not fit."""
        super().init_weights()
        if self.pretrained is not None:
            load_backbone(self.backbone, self.pretrained)

    def check_weights(self, state: Mapping[str, Tensor], name: str) -> None:
        """Raise CheckpointError, which calls the checkpoint ``name``, if weights were made for other cells."""
        if self.partition is None:
            return
        theirs = [state[key].cpu().numpy().view(np.uint64) for key in _cell_keys(state)]
        if not theirs:
            raise CheckpointError(f"{name}: tells no cells (cells0, ...), so its classes cannot be placed on Earth")
        if len(theirs) != len(self.partition):
            raise CheckpointError(
                f"{name}: made for another partition: it has {len(theirs)} hierarchies, the model has "
                f"{len(self.partition)}"
            )
        for number, (ids, cells) in enumerate(zip(theirs, self.partition.hierarchies, strict=True)):
            if np.array_equal(ids, cells.ids):
                continue
            alone = np.setdiff1d(ids, cells.ids)
            told = f"; {len(alone)} of its cells are unknown here, such as {tokens_of(alone)[0]}" if len(alone) else ""
            raise CheckpointError(
                f"{name}: made for another partition: hierarchy {number} has {len(ids)} cells, the model's has "
                f"{len(cells)}{told}"
            )

    def forward(
        self, inputs: Mapping[str, Tensor], data_samples: Sequence[Frame] | None = None, mode: str = "tensor"
    ) -> Any:
        """Run the network.

        Args:
            inputs: ``images`` (B, 3, H, W), or (B, crops, 3, H, W) of which logits are averaged.
            data_samples: the B frames; needed for "loss" and "predict".
            mode: "loss" -> losses by name, "predict" -> list[GeoPrediction], "tensor" -> `GeoLogits`.

        Raises:
            ValueError: the mode is another, or the frames are missing.
            ConfigError: see `labels_of` and `decode`.
        """
        frames = frames_for(mode, data_samples)
        images = inputs["images"]
        if mode == "loss":
            return self.head.loss(self.network(images), *self.labels_of(frames))
        raw = self.network(images)
        return raw if mode == "tensor" else self.decode(raw, frames)

    def network(self, images: Tensor) -> GeoLogits:
        """(B, 3, H, W) or (B, crops, 3, H, W) -> `GeoLogits` of B pictures."""
        if images.dim() == 4:
            return self.head(self.encode(images))
        return self.head(self.encode(images.flatten(0, 1))).averaged(images.shape[1])

    def encode(self, images: Tensor) -> tuple[Tensor, ...]:
        """Pictures (B, 3, H, W) -> the backbone's maps."""
        return self.backbone(images.contiguous(memory_format=self.memory_format))

    def stages(self, batch: Mapping[str, Any]) -> list[Stage]:
        """The steps from the inputs of a batch to its predictions; of crops, the network is one step."""
        frames = batch["data_samples"]
        decode = Stage("decode", lambda raw: self.decode(raw, frames))
        if batch["inputs"]["images"].dim() != 4:
            return [Stage("network", lambda inputs: self.network(inputs["images"]), (self.backbone, self.head)), decode]
        encode = Stage("backbone", lambda inputs: self.encode(inputs["images"]), (self.backbone,))
        return [encode, Stage("head", self.head, (self.head,)), decode]

    def can_learn_from(self, frame: Frame) -> bool:
        """Whether a frame tells its cells."""
        return frame.geo_label is not None and bool(frame.geo_label.cells)

    def labels_of(self, frames: Sequence[Frame]) -> tuple[Tensor, Tensor]:
        """(B, H) int64 classes and (B,) int64 kinds of scene of a training batch, -1 where unknown.

        Raises:
            ConfigError: the model has no partition, or a frame has no cells, cells of another partition, or a kind of
                scene beyond the head's.
        """
        partition = self._known_partition()
        classes, scenes = [], []
        for frame in frames:
            if frame.geo_label is None or not frame.geo_label.cells:
                raise ConfigError(f"frame {frame.token} has no cells to learn from: put LabelGeoCells last")
            if frame.geo_label.scene >= self.head.num_scenes:
                told = f"{frame.geo_label.scene} is none of the {self.head.num_scenes} of the model"
                raise ConfigError(f"frame {frame.token}: the kind of scene {told}")
            classes.append(_classes_of(frame, frame.geo_label.cells, partition))
            scenes.append(frame.geo_label.scene)
        device = self.data_preprocessor.device
        return torch.tensor(classes, device=device), torch.tensor(scenes, device=device)

    @torch.no_grad()
    def decode(self, raw: GeoLogits, data_samples: Sequence[Frame]) -> list[GeoPrediction]:
        """Logits to the likeliest of the finest cells and those that hold it.

        Raises:
            ConfigError: the model has no partition.
        """
        partition = self._known_partition()
        parents = [getattr(self, f"parents{number}") for number in range(1, len(partition))]
        chained = chained_log_probabilities(raw.hierarchies, parents)
        finest = chained[-1].argmax(dim=1).tolist()
        entropies = entropy_of(chained[-1]).tolist()
        scenes = raw.scene.tolist() if self.head.num_scenes > 1 else [UNKNOWN_SCENE] * len(finest)
        found = []
        for row, (frame, label) in enumerate(zip(data_samples, finest, strict=True)):
            chain = zip(partition.chain_of(label), partition.hierarchies, chained, strict=True)
            cells = tuple(
                GeoCell(int(cells.ids[place]), math.exp(float(log[row, place])), *cells.latlng[place].tolist())
                for place, cells, log in chain
            )
            found.append(GeoPrediction(
                frame.token, frame.timestamp_ns, cells, entropies[row], scenes[row], self.scene_names
            ))
        return found

    def _known_partition(self) -> GeoPartition:
        if self.partition is None:
            raise ConfigError("the model has no partition: name its file as `partition` of the GeoLocalizer")
        return self.partition


def _cell_keys(state: Mapping[str, Tensor]) -> list[str]:
    """cells0, cells1, ... as far as a state has them."""
    keys: list[str] = []
    while f"cells{len(keys)}" in state:
        keys.append(f"cells{len(keys)}")
    return keys


def _classes_of(frame: Frame, cells: Sequence[int], partition: GeoPartition) -> list[int]:
    """Class of a frame's cell in each hierarchy. Raises ConfigError if it is labelled by another partition."""
    if len(cells) != len(partition):
        raise ConfigError(f"frame {frame.token} has cells of {len(cells)} hierarchies, the model has {len(partition)}")
    classes = []
    for number, (cell, hierarchy) in enumerate(zip(cells, partition.hierarchies, strict=True)):
        place = int(np.searchsorted(hierarchy.ids, np.uint64(cell)))
        if cell and (place == len(hierarchy) or int(hierarchy.ids[place]) != cell):
            token = tokens_of(np.array([cell], np.uint64))[0]
            raise ConfigError(
                f"frame {frame.token}: the model has no cell {token} in hierarchy {number}: label frames by the "
                "model's own partition"
            )
        classes.append(place if cell else NO_CELL)
    return classes
