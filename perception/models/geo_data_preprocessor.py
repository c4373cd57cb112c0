"""Turns a batch of frames into what a geo-localizer takes: whole pictures, their middles, or ten crops of each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torchvision.transforms.v2 import functional as pictures

from perception.registry import MODELS

from .image_data_preprocessor import ImageDataPreprocessor

CROPS = {"center": 1, "ten": 10}


@MODELS.register_module()
class GeoDataPreprocessor(ImageDataPreprocessor):
    """The picture of one camera of each frame, normalised; outside training, parts of it.

    The published evaluation takes ``short_side=(256, 100000)``, ``crop_size=(224, 224)`` and ``crops="ten"``: the four
    corners and the middle, and all of them mirrored. Mirroring turns texts and the side of the road about, so a vehicle
    does better with one middle crop, or with the whole picture.

    Args:
        camera: its name; None takes the only camera of each frame.
        crop_size: height and width of the parts; None takes whole pictures.
        crops: "center" or "ten".
        options: see `ImageDataPreprocessor`.

    Raises:
        ValueError: ``crop_size`` is not two numbers of at least 1, or ``crops`` is something else; see
            `ImageDataPreprocessor` for the rest.
    """

    def __init__(
        self,
        camera: str | None = None,
        *,
        crop_size: Sequence[int] | None = None,
        crops: str = "center",
        **options: Any,
    ) -> None:
        super().__init__(camera, **options)
        if crop_size is not None and (len(crop_size) != 2 or min(crop_size) < 1):
            raise ValueError(f"crop_size must be two numbers of pixels, both >= 1, got {tuple(crop_size)}")
        if crops not in CROPS:
            raise ValueError(f'crops must be "center" or "ten", got {crops!r}')
        self.crop_size, self.crops = None if crop_size is None else list(crop_size), crops

    def forward(self, data: Any, training: bool = False) -> dict[str, Any]:
        """list[Frame] -> dict(inputs=dict(images=...), data_samples=list[Frame]).

        Images are (B, 3, H, W) float32; outside training, with ``crop_size``, (B, 1 or 10, 3, *crop_size).

        Raises:
            TypeError: the batch is not a list of Frames.
            ValueError: a picture is smaller than the crops, or see `ImageDataPreprocessor.camera_of`.
        """
        batch = super().forward(data, training)
        if training or self.crop_size is None:
            return batch
        parts = []
        for frame, image, size in zip(data, batch["inputs"]["images"], self.sizes(data), strict=True):
            if size.used[0] < self.crop_size[0] or size.used[1] < self.crop_size[1]:
                raise ValueError(
                    f"frame {frame.token}: crops of {tuple(self.crop_size)} need a larger picture than "
                    f"{size.used}: raise short_side of the data preprocessor"
                )
            shown = image[:, : size.used[0], : size.used[1]]
            cut: Callable[..., Sequence[Tensor]] = pictures.ten_crop if self.crops == "ten" else _middle
            parts.append(torch.stack(list(cut(shown, self.crop_size))))            # (crops, 3, h, w)
        batch["inputs"]["images"] = torch.stack(parts)
        return batch


def _middle(image: Tensor, size: list[int]) -> tuple[Tensor]:
    return (pictures.center_crop(image, size),)
