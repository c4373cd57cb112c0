"""Small PEM heads and what they are given."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from torch import Tensor, nn

from perception.registry import MODELS
from perception.structures.segmentation import Segments
from perception_plugins.pem import MaskPredictions, PEMHead

CONFIGS = Path(__file__).resolve().parents[2] / "configs/pem"
WIDTHS = (6, 8, 10, 12)


def parts_of(name: str) -> nn.ModuleDict:
    """The backbone and the head of a config, which get no memory."""
    config = Config.fromfile(CONFIGS / f"{name}.py").model
    with torch.device("meta"):
        backbone = MODELS.build(config.backbone)
        head = MODELS.build({**config.head, "in_channels": backbone.channels})
    return nn.ModuleDict({"backbone": backbone, "head": head})


def small_head(num_classes: int = 4, **options: Any) -> PEMHead:
    """A head of a few channels over maps of `WIDTHS`."""
    pixel_decoder = {"type": "PEMPixelDecoder", "channels": 8, "mask_channels": 12}
    decoder = {"channels": 16, "num_queries": 6, "layers": 4, "heads": 4, "hidden": 24}
    loss = {"num_points": 64}
    return PEMHead(
        WIDTHS, num_classes, **{"pixel_decoder": pixel_decoder, "decoder": decoder, "loss": loss, **options}
    )


def maps(batch: int = 2, size: tuple[int, int] = (64, 96), **options: Any) -> list[Tensor]:
    """What a backbone gives for pictures of a size that 32 divides."""
    return [
        torch.randn(batch, width, size[0] // stride, size[1] // stride, **options)
        for width, stride in zip(WIDTHS, (4, 8, 16, 32), strict=True)
    ]


def predictions(batch: int = 2, queries: int = 6, num_classes: int = 4) -> MaskPredictions:
    """Random ones at a quarter of 32 x 48."""
    return MaskPredictions(
        torch.randn(batch, queries, num_classes + 1, requires_grad=True),
        torch.randn(batch, queries, 8, 12, requires_grad=True),
    )


def halves(labels: tuple[int, ...] = (0, 2), size: tuple[int, int] = (32, 48)) -> Segments:
    """The left half of a picture, and the right one."""
    masks = torch.zeros(2, *size, dtype=torch.bool)
    masks[0, :, : size[1] // 2] = True
    return Segments(torch.tensor(labels), torch.stack([masks[0], ~masks[0]]))


def nothing(size: tuple[int, int] = (32, 48)) -> Segments:
    """A picture in which nothing is known."""
    return Segments(torch.zeros(0, dtype=torch.int64), torch.zeros(0, *size, dtype=torch.bool))
