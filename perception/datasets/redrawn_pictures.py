"""Pictures that show enough of what is labelled, with others in the place of those that do not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..errors import DataError
from ..registry import DATASETS
from ..structures import Frame
from ..structures.segmentation import IGNORE_LABEL
from .base import FrameDataset

TRIES = 100


@DATASETS.register_module()
class RedrawnPictures(FrameDataset):
    """A data set of labelled pictures; where the transforms leave too little of one, a random other one is taken.

    All is drawn from the generator of (seed, epoch, index), so it does not depend on workers. A picture's first try is
    what the data set itself gives.

    Args:
        dataset: config of a data set whose frames have one labelled picture.
        min_pixels: pixels of segments that must be exceeded: with a class and, for things, an instance.
        stride: only every so-th row and column counts.

    Raises:
        DataError: a hundred pictures, one after the other, have too few.
    """

    def __init__(self, dataset: Mapping[str, Any], *, min_pixels: int = 0, stride: int = 1) -> None:
        self.inner: Any = DATASETS.build(dataset)
        super().__init__(self.inner.root, transforms=self.inner.transforms.transforms, seed=self.inner.seed)
        self.classes = tuple(self.inner.classes)
        self.min_pixels, self.stride = min_pixels, stride
        self.things = [self.classes.index(name) for name in self.inner.metainfo.get("things", ())]

    @property
    def frame_tokens(self) -> Sequence[str]:
        """Those of the data set."""
        return self.inner.frame_tokens

    @property
    def scenes(self) -> Sequence[str]:
        """Those of the data set."""
        return self.inner.scenes

    @property
    def metainfo(self) -> dict[str, Any]:
        """That of the data set."""
        return self.inner.metainfo

    def __len__(self) -> int:
        return len(self.inner)

    def load(self, index: int) -> Frame:
        """A frame of the data set, whatever it shows."""
        return self.inner.load(index)

    def class_counts(self, index: int) -> np.ndarray:
        """Those of the data set."""
        return self.inner.class_counts(index)

    def __getitem__(self, key: int | tuple[int, int]) -> Frame:
        epoch, index = key if isinstance(key, tuple) else (0, key)
        if not 0 <= index < len(self):
            raise IndexError(f"frame {index} of a data set of {len(self)} frames")
        rng = np.random.default_rng([self.seed, epoch, index])
        for _ in range(TRIES):
            frame = self.transforms(self.load(index), rng)
            if self.labelled_pixels(frame) > self.min_pixels:
                return frame
            index = int(rng.integers(len(self)))
        wanted = f"a picture with more than {self.min_pixels} labelled pixels"
        raise DataError(self.root, "labels", wanted, f"none among {TRIES} that were drawn")

    def labelled_pixels(self, frame: Frame) -> int:
        """Pixels of segments in a frame's pictures, every ``stride``-th row and column."""
        count = 0
        for camera in frame.cameras.values():
            if camera.labels is None:
                continue
            classes = camera.labels.classes[:: self.stride, :: self.stride].numpy()
            known = classes != IGNORE_LABEL
            if camera.labels.instances is not None:
                instances = camera.labels.instances[:: self.stride, :: self.stride].numpy()
                known &= ~np.isin(classes, self.things) | (instances > 0)
            count += int(known.sum())
        return count
