"""Past frames of a recording offered as sweeps, so that models which look back work on a stream."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import islice

from ..errors import DataError
from ..structures import SE3, Frame, PointCloud, Sweep
from .source import FrameSource, PendingFrame


def with_history(pending: Iterable[PendingFrame], length: int) -> Iterator[PendingFrame]:
    """Frames that get the last ``length`` ones before them as sweeps, newest first.

    A frame without a pose, or that has sweeps already, stays as it is. Frames that nobody loads (dropped ones) are read
    when a later frame asks for their points; points are read once and forgotten with the frame.

    Raises:
        ValueError: ``length`` is negative.
    """
    if length < 0:
        raise ValueError(f"length must be >= 0, got {length}")
    past: deque[_Remembered] = deque(maxlen=length)
    for entry in pending:
        current = _Remembered(entry)
        yield replace(entry, load=partial(_load_with_sweeps, current, tuple(past)[::-1]))
        past.append(current)


def recorded_frame(source: FrameSource, number: int, num_sweeps: int = 10) -> Frame:
    """A frame by its number in a recording, with the ones before it as sweeps, as a replay offers it.

    Raises:
        DataError: the recording is broken or has no frame of that number.
    """
    if not 0 <= number < len(source):
        raise DataError(source.LAYOUT, "frame", f"a number in [0, {len(source)})", number)
    pending = with_history(source.pending(), 0 if source.brings_sweeps else num_sweeps)
    return next(islice(pending, number, None)).load()


class _Remembered:
    """A frame whose points are kept once they have been read."""

    def __init__(self, entry: PendingFrame) -> None:
        self.entry = entry
        self._points: PointCloud | None = None

    def load(self) -> Frame:
        frame = self.entry.load()
        self._points = frame.points
        return frame

    def as_sweep(self, ego_from_global: SE3, pose: SE3) -> Sweep:
        return Sweep(self.entry.timestamp_ns, ego_from_global @ pose, self.points)

    def points(self) -> PointCloud:
        if self._points is None:
            self.load()
        if self._points is None:
            raise DataError(f"frame at {self.entry.timestamp_ns} ns", "points", "points to serve as a sweep", "none")
        return self._points


def _load_with_sweeps(current: _Remembered, past: Sequence[_Remembered]) -> Frame:
    frame = current.load()
    if frame.sweeps or frame.global_from_ego is None:
        return frame
    ego_from_global = frame.global_from_ego.inverse()
    sweeps = [
        earlier.as_sweep(ego_from_global, earlier.entry.global_from_ego)
        for earlier in past
        if earlier.entry.global_from_ego is not None and earlier.entry.timestamp_ns <= frame.timestamp_ns
    ]
    return replace(frame, sweeps=tuple(sweeps))
