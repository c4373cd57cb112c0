"""Four pictures in one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
import torch

from ..registry import DATASETS, TRANSFORMS
from ..structures import Camera, Frame, PixelLabels
from .load_images import LoadImages
from .picture_geometry import decoded
from .random_crop_images import RandomCropImages


@TRANSFORMS.register_module()
class Mosaic:
    """Parts of the picture and of three others around a random point; as in "YOLOv4" (Bochkovskiy et al., 2020).

    For frames of one labelled picture. The camera of a mosaic has no calibration, as it shows four places.

    Args:
        dataset: config of the data set that the other pictures are drawn from; without transforms.
        size: height and width of the mosaic, at least 2 each.
        prob: probability of a mosaic; otherwise the frame stays as it is.
        spread: the point lies in this middle share of height and width, in [0, 1].

    Raises:
        ValueError: an argument is out of bounds, or a frame has not one camera with a decoded, labelled picture.
    """

    def __init__(
        self, dataset: Mapping[str, Any], size: Sequence[int], prob: float = 0.5, spread: float = 0.5
    ) -> None:
        if len(size) != 2 or min(size) < 2:
            raise ValueError(f"size must be height and width, both >= 2, got {tuple(size)}")
        for name, value in (("prob", prob), ("spread", spread)):
            if not 0.0 <= value <= 1.0:
                raise ValueError(f"{name} must lie in [0, 1], got {value}")
        self.config, self.size, self.prob, self.spread = dict(dataset), (int(size[0]), int(size[1])), prob, spread
        self.load_images = LoadImages()

    @cached_property
    def dataset(self) -> Any:
        """The data set of the other pictures, opened when first needed."""
        return DATASETS.build(self.config)

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in vars(self).items() if key != "dataset"}

    def __call__(self, frame: Frame, rng: np.random.Generator) -> Frame:
        """The frame, maybe with a mosaic for its picture."""
        if rng.random() >= self.prob:
            return frame
        others = rng.integers(len(self.dataset), size=3).tolist()
        frames = [frame, *(self.load_images(self.dataset.load(index), rng) for index in others)]
        place = (0.5 + self.spread * (rng.random(2) - 0.5)) * self.size
        row, column = np.clip(place.round().astype(int), 1, np.subtract(self.size, 1)).tolist()
        sizes = [(h, w) for h in (row, self.size[0] - row) for w in (column, self.size[1] - column)]
        tiles = [self._tile(piece, size, rng) for piece, size in zip(frames, sizes, strict=True)]
        name, camera = next(iter(frame.cameras.items()))
        return replace(frame, cameras={name: replace(_joined(tiles), timestamp_ns=camera.timestamp_ns)})

    def _tile(self, frame: Frame, size: tuple[int, int], rng: np.random.Generator) -> Camera:
        place = f"frame {frame.token}"
        if len(frame.cameras) != 1:
            raise ValueError(f"{place}: a mosaic takes frames of one picture, got {len(frame.cameras)}")
        camera = next(iter(RandomCropImages(size)(frame, rng).cameras.values()))
        if camera.labels is None:
            raise ValueError(f"{place} has no pixel labels to make a mosaic with")
        return camera

    def __repr__(self) -> str:
        return f"Mosaic(size={self.size}, prob={self.prob}, spread={self.spread})"


def _joined(tiles: Sequence[Camera]) -> Camera:
    """Upper left, upper right, lower left, lower right part -> one camera; instances are numbered anew."""
    image = _grid([decoded(tile, "tile") for tile in tiles])
    labels = [tile.labels for tile in tiles if tile.labels is not None]
    instances, last = [], 0
    for entry in labels:
        numbers = torch.zeros_like(entry.classes) if entry.instances is None else entry.instances
        found, place = numbers.unique(return_inverse=True)
        renumbered = (torch.arange(len(found)) + 1 + last).where(found > 0, 0)
        instances.append(renumbered[place])
        last = max(last, int(renumbered.max()))
    has_instances = all(entry.instances is not None for entry in labels)
    return Camera(None, 0, image=image, labels=PixelLabels(
        _grid([entry.classes for entry in labels]), _grid(instances) if has_instances else None, labels[0].names
    ))


def _grid(parts: Sequence[torch.Tensor]) -> torch.Tensor:
    """Four parts (..., h, w) -> (..., H, W), row by row."""
    return torch.cat([torch.cat(list(parts[:2]), dim=-1), torch.cat(list(parts[2:]), dim=-1)], dim=-2)
