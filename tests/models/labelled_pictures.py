"""Frames with a labelled picture, and small segmentation models for them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from perception.models.image_data_preprocessor import PictureSize
from perception.models.losses.weighted_cross_entropy import weighted_cross_entropy
from perception.registry import MODELS
from perception.structures import Camera, Frame, PixelLabels, SegmentationPredictions, Segments

CLASSES = ("road", "car", "sky")


def labelled_frame(token: str = "frame-0", height: int = 40, width: int = 56, seed: int = 0, **labels: Any) -> Frame:
    """One camera with a random picture, labelled in stripes of the three classes with a border to ignore."""
    draw = torch.Generator().manual_seed(seed)
    image = torch.randint(0, 256, (3, height, width), generator=draw, dtype=torch.uint8)
    classes = (torch.arange(width) * len(CLASSES) // width).expand(height, width).clone()
    classes[:2] = 255
    truth = labels.get("labels", PixelLabels(classes, (classes == 1).long()))
    return Frame(token, seed, cameras={"front": Camera(None, 0, image=image, labels=truth)})


@dataclass(frozen=True)
class WithAuxiliary:
    """What a semantic head gives in training if it needs more for its loss."""

    logits: Tensor
    auxiliary: Tensor


@MODELS.register_module(force=True)
class PointwiseHead(nn.Module):
    """Classifies each place of the finest map by itself."""

    def __init__(self, in_channels: Sequence[int], num_classes: int, with_record: bool = False) -> None:
        super().__init__()
        self.classifier, self.with_record = nn.Conv2d(in_channels[0], num_classes, 1), with_record

    def forward(self, maps: Sequence[Tensor]) -> Tensor | WithAuxiliary:
        logits = self.classifier(maps[0])
        return WithAuxiliary(logits, logits) if self.with_record and self.training else logits

    def loss(self, raw: Tensor | WithAuxiliary, labels: Sequence[PixelLabels]) -> dict[str, Tensor]:
        classes = torch.stack([entry.classes for entry in labels])
        return {"loss_seg": weighted_cross_entropy(getattr(raw, "logits", raw), classes)}


@dataclass(frozen=True)
class Masks:
    """What `OneMaskAClassHead` gives."""

    masks: Tensor


@MODELS.register_module(force=True)
class OneMaskAClassHead(nn.Module):
    """A mask of logits for each class."""

    def __init__(self, in_channels: Sequence[int], num_classes: int) -> None:
        super().__init__()
        self.mask = nn.Conv2d(in_channels[0], num_classes, 1)

    def forward(self, maps: Sequence[Tensor]) -> Masks:
        return Masks(self.mask(maps[0]))

    def loss(self, raw: Masks, segments: Sequence[Segments]) -> dict[str, Tensor]:
        return {"loss_mask": sum((raw.masks.mean() * len(entry) for entry in segments), raw.masks.new_zeros(()))}

    def decode(self, raw: Masks, sizes: Sequence[PictureSize]) -> list[SegmentationPredictions]:
        return [
            SegmentationPredictions(token="", timestamp_ns=0, classes=size.restored(masks).argmax(dim=0))
            for masks, size in zip(raw.masks, sizes, strict=True)
        ]


def small_segmentor(head: str = "PointwiseHead", **options: Any) -> dict[str, Any]:
    """Config of a small model for the frames of this file."""
    return {
        "type": "Segmentor",
        "backbone": {"type": "MixTransformer", "channels": (8, 8, 8, 8), "depths": (1, 1, 1, 1),
                     "heads": (1, 1, 2, 2), "drop_path": 0.0},
        "head": {"type": head, **options.pop("head_options", {})}, "classes": CLASSES, **options,
    }
