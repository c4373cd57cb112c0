"""Which frame comes when: an endless, seeded order that does not depend on the number of processes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from itertools import count
from typing import Any

import numpy as np
from mmengine.dist import get_dist_info
from torch.utils.data import Sampler

from ..errors import ConfigError
from ..registry import DATA_SAMPLERS


@DATA_SAMPLERS.register_module()
class EpochSampler(Sampler[tuple[int, int]]):
    """Yields (epoch, index) keys, from which a dataset derives the frame's random numbers.

    Process r of W takes every W-th key of one common stream, beginning with the r-th: the W batches of b keys that are
    drawn together are the next W * b keys of the stream, whatever W is.

    Args:
        dataset: anything with a length; ``class_balanced`` also asks it for ``class_counts(index)``, the number of
            objects by class as a sequence or mapping.
        seed: of the orders; None counts as 0.
        shuffle: another order in each epoch, or the dataset's own in all.
        infinite: go on with the next epoch at the end of one, or stop; then the last keys of an epoch are filled up
            from its beginning, so that all processes get as many.
        class_balanced: draw as many frames for each class (CBGS, Zhu et al. 2019): an epoch has as many keys as there
            are pairs of a frame and a class in it, and each class that occurs has an equal share of them.

    Raises:
        ConfigError: the dataset is empty, or holds no object to balance by.
    """

    def __init__(
        self,
        dataset: Any,
        seed: int | None = None,
        shuffle: bool = True,
        infinite: bool = True,
        class_balanced: bool = False,
    ) -> None:
        if len(dataset) == 0:
            raise ConfigError("the training dataset is empty")
        self.rank, self.world_size = get_dist_info()
        self.seed = seed or 0
        self.shuffle = shuffle
        self.infinite = infinite
        self.num_frames = len(dataset)
        self.frames_of_class = frames_of_classes(dataset) if class_balanced else None
        self.epoch_size = len(self.order(0))
        self.epoch = 0
        self.start = 0                             # keys of the common stream that are not to be drawn again

    def order(self, epoch: int) -> np.ndarray:
        """(epoch_size,) int64 frame indices of one epoch."""
        rng = np.random.default_rng([self.seed, epoch])
        if self.frames_of_class is None:
            return rng.permutation(self.num_frames) if self.shuffle else np.arange(self.num_frames)
        share = round(sum(map(len, self.frames_of_class)) / len(self.frames_of_class))
        drawn = np.concatenate([_draw(rng, frames, share) for frames in self.frames_of_class])
        return rng.permutation(drawn) if self.shuffle else drawn

    def skip_to(self, position: int) -> None:
        """Begin the next iteration at a position of the common stream (keys drawn by all processes together)."""
        self.epoch, self.start = (0, position) if self.infinite else divmod(position, len(self) * self.world_size)

    def set_epoch(self, epoch: int) -> None:
        """Which epoch a finite sampler yields next, from its beginning."""
        self.epoch, self.start = epoch, 0

    def __iter__(self) -> Iterator[tuple[int, int]]:
        order = lru_cache(maxsize=1)(self.order)
        if self.infinite:
            for position in count(self.start + self.rank, self.world_size):
                epoch, offset = divmod(position, self.epoch_size)
                yield epoch, int(order(epoch)[offset])
        end = len(self) * self.world_size
        for position in range(self.start + self.rank, end, self.world_size):
            yield self.epoch, int(order(self.epoch)[position % self.epoch_size])

    def __len__(self) -> int:
        """Keys of one epoch for one process."""
        return -(-self.epoch_size // self.world_size)


def frames_of_classes(dataset: Any) -> list[np.ndarray]:
    """Indices of the frames with at least one object of a class, for each class that occurs.

    Raises:
        ConfigError: the dataset cannot count its objects, or there are none.
    """
    if not hasattr(dataset, "class_counts"):
        raise ConfigError(f"class_balanced: {type(dataset).__name__} has no class_counts(index)")
    rows = [dataset.class_counts(index) for index in range(len(dataset))]
    counts = np.array([list(row.values()) if isinstance(row, Mapping) else row for row in rows])   # (frames, classes)
    frames = [np.flatnonzero(column) for column in counts.T]
    frames = [indices for indices in frames if len(indices)]
    if not frames:
        raise ConfigError("class_balanced: no frame of the dataset has an annotated object")
    return frames


def _draw(rng: np.random.Generator, frames: np.ndarray, number: int) -> np.ndarray:
    """``number`` of the frames, each as often as the next one (to one)."""
    whole, rest = divmod(number, len(frames))
    return np.concatenate([np.tile(frames, whole), rng.permutation(frames)[:rest]])
