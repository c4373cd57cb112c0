"""Scores of a file of predictions on one page: the table, curves, errors and breakdowns."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from perception.evaluation.files.scored_files import Breakdown, ScoredFiles

from .curves import error_figure, group_figure, precision_recall_figure
from .report import Report

CLASSES_DRAWN = 12                                         # of a plot; tables hold all


def score_report(scored: ScoredFiles) -> Report:
    """The page."""
    report = Report(scored.title)
    report.section("Scores", " ".join(scored.notes))
    columns = [[str(cell) for cell in column.cells] for column in scored.table.columns]
    report.table([str(column.header) for column in scored.table.columns], list(zip(*columns, strict=True)))
    plots = scored.plots()
    if plots.curves:
        report.section("Precision over recall")
        for title, curves in plots.curves.items():
            chosen = sorted(curves, key=lambda name: -float(np.mean(curves[name])))[:CLASSES_DRAWN]
            report.figure(precision_recall_figure({name: curves[name].tolist() for name in chosen}, title), title)
    if plots.errors:
        report.section("Errors of matched boxes", plots.errors_text)
        for name, samples in plots.errors.items():
            most = sorted(samples, key=lambda label: -len(samples[label]))[:CLASSES_DRAWN]
            report.figure(error_figure({label: samples[label].tolist() for label in most}, name), name)
        report.table(("class", "matches", *(f"median {name}" for name in plots.errors)), _medians(plots.errors))
    for breakdown in plots.breakdowns:
        _add_breakdown(report, breakdown)
    report.section("All numbers")
    report.table(("metric", "value"), [[name, float(value)] for name, value in scored.metrics.items()])
    return report


def _medians(errors: Mapping[str, Mapping[str, np.ndarray]]) -> list[list[object]]:
    """A row a class: the number of matches, and the median of every error."""
    first = next(iter(errors.values()))
    rows: list[list[object]] = []
    for label in first:
        samples = [by_class.get(label) for by_class in errors.values()]
        medians = [math.nan if own is None or not len(own) else float(np.median(own)) for own in samples]
        rows.append([label, len(first[label]), *medians])
    return rows


def _add_breakdown(report: Report, breakdown: Breakdown) -> None:
    report.section(breakdown.title[:1].upper() + breakdown.title[1:], breakdown.text)
    drawn = dict(list(breakdown.values.items())[:CLASSES_DRAWN])
    report.figure(group_figure(drawn, breakdown.groups, breakdown.title), breakdown.title)
    rows = [[name, *(float(value) for value in values)] for name, values in breakdown.values.items()]
    report.table(("class", *breakdown.groups), rows)
