"""A measured line: what the tables show and the JSON files hold."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Row:
    """One line; what was not measured is None.

    Args:
        name: what was timed.
        size: points, pillars, tokens, boxes, map elements or pixels that it was given.
        dtype: of the features, or of the autocast region.
        threads: threads of torch.
        ms: median time [ms].
        reference_ms: median time of what it is compared with, called in turn with it [ms].
        ratio: median over the rounds of reference over own time; above 1 is faster than the reference.
        ratio_q1: lower quartile of that.
        ratio_q3: upper quartile.
        stage: part of a model.
        variant: how the model is run, see `segmentation.VARIANTS`.
        share: of the time of the whole, of which this is a part.
        p50_ms: half of the calls took no longer [ms].
        p90_ms: nine of ten.
        p99_ms: 99 of 100; of fewer calls, close to the slowest.
        peak_mib: most memory held during a call beyond what was held before, see `memory.peak_mib` [MiB].
        reference_peak_mib: that of the reference.
        parameters: learnt numbers.
        gflop: operations of matrix products, convolutions and attention in a call, two for each multiply-add [10^9].
        gflops: those in a second [GFLOP/s].
        gbps: bytes of inputs and results, each moved once, in a second [GB/s].
        fraction_of_peak: of the matrix-multiply peak where operations are counted, else of the copy bandwidth.
        r_squared: of the straight line through all sizes.
        time_exponent: p of time ~ size^p, see `scaling.fitted_exponent`.
        memory_exponent: that of the peak memory.
        samples: frames of an evaluation.
        score: its headline number.
        reference_score: the same number of the reference.
        identical: whether every number of the evaluation is that of the reference, to 1e-9.
    """

    name: str
    size: int
    dtype: str
    threads: int
    ms: float
    reference_ms: float | None = None
    ratio: float | None = None
    ratio_q1: float | None = None
    ratio_q3: float | None = None
    stage: str | None = None
    variant: str | None = None
    share: float | None = None
    p50_ms: float | None = None
    p90_ms: float | None = None
    p99_ms: float | None = None
    peak_mib: float | None = None
    reference_peak_mib: float | None = None
    parameters: int | None = None
    gflop: float | None = None
    gflops: float | None = None
    gbps: float | None = None
    fraction_of_peak: float | None = None
    r_squared: float | None = None
    time_exponent: float | None = None
    memory_exponent: float | None = None
    samples: int | None = None
    score: float | None = None
    reference_score: float | None = None
    identical: bool | None = None


REQUIRED = ("name", "size", "dtype", "threads", "ms", "reference_ms", "ratio")
OF_EVALUATIONS = ("samples", "identical")           # what every row of an evaluation tells, if only that it is unknown
UNLESS_ALIKE = ("dtype", "threads")                 # columns that a table leaves out where they hold one value
HEADINGS = {                                       # field: (heading, format)
    "name": ("", "{}"),
    "stage": ("stage", "{}"),
    "variant": ("variant", "{}"),
    "samples": ("samples", "{:,}"),
    "size": ("size", "{:,}"),
    "dtype": ("dtype", "{}"),
    "threads": ("threads", "{}"),
    "ms": ("median (ms)", "{:.2f}"),
    "p90_ms": ("p90 (ms)", "{:.2f}"),
    "p99_ms": ("p99 (ms)", "{:.2f}"),
    "share": ("share", "{:.1%}"),
    "reference_ms": ("reference (ms)", "{:.2f}"),
    "ratio": ("ratio", "{:.2f}"),
    "ratio_q1": ("q1", "{:.2f}"),
    "ratio_q3": ("q3", "{:.2f}"),
    "gflop": ("GFLOP", "{:.2f}"),
    "gflops": ("GFLOP/s", "{:.1f}"),
    "gbps": ("GB/s", "{:.2f}"),
    "fraction_of_peak": ("of peak", "{:.1%}"),
    "peak_mib": ("peak (MiB)", "{:.1f}"),
    "reference_peak_mib": ("reference (MiB)", "{:.1f}"),
    "parameters": ("parameters", "{:,}"),
    "r_squared": ("R²", "{:.4f}"),
    "time_exponent": ("time ~ N^", "{:.2f}"),
    "memory_exponent": ("memory ~ N^", "{:.2f}"),
    "score": ("score", "{:.10f}"),
    "reference_score": ("reference score", "{:.10f}"),
    "identical": ("identical", "{}"),
}


def as_records(rows: Iterable[Row]) -> list[dict[str, Any]]:
    """Rows for a JSON file: `REQUIRED` always, `OF_EVALUATIONS` where there are samples, else what was measured."""
    records = []
    for row in rows:
        always = REQUIRED if row.samples is None else (*REQUIRED, *OF_EVALUATIONS)
        records.append({key: value for key, value in asdict(row).items() if value is not None or key in always})
    return records


def as_table(rows: Sequence[Row]) -> tuple[list[str], list[list[str]]]:
    """Headings and cells of the columns that tell something."""
    values = {name: [getattr(row, name) for row in rows] for name in HEADINGS}
    shown = [
        name for name, column in values.items()
        if any(value is not None for value in column) and not (name in UNLESS_ALIKE and len(set(column)) == 1)
    ]
    cells = [[_cell(getattr(row, name), HEADINGS[name][1]) for name in shown] for row in rows]
    return [HEADINGS[name][0] for name in shown], cells


def _cell(value: Any, form: str) -> str:
    return "" if value is None else form.format(value)


def compared(own_ms: np.ndarray, reference_ms: np.ndarray) -> dict[str, float]:
    """The columns of a comparison: medians, and quartiles of the ratio round by round.

    Args:
        own_ms: (rounds,) times [ms].
        reference_ms: (rounds,) times of the reference in the same rounds [ms].
    """
    first, middle, third = np.quantile(reference_ms / own_ms, [0.25, 0.5, 0.75])
    return {
        "ms": float(np.median(own_ms)), "reference_ms": float(np.median(reference_ms)),
        "ratio": float(middle), "ratio_q1": float(first), "ratio_q3": float(third),
    }


def percentiles(times_ms: np.ndarray) -> dict[str, float]:
    """The columns of a latency: median and upper percentiles of (rounds,) times [ms]."""
    p50, p90, p99 = (float(value) for value in np.quantile(times_ms, [0.5, 0.9, 0.99]))
    return {"ms": p50, "p50_ms": p50, "p90_ms": p90, "p99_ms": p99}
