"""Argoverse 2's table of scores from the flags of the boxes: AP, the three errors and CDS of each category.

The operations of av2's ``summarize_metrics`` in its order, on arrays instead of tables.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .argoverse2_columns import ERRORS, BoxTables
from .argoverse2_settings import Argoverse2Settings

if TYPE_CHECKING:
    import pandas as pd

EPSILON = float(np.finfo(np.float64).eps)
COLUMNS = ("AP", *ERRORS, "CDS")


def summarize(
    tables: BoxTables, flags: np.ndarray, label_flags: np.ndarray, settings: Argoverse2Settings
) -> pd.DataFrame:
    """A row a category, with AP, ATE [m], ASE, AOE [rad] and CDS.

    A category without labels that count has AP 0, the worst errors and CDS 0.

    Args:
        tables: detections and labels.
        flags: (N, T + 4) of the detections, see `match_boxes`.
        label_flags: (M, T + 4) of the labels.
        settings: categories, thresholds and recalls.
    """
    import pandas as pd

    rows = np.tile([0.0, *settings.worst_errors, 0.0], (len(settings.categories), 1))                # (C, 5)
    codes = {name: code for code, name in enumerate(tables.category_names)}
    detections, labels = tables.detections, tables.labels
    num_labels = np.bincount(labels.categories[label_flags[:, -1] > 0], minlength=len(codes))
    order = np.lexsort((-detections.last, detections.categories))
    order = order[flags[order, -1] > 0]
    categories = detections.categories[order]
    for row, name in zip(rows, settings.categories, strict=True):
        code = codes.get(name)
        if code is not None and num_labels[code]:
            begin, end = np.searchsorted(categories, [code, code + 1])
            row[:] = _category_row(flags[order[begin:end], :-1], float(num_labels[code]), settings)
    columns = {name: rows[:, place].copy() for place, name in enumerate(COLUMNS)}
    return pd.DataFrame(columns, index=list(settings.categories))


def average_precision(is_right: np.ndarray, recalls: np.ndarray, num_labels: float) -> float:
    """Mean over some recalls of the best precision at that recall or more, linear in between; 0 beyond the last.

    Args:
        is_right: (P,) bool by falling score, one or more.
        recalls: (R,) in [0, 1].
        num_labels: labels that count, > 0.
    """
    right, wrong = np.cumsum(is_right), np.cumsum(~is_right)
    precision = right / (right + wrong + EPSILON)
    recall = right / (right + (num_labels - right))
    precision = np.maximum.accumulate(precision[::-1])[::-1]
    return float(np.mean(np.interp(recalls, recall, precision, right=0)))


def _category_row(flags: np.ndarray, num_labels: float, settings: Argoverse2Settings) -> np.ndarray:
    """(5,) of the (P, T + 3) flags of one category's detections, best first."""
    limits = settings.affinity_thresholds_m
    recalls = np.linspace(0, 1, settings.num_recall_samples, endpoint=True)
    precisions = np.zeros(len(limits))
    if len(flags):
        for column in range(len(limits)):
            precisions[column] = average_precision(flags[:, column] > 0, recalls, num_labels)
    worst = np.array(settings.worst_errors)
    errors = worst
    is_right = flags[:, len(limits) // 2] > 0
    if is_right.any():
        errors = np.ascontiguousarray(flags[is_right, len(limits) :].T).mean(axis=1)                 # (3,)
    ap = precisions.mean()
    return np.array([ap, *errors, ap * np.mean(1 - np.divide(errors, worst))])
