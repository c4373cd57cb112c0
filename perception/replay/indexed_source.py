"""Recordings that a data set reads through its index."""

from __future__ import annotations

from abc import ABC
from collections.abc import Iterator
from functools import partial

from ..datasets.index import pose_from_row
from ..datasets.indexed_dataset import IndexedDataset
from .source import FrameSource, PendingFrame


class IndexedSource(FrameSource, ABC):
    """All frames of a data set, in the order of its index; a subclass opens ``dataset``."""

    dataset: IndexedDataset

    def __len__(self) -> int:
        return len(self.dataset)

    def pending(self) -> Iterator[PendingFrame]:
        """Its frames, oldest first."""
        for index in range(len(self.dataset)):
            record = self.dataset.record(index)
            pose, cameras = pose_from_row(record.lidar.global_from_ego), self.dataset.cameras_of(record)
            yield PendingFrame(record.lidar.timestamp_ns, partial(self.dataset.load, index), pose, cameras)
