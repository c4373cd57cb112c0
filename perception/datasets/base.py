"""The contract of every data set: an index gives a `Frame`, read anew and transformed with a generator of its own."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset

from ..errors import ConfigError, DataError, suggestion
from ..structures import Frame
from ..transforms.compose import Compose
from ..transforms.compose import FrameTransform as Transform


class FrameDataset(Dataset[Frame]):
    """Frames by number. Opening reads the list of frames alone; bytes are read in `load`.

    ``dataset[index]`` and ``dataset[epoch, index]`` load a frame and hand it to the transforms with the generator
    of (seed, epoch, index), so neither the number of workers nor the order of the look-ups changes a frame.

    Args:
        root: folder of the data set.
        classes: some of ``METAINFO["classes"]``, in the order of the labels; objects of other classes get label -1.
            All of them by default.
        transforms: transforms, or configs of them, applied in order; see `perception.transforms`.
        seed: first entropy word of every frame's generator.

    Raises:
        DataError: ``root`` is not a folder.
        ConfigError: a class is unknown.
    """

    METAINFO: Mapping[str, Any] = {"classes": ()}

    def __init__(
        self,
        root: str | Path,
        *,
        classes: Sequence[str] | None = None,
        transforms: Sequence[Mapping[str, Any] | Transform] = (),
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.root = Path(root)
        if not self.root.is_dir():
            raise DataError(self.root, "folder", "the root of the data set", "no such folder")
        known = tuple(self.METAINFO["classes"])
        self.classes: tuple[str, ...] = known if classes is None else tuple(classes)
        for name in self.classes:
            if name not in known:
                raise ConfigError(f'unknown class "{name}"{suggestion(name, known)}; {type(self).__name__} has {known}')
        self.transforms = Compose(transforms)
        self.seed = seed

    @property
    @abstractmethod
    def frame_tokens(self) -> Sequence[str]:
        """Names of the frames, in order."""

    @abstractmethod
    def load(self, index: int) -> Frame:
        """Read one frame from disk, before any transform.

        Raises:
            DataError: a file of it is absent, truncated or malformed (names file and field).
        """

    @property
    def scenes(self) -> Sequence[str]:
        """Name of the drive of every frame, in order; frames of a drive stand together, oldest first."""
        return [""] * len(self)

    @property
    def metainfo(self) -> dict[str, Any]:
        """What mmengine tells metrics and checkpoints of this data set."""
        return {**self.METAINFO, "classes": self.classes, "dataset": type(self).__name__}

    def __len__(self) -> int:
        return len(self.frame_tokens)

    def __getitem__(self, key: int | tuple[int, int]) -> Frame:
        epoch, index = key if isinstance(key, tuple) else (0, key)
        if not 0 <= index < len(self):
            raise IndexError(f"frame {index} of a data set of {len(self)} frames")
        frame = self.load(index)
        return self.transforms(frame, np.random.default_rng([self.seed, epoch, index]))

    def index_of(self, token: str) -> int:
        """Number of the frame of this name. Raises ConfigError that suggests the nearest name."""
        try:
            return list(self.frame_tokens).index(token)
        except ValueError:
            raise ConfigError(f'no frame "{token}" in {self.root}{suggestion(token, self.frame_tokens)}') from None

    def scene_indices(self, scene: str) -> list[int]:
        """Numbers of the frames of one drive, oldest first. Raises ConfigError that suggests the nearest name."""
        found = [index for index, name in enumerate(self.scenes) if name == scene]
        if not found:
            names = sorted(set(self.scenes))
            listed = ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
            raise ConfigError(f'no scene "{scene}" in {self.root}{suggestion(scene, names)}; it has {listed}')
        return found

    def class_counts(self, index: int) -> np.ndarray:
        """(len(classes),) int64 annotated objects of each class in a frame, for class-balanced sampling."""
        annotations = self.load(index).annotations
        if annotations is None:
            return np.zeros(len(self.classes), dtype=np.int64)
        return count_labels(annotations.labels.numpy(), len(self.classes))


def count_labels(labels: np.ndarray, num_classes: int) -> np.ndarray:
    """(K,) labels with -1 for none -> (num_classes,) int64 counts."""
    return np.bincount(labels[labels >= 0], minlength=num_classes).astype(np.int64)


def labels_of(names: Sequence[str | None], classes: Sequence[str]) -> torch.Tensor:
    """(K,) int64 position of each name in ``classes``, -1 for one that is not there."""
    order = {name: label for label, name in enumerate(classes)}
    return torch.tensor([-1 if name is None else order.get(name, -1) for name in names], dtype=torch.int64)
