"""The main road of a replay: source -> history -> pace -> detector -> sinks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from typing import Any, Protocol, runtime_checkable

from ..errors import DataError
from ..structures import Frame, FramePredictions
from .history import with_history
from .latency import ReplayReport, StageTimes
from .pace import Clock, Pace, SystemClock
from .source import FrameSource


class FrameDetector(Protocol):
    """A model in three stages that are timed apart; `perception.engine.inference.InferenceModel` is one."""

    def preprocess(self, frame: Frame) -> Any:
        """What the network takes, on its device."""
        ...

    def network(self, batch: Any) -> Any:
        """The network's raw output."""
        ...

    def decode(self, maps: Any, batch: Any) -> FramePredictions:
        """Boxes or map elements in the ego frame, best first; or classes of pixels or of points."""
        ...


@runtime_checkable
class StreamingDetector(FrameDetector, Protocol):
    """A detector that may have a memory of the frames before."""

    @property
    def streams(self) -> bool:
        """Whether it has; then `stream` takes the place of ``network``."""
        ...

    def stream(self, batch: Any, state: Any = None) -> tuple[Any, Any]:
        """The network's raw output for the next frame, and what the memory knows behind it; None begins anew."""
        ...


class Sink(Protocol):
    """Where results go, frame by frame."""

    def write(self, frame: Frame, predictions: FramePredictions) -> None:
        """Take one frame, as the source gave it, and what was found in it."""
        ...


class Replay:
    """Plays recordings to a detector.

    Args:
        detector: gets every frame that is not dropped.
        sinks: get every frame with its predictions; their time is in no latency, but a slow one costs frames.
        num_sweeps: past frames to offer as sweeps if the recording has poses and its frames bring none.
        clock: what time is read from.
        synchronize: called before a stage's time is taken, to wait for a GPU.
        state: what the memory of a `StreamingDetector` knows to begin with; None: nothing. Behind every frame the
            attribute of this name holds what it knows then.
    """

    def __init__(
        self,
        detector: FrameDetector,
        sinks: Sequence[Sink] = (),
        *,
        num_sweeps: int = 10,
        clock: Clock | None = None,
        synchronize: Callable[[], None] | None = None,
        state: Any = None,
    ) -> None:
        self.detector, self.sinks, self.num_sweeps = detector, sinks, num_sweeps
        self.clock = clock or SystemClock()
        self.synchronize = synchronize or _nothing
        self.state = state

    def run(
        self,
        source: FrameSource,
        rate: float = 1.0,
        max_frames: int | None = None,
        progress: Callable[[Iterable[Any], int], Iterable[Any]] = lambda entries, total: entries,
        after_ns: int | None = None,
    ) -> ReplayReport:
        """Play a recording once.

        Args:
            source: the recording.
            rate: speed relative to it; 0: as fast as it goes, no frame dropped.
            max_frames: stop after so many frames of the recording, dropped ones included.
            progress: wraps the frames (and their number at most), to show a bar.
            after_ns: pass over the frames up to this time, which still serve as sweeps; None plays all.

        Raises:
            DataError: the recording is broken; what came before is in the sinks.
            ValueError: ``rate`` or ``max_frames`` is out of range.
        """
        if max_frames is not None and max_frames < 1:
            raise ValueError(f"max_frames must be >= 1, got {max_frames}")
        pace, times = Pace(rate, self.clock), StageTimes(self.clock)
        pending = with_history(source.pending(), 0 if source.brings_sweeps else self.num_sweeps)
        if after_ns is not None:
            pending = (entry for entry in pending if entry.timestamp_ns > after_ns)
        total = len(source) if max_frames is None else min(max_frames, len(source))
        began, stamps = self.clock.now(), []
        for entry in progress(pace(islice(pending, max_frames)), total):
            with times.measure("load"):
                frame = entry.load()
            predictions, self.state = self._detect(frame, times, self.state)
            times.close_frame()
            stamps.append(frame.timestamp_ns)
            for sink in self.sinks:
                sink.write(frame, predictions)
        recorded = (max(stamps) - min(stamps)) * 1e-9 if stamps else 0.0
        wall = self.clock.now() - began
        return ReplayReport(len(stamps), pace.dropped, rate, recorded, wall, times.summary_ms(), times.samples_ms())

    def warm_up(self, source: FrameSource) -> FramePredictions | None:
        """Run the detector once over the first frame, so that what happens only once is in no latency.

        Returns:
            What it found there; None if the recording has no frame.

        Raises:
            DataError: the recording does not give what the model takes, such as a channel of the points.
        """
        for entry in islice(source.pending(), 1):
            frame = entry.load()
            try:
                return self._detect(frame, StageTimes(self.clock), None)[0]
            except ValueError as error:
                raise DataError(f"frame {frame.token}", "content", "what the model takes", error) from error
        return None

    def _detect(self, frame: Frame, times: StageTimes, state: Any) -> tuple[FramePredictions, Any]:
        with times.measure("preprocess"):
            batch = self.detector.preprocess(frame)
            self.synchronize()
        with times.measure("network"):
            if isinstance(self.detector, StreamingDetector) and self.detector.streams:
                maps, state = self.detector.stream(batch, state)
            else:
                maps = self.detector.network(batch)
            self.synchronize()
        with times.measure("decode"):
            predictions = self.detector.decode(maps, batch).to("cpu")
        return predictions, state


def _nothing() -> None:
    """On a CPU there is nothing to wait for."""
