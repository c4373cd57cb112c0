"""A clock that moves only when told, and recordings of given times."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

import torch

from perception.replay.source import FrameSource, PendingFrame
from perception.structures import SE3, Frame, PointCloud


class HandClock:
    """Starts at 100 s; waiting moves it."""

    def __init__(self) -> None:
        self.time = 100.0

    def now(self) -> float:
        return self.time

    def wait_until(self, moment: float) -> None:
        self.time = max(self.time, moment)

    def work(self, seconds: float) -> None:
        self.time += seconds


class ListSource(FrameSource):
    """Frames of one point each at given times [s]; the vehicle drives 1 m a frame if ``posed``."""

    LAYOUT = "a list of times"

    def __init__(self, times: Sequence[float], posed: bool = True) -> None:
        self.times, self.posed = times, posed
        self.loaded: list[int] = []

    @classmethod
    def can_read(cls, path: str) -> bool:
        return False

    def __len__(self) -> int:
        return len(self.times)

    def pending(self) -> Iterator[PendingFrame]:
        for index, time in enumerate(self.times):
            yield PendingFrame(round(time * 1e9), partial(self.load, index), self.pose(index))

    def pose(self, index: int) -> SE3 | None:
        return SE3.about_z(0.0, (float(index), 0.0, 0.0)) if self.posed else None

    def load(self, index: int) -> Frame:
        self.loaded.append(index)
        points = PointCloud(torch.tensor([[10.0 - index, 0.0, 1.0, 0.5]]), ("x", "y", "z", "intensity"))
        time = round(self.times[index] * 1e9)
        return Frame(f"frame-{index}", time, scene="list", global_from_ego=self.pose(index), points=points)
