"""Plots of a run: precision over recall, loss over iterations, latency histogram."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from .palette import class_color

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def precision_recall_figure(curves: Mapping[str, Sequence[float]], title: str) -> Figure:
    """Precision over recall, one line a class.

    Args:
        curves: precision at evenly spaced recalls from 0 to 1, by class name.
        title: heading of the plot.
    """
    figure, axes = _figure(title, "recall", "precision")
    for name, precision in curves.items():
        color = np.array(class_color(name)) / 255
        axes.plot(np.linspace(0, 1, len(precision)), precision, label=name, color=color, linewidth=1.4)
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1.02)
    axes.legend(fontsize=7, loc="lower left", ncols=2)
    return figure


def loss_figure(steps: Sequence[int], losses: Mapping[str, Sequence[float]]) -> Figure:
    """Losses over iterations on a logarithmic axis; not-finite values leave gaps."""
    figure, axes = _figure("training loss", "iteration", "loss")
    for name, values in losses.items():
        axes.plot(steps, np.asarray(values, dtype=float), label=name, linewidth=1.2)
    axes.set_yscale("log")
    axes.legend(fontsize=8)
    return figure


def latency_figure(samples_ms: Mapping[str, Sequence[float]]) -> Figure:
    """Histogram of the time a frame takes [ms], one outline a stage."""
    figure, axes = _figure("latency", "milliseconds a frame", "frames")
    for name, values in samples_ms.items():
        axes.hist(np.asarray(values, dtype=float), bins=30, histtype="step", label=name, linewidth=1.4)
    axes.legend(fontsize=8)
    return figure


def _figure(title: str, xlabel: str, ylabel: str) -> tuple[Figure, Axes]:
    from matplotlib.figure import Figure  # no pyplot: nothing global, no display needed

    figure = Figure(figsize=(5.6, 3.8), layout="constrained")
    axes = figure.add_subplot()
    axes.set_title(title, fontsize=10)
    axes.set_xlabel(xlabel)
    axes.set_ylabel(ylabel)
    axes.grid(alpha=0.25)
    return figure, axes
