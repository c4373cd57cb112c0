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
        entries = iter(pending)
        current, failure = _next(entries)
        began, first = self.clock.now(), 0 if current is None else current.timestamp_ns

        def release(entry: PendingFrame) -> float:
            return began + (entry.timestamp_ns - first) * 1e-9 / self.rate

        while current is not None:
            following, failure = _next(entries)
            while following is not None and release(following) <= self.clock.now():
                self.dropped += 1
                current = following
                following, failure = _next(entries)
            self.clock.wait_until(release(current))
            yield current
            current = following
        if failure is not None:
            raise failure


def _next(entries: Iterator[PendingFrame]) -> tuple[PendingFrame | None, PerceptionError | None]:
    """The next frame, or None and the reason if there is one."""
    try:
        return next(entries, None), None
    except PerceptionError as error:
        return None, error
