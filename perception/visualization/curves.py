"""Plots of a run: precision over recall, loss over iterations, histograms, numbers by group."""

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


def decay_figure(
    sizes: Sequence[float], curves: Mapping[str, Sequence[float]], title: str, xlabel: str, ylabel: str
) -> Figure:
    """Numbers over sizes, both on logarithmic axes, where a power law is a straight line."""
    figure, axes = _figure(title, xlabel, ylabel)
    for name, values in curves.items():
        axes.plot(sizes, np.asarray(values, dtype=float), label=name, linewidth=1.4, marker="o", markersize=3)
    axes.set_xscale("log", base=2)
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


def error_figure(samples: Mapping[str, Sequence[float]], title: str) -> Figure:
    """Histogram of errors, one outline a class in its colour; what lies beyond the 99th percentile is in the last bin.

    Args:
        samples: errors by class name, one or more of each.
        title: name of the error with its unit.
    """
    figure, axes = _figure(title, title, "matches")
    values = {name: np.asarray(errors, dtype=float) for name, errors in samples.items()}
    highest = float(np.quantile(np.concatenate(list(values.values())), 0.99)) or 1.0
    for name, errors in values.items():
        red, green, blue = (level / 255 for level in class_color(name))
        clipped = np.minimum(errors, highest)
        axes.hist(clipped, bins=40, range=(0.0, highest), histtype="step", label=name, color=(red, green, blue),
                  linewidth=1.4)
    axes.legend(fontsize=7, ncols=2)
    return figure


def group_figure(values: Mapping[str, Sequence[float]], groups: Sequence[str], title: str) -> Figure:
    """Bars of a number in [0, 1], a bundle a group and a bar a class in its colour; NaN leaves a gap."""
    figure, axes = _figure(title, "", "")
    width = 0.8 / max(len(values), 1)
    for place, (name, numbers) in enumerate(values.items()):
        color = np.array(class_color(name)) / 255
        offsets = np.arange(len(groups)) + (place + 0.5) * width - 0.4
        axes.bar(offsets, np.asarray(numbers, dtype=float), width, label=name, color=color)
    axes.set_xticks(range(len(groups)), groups, fontsize=8)
    axes.set_ylim(0, 1.02)
    axes.legend(fontsize=7, ncols=2)
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
