"""How long each stage took, and what that comes to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..atomic_write import write_json
from .pace import Clock

if TYPE_CHECKING:
    from rich.table import Table

STAGES = ("load", "preprocess", "network", "decode", "total")
PERCENTILES = (50, 90, 99)


@dataclass
class StageTimes:
    """Seconds of every frame by stage; "total" is the sum of the others.

    Args:
        clock: what time is read from.
    """

    clock: Clock
    seconds: dict[str, list[float]] = field(default_factory=lambda: {stage: [] for stage in STAGES})

    @contextmanager
    def measure(self, stage: str) -> Iterator[None]:
        """Time the body as one frame's ``stage``."""
        began = self.clock.now()
        yield
        self.seconds[stage].append(self.clock.now() - began)

    def close_frame(self) -> None:
        """Add the frame's total."""
        self.seconds["total"].append(sum(self.seconds[stage][-1] for stage in STAGES[:-1]))

    def samples_ms(self) -> dict[str, list[float]]:
        """The time of every frame [ms] by stage, to the microsecond."""
        return {stage: [round(value * 1e3, 3) for value in values] for stage, values in self.seconds.items()}

    def summary_ms(self) -> dict[str, dict[str, float]]:
        """p50, p90, p99, mean and max [ms] by stage; empty if no frame was timed."""
        return {stage: _summary(np.array(values) * 1e3) for stage, values in self.seconds.items() if values}


def _summary(milliseconds: np.ndarray) -> dict[str, float]:
    """Percentiles (linear between the two nearest values), mean and maximum of (N,) values, N >= 1."""
    figures = {f"p{rank}": float(np.percentile(milliseconds, rank)) for rank in PERCENTILES}
    return {**figures, "mean": float(milliseconds.mean()), "max": float(milliseconds.max())}


@dataclass(frozen=True)
class ReplayReport:
    """The figures of one replay.

    Args:
        frames: frames that went through the detector.
        dropped: frames that were released while the detector was busy with another.
        rate: speed relative to the recording, 0 for as fast as it goes.
        recorded_s: time between the first and the last frame of the recording that was reached [s].
        wall_s: time that the replay took [s].
        latency_ms: p50, p90, p99, mean and max by stage [ms].
        samples_ms: the same of every frame, for histograms.
    """

    frames: int
    dropped: int
    rate: float
    recorded_s: float
    wall_s: float
    latency_ms: Mapping[str, Mapping[str, float]]
    samples_ms: Mapping[str, Sequence[float]] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Plain numbers, as in ``latency.json``."""
        return asdict(self)

    def save(self, folder: Path | str) -> Path:
        """Write ``latency.json`` into a folder; returns its path."""
        return write_json(Path(folder) / "latency.json", self.as_dict())

    def table(self) -> Table:
        """A rich table: a line a stage."""
        from rich.table import Table

        pace = f"{self.rate:g} x the recorded pace" if self.rate else "as fast as it goes"
        table = Table(title=f"{self.frames} frames in {self.wall_s:.1f} s ({pace}), {self.dropped} dropped")
        columns = [*(f"p{rank}" for rank in PERCENTILES), "mean", "max"]
        for heading in ("stage", *(f"{column} (ms)" for column in columns)):
            table.add_column(heading, justify="left" if heading == "stage" else "right")
        for stage, figures in self.latency_ms.items():
            style = "bold" if stage == "total" else None
            table.add_row(stage, *(f"{figures[column]:.1f}" for column in columns), style=style)
        return table
