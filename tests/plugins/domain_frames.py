"""Two small domains: the same blocks of three classes, bright in the source and dark in the target."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from perception.datasets.base import FrameDataset
from perception.registry import DATASETS
from perception.structures import Camera, Frame, PixelLabels

CLASSES = ("road", "car", "sky")
COLOURS = torch.tensor([[90, 90, 90], [200, 40, 40], [90, 150, 250]])


def domain_frame(token: str, number: int, *, brightness: float = 1.0, size: int = 64, labelled: bool = True) -> Frame:
    """A picture of square blocks, a quarter of its side long, each of a class and with some noise."""
    draw = torch.Generator().manual_seed(number)
    blocks = torch.randint(0, len(CLASSES), (4, 4), generator=draw)
    classes = blocks.repeat_interleave(size // 4, 0).repeat_interleave(size // 4, 1)       # (size, size)
    noise = 20 * torch.randn(3, size, size, generator=draw)
    image = ((COLOURS[classes].movedim(2, 0) + noise) * brightness).clamp(0, 255).to(torch.uint8)
    labels = PixelLabels(classes) if labelled else None
    return Frame(token, number, cameras={"front": Camera(None, 0, image=image, labels=labels)})


@DATASETS.register_module(force=True)
class DomainFrames(FrameDataset):
    """A few such frames."""

    METAINFO = {"classes": CLASSES}

    def __init__(self, root: str | Path, *, first: int = 0, brightness: float = 1.0, labelled: bool = True) -> None:
        super().__init__(root)
        self.first, self.brightness, self.labelled = first, brightness, labelled

    @property
    def frame_tokens(self) -> list[str]:
        return [f"{self.brightness}-{number}" for number in range(self.first, self.first + 4)]

    def load(self, index: int) -> Frame:
        return domain_frame(
            self.frame_tokens[index], self.first + index, brightness=self.brightness, labelled=self.labelled
        )


def small_student(**options: Any) -> dict[str, Any]:
    """Config of a small DAFormer for these frames, with every module that leaves something to chance."""
    return {
        "type": "Segmentor",
        "backbone": {"type": "MixTransformer", "channels": (8, 8, 8, 8), "depths": (1, 1, 1, 1),
                     "heads": (1, 1, 2, 2), "drop_path": 0.5},
        "head": {"type": "DAFormerHead", "channels": 8, "embed_channels": 8, "dropout": 0.5,
                 "fusion": {"type": "ContextASPP", "dilations": (1, 2)}},
        "classes": CLASSES, **options,
    }
