"""The sensor's pace: frames are released at their recorded times, and a detector that is behind loses some."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator
from typing import Protocol

from ..errors import PerceptionError
from .source import PendingFrame


class Clock(Protocol):
    """Seconds that only grow; a test brings its own."""

    def now(self) -> float:
        """The time [s] since some beginning."""
        ...

    def wait_until(self, moment: float) -> None:
        """Come back at ``moment`` [s], at once if it is past."""
        ...


class SystemClock:
    """The monotonic clock of the system."""

    def now(self) -> float:
        """Seconds of the performance counter."""
        return time.perf_counter()

    def wait_until(self, moment: float) -> None:
        """Sleep, again if woken early."""
        while (left := moment - time.perf_counter()) > 0:
            time.sleep(left)


class Pace:
    """Hands out frames no earlier than their sensor did.

    The frame at recorded time t is released (t - t0) / rate seconds after the first one was asked for. Whoever asks
    for the next frame gets the newest that is released, waiting for one if need be; older ones are dropped and counted.
    Frames of one time, such as the pictures of several cameras, are handed out one after the other or dropped together.

    Args:
        rate: speed relative to the recording; 0 releases every frame at once, and none is dropped.
        clock: what time is read from.

    Raises:
        ValueError: ``rate`` is negative or not finite.
    """

    def __init__(self, rate: float, clock: Clock) -> None:
        if not (math.isfinite(rate) and rate >= 0.0):
            raise ValueError(f"rate must be finite and >= 0, got {rate}")
        self.rate, self.clock = rate, clock
        self.dropped = 0

    def __call__(self, pending: Iterable[PendingFrame]) -> Iterator[PendingFrame]:
        """The frames that the caller gets to see. A recording that breaks does so after its last good frame."""
        if not self.rate:
            yield from pending
            return
        moments = _moments(pending)
        current, failure = _next(moments)
        began, first = self.clock.now(), 0 if current is None else current[0].timestamp_ns

        def release(moment: list[PendingFrame]) -> float:
            return began + (moment[0].timestamp_ns - first) * 1e-9 / self.rate

        while current is not None:
            following, failure = _next(moments)
            while following is not None and release(following) <= self.clock.now():
                self.dropped += len(current)
                current = following
                following, failure = _next(moments)
            self.clock.wait_until(release(current))
            yield from current
            current = following
        if failure is not None:
            raise failure


def _moments(pending: Iterable[PendingFrame]) -> Iterator[list[PendingFrame]]:
    """Frames that follow each other at one time, together; where the recording breaks, after its last good frame."""
    moment: list[PendingFrame] = []
    failure: PerceptionError | None = None
    try:
        for entry in pending:
            if moment and entry.timestamp_ns != moment[0].timestamp_ns:
                yield moment
                moment = []
            moment.append(entry)
    except PerceptionError as error:
        failure = error
    if moment:
        yield moment
    if failure is not None:
        raise failure


def _next(moments: Iterator[list[PendingFrame]]) -> tuple[list[PendingFrame] | None, PerceptionError | None]:
    """The next moment, or None and the reason if there is one."""
    try:
        return next(moments, None), None
    except PerceptionError as error:
        return None, error
