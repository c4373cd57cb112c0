"""Short clips of the drives of a data set, for models that learn from consecutive frames."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import numpy as np
from torch.utils.data import Dataset

from ...errors import ConfigError
from ...registry import DATASETS
from ...structures import Frame
from ..base import FrameDataset


@DATASETS.register_module()
class ClipDataset(Dataset[tuple[Frame, ...]]):
    """Consecutive frames of one drive, oldest first, as tuples; collating B of them gives T steps of B frames.

    Every transform gets the same random numbers for all frames of a clip, whatever the others drew: a scene that is
    turned or mirrored is so as a whole. Transforms that leave the poses behind contradict the motion from frame to
    frame: leave `GlobalScaling` away, and `PasteObjects`, whose objects would ride along with the vehicle.

    Args:
        dataset: a data set of frames, or its config.
        length: T, frames of a clip.
        stride: frames from the beginning of a clip to that of the next one.

    Raises:
        ValueError: ``length`` or ``stride`` is below 1.
        ConfigError: no drive is as long as a clip.
    """

    def __init__(self, dataset: Mapping[str, Any] | FrameDataset, length: int, *, stride: int = 1) -> None:
        super().__init__()
        for name, number in (("length", length), ("stride", stride)):
            if number < 1:
                raise ValueError(f"{name} must be >= 1, got {number}")
        self.frames: FrameDataset = DATASETS.build(dict(dataset)) if isinstance(dataset, Mapping) else dataset
        self.length = length
        starts = clip_starts(list(self.frames.scenes), length, stride)
        if not starts:
            raise ConfigError(f"{self.frames.root}: no drive has the {length} frames of a clip")
        self.starts = starts

    @property
    def classes(self) -> tuple[str, ...]:
        """Those of the frames."""
        return self.frames.classes

    @property
    def metainfo(self) -> dict[str, Any]:
        """That of the frames."""
        return self.frames.metainfo

    def class_counts(self, index: int) -> np.ndarray:
        """(classes,) int64 objects of each class in the last frame of a clip."""
        return self.frames.class_counts(self.starts[index] + self.length - 1)

    def __len__(self) -> int:
        return len(self.starts)

    def __getitem__(self, key: int | tuple[int, int]) -> tuple[Frame, ...]:
        epoch, index = key if isinstance(key, tuple) else (0, key)
        if not 0 <= index < len(self):
            raise IndexError(f"clip {index} of a data set of {len(self)} clips")
        places = range(self.starts[index], self.starts[index] + self.length)
        return tuple(self._frame(place, (self.frames.seed, epoch, index)) for place in places)

    def _frame(self, place: int, seed: tuple[int, int, int]) -> Frame:
        frame = self.frames.load(place)
        for number, transform in enumerate(self.frames.transforms.transforms):
            frame = transform(frame, np.random.default_rng([*seed, number]))
        return frame


def clip_starts(scenes: list[str], length: int, stride: int) -> list[int]:
    """Where the clips begin that lie within one drive each, of the names of the drives of all frames."""
    bounds = [place for place, name in enumerate(scenes) if place == 0 or name != scenes[place - 1]] + [len(scenes)]
    return [
        start for first, end in pairwise(bounds) for start in range(first, end - length + 1, stride)
    ]
