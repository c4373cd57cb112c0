"""What a metric says of a file of predictions: numbers, a table, and what the report draws."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from rich.table import Table


@dataclass(frozen=True, eq=False)
class Breakdown:
    """A number by class and by group of objects, such as the recall by range.

    Args:
        title: of the plot and the table.
        groups: G names.
        values: G numbers by class; NaN where there is nothing to count.
        text: what is counted how.
    """

    title: str
    groups: Sequence[str]
    values: Mapping[str, Sequence[float]]
    text: str = ""


@dataclass(frozen=True, eq=False)
class ScorePlots:
    """What a report shows besides the table.

    Args:
        curves: precision at evenly spaced recalls from 0 to 1 by class, by the title of a plot.
        errors: samples by class, by the name of the error with its unit.
        errors_text: which errors these are.
        breakdowns: in their order.
    """

    curves: Mapping[str, Mapping[str, np.ndarray]] = field(default_factory=dict)
    errors: Mapping[str, Mapping[str, np.ndarray]] = field(default_factory=dict)
    errors_text: str = ""
    breakdowns: Sequence[Breakdown] = ()


@dataclass(frozen=True, eq=False)
class ScoredFiles:
    """The scores of a file of predictions.

    Args:
        title: of the metric.
        metrics: one number a name.
        table: what is printed.
        notes: what a reader should know of the files, a sentence each.
        plots: makes what only the report needs, when it is asked for.
    """

    title: str
    metrics: Mapping[str, float]
    table: Table
    notes: Sequence[str] = ()
    plots: Callable[[], ScorePlots] = ScorePlots


def plain_table(title: str, header: Sequence[str], rows: Sequence[Sequence[Any]]) -> Table:
    """A rich table of names and numbers; the last row holds the means. NaN is a dash."""
    from rich.table import Table

    table = Table(title=title)
    for place, heading in enumerate(header):
        table.add_column(heading, justify="right" if place else "left", no_wrap=not place)
    for number, row in enumerate(rows):
        is_last = number == len(rows) - 1
        if is_last:
            table.add_section()
        table.add_row(*map(_cell, row), style="bold" if is_last else None)
    return table


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return "-" if math.isnan(value) else f"{value:.3f}"
    return str(value)
