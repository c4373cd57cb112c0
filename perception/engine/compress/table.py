"""Figures before and after compression, as a table and as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .data import PREFERRED
from .measure import Measured
from .run import CompressionRun

if TYPE_CHECKING:
    from rich.table import Table

FIGURES = (                                        # heading, attribute, unit's size, decimals
    ("parameters", "parameters", 1, 0), ("weights (KiB)", "num_bytes", 1024, 1), ("file (KiB)", "file_bytes", 1024, 1),
    ("GFLOP", "flops", 1e9, 3), ("p50 (ms)", "p50_ms", 1, 2), ("p99 (ms)", "p99_ms", 1, 2),
)


def table(done: CompressionRun) -> Table:
    """A line a figure: before, after, and how many times smaller (of a metric, the change)."""
    from rich.table import Table

    title = " + ".join(_words(method) for method in done.methods)
    shown = Table(title=title)
    for heading in ("", "before", "after", "smaller by"):
        shown.add_column(heading, justify="left" if heading == "" else "right")
    for name, value in done.before.metrics.items():
        if name == done.metric or name.rsplit("/", 1)[-1] in PREFERRED:
            after = done.after.metrics[name]
            shown.add_row(name, f"{value:.4f}", f"{after:.4f}", f"{after - value:+.4f}")
    for heading, attribute, size, decimals in FIGURES:
        before, after = (getattr(one, attribute) / size for one in (done.before, done.after))
        ratio = f"{before / after:.3f} x" if after else "-"
        shown.add_row(heading, f"{before:,.{decimals}f}", f"{after:,.{decimals}f}", ratio)
    return shown


def record(done: CompressionRun) -> dict[str, Any]:
    """All of it as JSON."""
    return {
        "methods": [dict(method) for method in done.methods], "config": str(done.config),
        "checkpoint": str(done.checkpoint), "metric": done.metric,
        "before": done.before.record(), "after": done.after.record(),
        "compressed": {name: list(report.compressed) for name, report in done.reports},
        "notes": {name: dict(report.notes) for name, report in done.reports}, "left_float": list(done.left_float),
    }


def figure(measured: Measured, metric: str, objective: str) -> tuple[float, float]:
    """(cost, 1 - metric) of a model; the cost is its bytes or its median time."""
    cost = measured.num_bytes if objective == "bytes" else measured.p50_ms
    return float(cost), 1.0 - measured.metrics[metric]


def _words(method: Any) -> str:
    settings = " ".join(f"{key}={value}" for key, value in method.items() if key != "type")
    return f"{method['type']} {settings}".strip()
