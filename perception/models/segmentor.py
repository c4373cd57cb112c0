"""The segmentation model: a picture to feature maps to the class, the region or the instance of each pixel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from mmengine.model import BaseModel
from torch import Tensor, nn

from perception.errors import ConfigError
from perception.registry import MODELS
from perception.structures import Frame, PixelLabels, SegmentationPredictions
from perception.structures.segmentation import IGNORE_LABEL

from .compiled_network import CompiledPictures
from .forward_mode import frames_for
from .pretrained_backbone import load_backbone
from .sliding_window import SlidingWindow, averaged_scores, resize_maps
from .stage import Stage


@MODELS.register_module(role="task_model")
class Segmentor(BaseModel):
    """Wires an image backbone, a neck and a segmentation head, each built from its config.

    A **semantic head** gives logits (B, K, h, w) of any stride and has ``loss(raw, labels)`` on a `PixelLabels` a
    picture; in training ``raw`` may be a record whose ``logits`` they are. Its ``align_corners``, False if it has none,
    says how logits are resized. A **mask head** gives a record of its own
    and has ``loss(raw, segments)`` on `Segments` a picture and ``decode(raw, sizes)``, which turns the record and a
    `PictureSize` a picture into a `SegmentationPredictions` a picture (token, time, names and things are filled in).

    Args:
        backbone: pictures (B, 3, H, W) -> maps of several strides; has ``channels``.
        head: maps -> ``raw``; its ``in_channels`` (widths of the maps) and ``num_classes`` are filled in unless given.
        neck: maps -> maps; its ``in_channels`` is filled in likewise. None leaves them as they are.
        auxiliary_head: a further head for training alone, as ``head``; its losses are called ``aux.NAME``.
        data_preprocessor: config of an `ImageDataPreprocessor`; None takes its defaults.
        classes: names of the K classes.
        things: for a mask head, the classes whose instances are told apart, maybe none; None for a semantic head.
        pretrained: checkpoint with keys ``backbone.*``, of another `Segmentor`, a `Classifier` or the backbone alone,
            whose backbone training begins with; it may lack the backbone's ``dense_only`` parts. None begins with the
            backbone's own initialisation.
        window: arguments of a `SlidingWindow` that goes over the picture in evaluation; None takes it as a whole.
        augmentation: arguments of `averaged_scores` (``scales``, ``flip``) for evaluation; None goes without.
        channels_last: lay pictures and weights out channels last, which most convolutions on CPUs and tensor cores
            prefer.
        compile: arguments of a `CompiledPictures`, through which evaluation then runs; the first picture of each size
            waits for the compiler. None runs as written.

    Raises:
        ValueError: there are no classes, ``things`` are not among them, or a mask head is to be evaluated by windows
            or with augmentation.
    """

    def __init__(
        self,
        backbone: Mapping[str, Any],
        head: Mapping[str, Any],
        neck: Mapping[str, Any] | None = None,
        auxiliary_head: Mapping[str, Any] | None = None,
        data_preprocessor: Mapping[str, Any] | None = None,
        *,
        classes: Sequence[str],
        things: Sequence[int] | None = None,
        pretrained: Path | str | None = None,
        window: Mapping[str, Any] | None = None,
        augmentation: Mapping[str, Any] | None = None,
        channels_last: bool = False,
        compile: Mapping[str, Any] | None = None,
        init_cfg: Mapping[str, Any] | None = None,
    ) -> None:
        preprocessor = MODELS.build(data_preprocessor or {"type": "ImageDataPreprocessor"})
        super().__init__(data_preprocessor=preprocessor, init_cfg=init_cfg)
        self.classes, self.pretrained = tuple(classes), pretrained
        self.things = None if things is None else tuple(things)
        if not self.classes or any(label not in range(len(self.classes)) for label in self.things or ()):
            raise ValueError(f"things must be numbers of the {len(self.classes)} classes, got {self.things}")
        if self.things is not None and (window is not None or augmentation is not None):
            raise ValueError("window and augmentation need a semantic head: leave things at None")
        self.backbone = MODELS.build(backbone)
        widths = {"in_channels": self.backbone.channels}
        self.neck = nn.Identity() if neck is None else MODELS.build(neck, default_args=widths)
        widths = {"in_channels": getattr(self.neck, "channels", self.backbone.channels)}
        given = {**widths, "num_classes": len(self.classes)}
        self.head = MODELS.build(head, default_args=given)
        self.auxiliary_head = None if auxiliary_head is None else MODELS.build(auxiliary_head, default_args=given)
        self.window = None if window is None else SlidingWindow(**window)
        self.augmentation = None if augmentation is None else dict(augmentation)
        self.memory_format = torch.channels_last if channels_last else torch.contiguous_format
        self.to(memory_format=self.memory_format)
        self.compiled = None if compile is None else CompiledPictures(self.network, **compile)

    def init_weights(self) -> None:
        """Initial weights of all parts, and those of ``pretrained``. Raises CheckpointError if they do not fit."""
        super().init_weights()
        if self.pretrained is not None:
            load_backbone(self.backbone, self.pretrained)

    def forward(
        self, inputs: Mapping[str, Tensor], data_samples: Sequence[Frame] | None = None, mode: str = "tensor"
    ) -> Any:
        """Run the network.

        Args:
            inputs: ``images`` (B, 3, H, W), as `ImageDataPreprocessor` gives them.
            data_samples: the B frames; needed for "loss" and "predict".
            mode: "loss" -> losses by name, "predict" -> list[SegmentationPredictions], "tensor" -> what the head
                gives; by windows or with augmentation, scores or logits (B, K, H, W).

        Raises:
            ValueError: the mode is another, or the frames are missing.
            ConfigError: a frame of a training batch has no labels, or one beyond the classes.
        """
        frames = frames_for(mode, data_samples)
        images = inputs["images"]
        if mode == "loss":
            return self.loss(images, self.labels_of(frames))
        raw = self.network(images) if self.training else self.evaluate(images)
        return raw if mode == "tensor" else self.decode(raw, frames)

    def features(self, images: Tensor) -> tuple[Tensor, ...]:
        """(B, 3, H, W) -> the maps that the head reads."""
        return self.neck(self.backbone(self.laid_out(images)))

    def laid_out(self, images: Tensor) -> Tensor:
        """Pictures (B, 3, H, W) in the memory order of the convolutions."""
        return images.contiguous(memory_format=self.memory_format)

    def network(self, images: Tensor) -> Any:
        """(B, 3, H, W) -> what the head gives."""
        return self.head(self.features(images))

    def logits(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, K, H, W), of a semantic head, in training too."""
        return resize_maps(logits_of(self._raw(images)), images.shape[2:], self.align_corners)

    def _raw(self, images: Tensor) -> Any:
        run = self.network if self.training or self.compiled is None else self.compiled
        return run(images)

    @property
    def align_corners(self) -> bool:
        """How the head's logits are resized, see `resize_maps`."""
        return bool(getattr(self.head, "align_corners", False))

    def evaluate(self, images: Tensor) -> Any:
        """What the head gives, by windows and with augmentation where the config says so."""
        if self.augmentation is not None:
            return averaged_scores(self._windowed_logits, images, **self.augmentation)
        return self._raw(images) if self.window is None else self._windowed_logits(images)

    def _windowed_logits(self, images: Tensor) -> Tensor:
        return self.logits(images) if self.window is None else self.window.logits(self.logits, images)

    def stages(self, batch: Mapping[str, Any]) -> list[Stage]:
        """The steps from the inputs of a batch to its predictions; never compiled, without windows and augmentation."""
        frames = batch["data_samples"]
        neck = [] if isinstance(self.neck, nn.Identity) else [Stage("neck", self.neck, (self.neck,))]
        return [
            Stage("backbone", lambda inputs: self.backbone(self.laid_out(inputs["images"])), (self.backbone,)), *neck,
            Stage("head", self.head, (self.head,)), Stage("decode", lambda raw: self.decode(raw, frames)),
        ]

    def can_learn_from(self, frame: Frame) -> bool:
        """Whether the picture of a frame is labelled."""
        return self.data_preprocessor.camera_of(frame).labels is not None

    def labels_of(self, frames: Sequence[Frame]) -> list[PixelLabels]:
        """The labels of a training batch, of the size of its tensor of pictures.

        Raises:
            ConfigError: a frame has none, or its data set has more classes than the model.
        """
        labels = self.data_preprocessor.labels(frames)
        for frame, entry in zip(frames, labels, strict=True):
            if entry.classes.device.type == "cpu":           # elsewhere it would wait for the device
                check_classes(entry, len(self.classes), f"frame {frame.token}")
        return labels

    def loss(self, images: Tensor, labels: Sequence[PixelLabels]) -> dict[str, Tensor]:
        """Losses by name.

        Args:
            images: (B, 3, H, W).
            labels: B labels (H, W).
        """
        return self.loss_of(self.features(images), labels)

    def loss_of(self, maps: tuple[Tensor, ...], labels: Sequence[PixelLabels]) -> dict[str, Tensor]:
        """Losses by name, of the maps that `features` gave."""
        truth = list(labels) if self.things is None else [entry.segments(self.things) for entry in labels]
        losses = dict(self.head.loss(self.head(maps), truth))
        if self.auxiliary_head is not None:
            further = self.auxiliary_head.loss(self.auxiliary_head(maps), truth)
            losses |= {f"aux.{name}": value for name, value in further.items()}
        return losses

    @torch.no_grad()
    def decode(self, raw: Any, data_samples: Sequence[Frame]) -> list[SegmentationPredictions]:
        """What the head gave to predictions of the size of each frame's own picture."""
        sizes = self.data_preprocessor.sizes(data_samples)
        if self.things is None:
            maps = zip(logits_of(raw).float().contiguous(memory_format=torch.channels_last), sizes, strict=True)
            full = [size.restored(one, self.align_corners) for one, size in maps]
            best = [scores.max(dim=0).indices for scores in full]              # on a CPU much quicker than argmax
            found = [SegmentationPredictions(token="", timestamp_ns=0, classes=classes) for classes in best]
        else:
            found = self.head.decode(raw, sizes)
        return [
            replace(
                one, token=frame.token, timestamp_ns=frame.timestamp_ns, class_names=self.classes,
                things=self.things or (),
            )
            for one, frame in zip(found, data_samples, strict=True)
        ]


def logits_of(raw: Any) -> Tensor:
    """The logits (B, K, h, w) of what a semantic head gave.

    Raises:
        ValueError: it is neither such a tensor nor a record with one.
    """
    logits = raw if isinstance(raw, Tensor) else getattr(raw, "logits", None)
    if not isinstance(logits, Tensor) or logits.dim() != 4:
        raise ValueError(f"a semantic head gives logits (B, K, h, w), got {type(raw).__name__}")
    return logits


def check_classes(labels: PixelLabels, num_classes: int, place: str) -> None:
    """Raise ConfigError if a pixel has a class that a model does not know and that is not to be ignored."""
    known = labels.classes[labels.classes != IGNORE_LABEL]
    wrong = known[(known < 0) | (known >= num_classes)]
    if len(wrong):
        raise ConfigError(f"{place}: class {int(wrong[0])} is none of the {num_classes} classes of the model")
