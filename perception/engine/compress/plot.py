"""Several settings of a compressor on one picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ...atomic_write import atomic_path
from ...compression.pareto import pareto_front
from .run import CompressionRun
from .table import figure

AXES = {"bytes": "weights (KiB)", "latency": "p50 (ms)"}


def plot_pareto(path: Path, labels: Sequence[str], runs: Sequence[CompressionRun]) -> list[str]:
    """Draw the metric against bytes and against latency, with the fronts, as a PNG.

    Args:
        path: file to write.
        labels: of the settings.
        runs: one or more, of one source, which is drawn too; all were scored.

    Returns:
        Labels of the settings that no other beats in both bytes and metric, fewest bytes first.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    metric, names = runs[0].metric, ["before", *labels]
    measured = [runs[0].before, *(run.after for run in runs)]
    canvas = Figure(figsize=(11, 4.5), layout="constrained")
    FigureCanvasAgg(canvas)
    kept: dict[str, list[str]] = {}
    for objective, axes in zip(AXES, canvas.subplots(1, 2), strict=True):
        points = [figure(one, metric, objective) for one in measured]
        size = 1024 if objective == "bytes" else 1
        costs, values = [cost / size for cost, _ in points], [1 - loss for _, loss in points]
        front = pareto_front(points)
        kept[objective] = [names[place] for place in front]
        axes.plot([costs[place] for place in front], [values[place] for place in front], color="tab:blue")
        axes.scatter(costs, values, color=["tab:gray", *["tab:blue"] * len(runs)])
        for cost, value, name in zip(costs, values, names, strict=True):
            axes.annotate(name, (cost, value), textcoords="offset points", xytext=(4, 4), fontsize=8)
        axes.set(xlabel=AXES[objective], ylabel=metric)
    with atomic_path(path) as temporary:
        canvas.savefig(temporary, format="png", dpi=120)
    return kept["bytes"]
