"""Tables of Argoverse 2 boxes as sorted columns of numbers, with common codes for logs, times and categories."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..argoverse2_results import BOX_COLUMNS, UUID_COLUMNS

if TYPE_CHECKING:
    import pandas as pd

SWEEP_COLUMNS = (*UUID_COLUMNS, "category")
ERRORS = ("ATE", "ASE", "AOE")


@dataclass(frozen=True, eq=False)
class BoxColumns:
    """Boxes by log, time and category; within these in the order of their table.

    Args:
        order: (K,) int64 row of the table that each box stands in.
        boxes: (K, 10) float64 centre [m], length width height [m], quaternion w x y z; ego frame.
        last: (K,) float64 score of a detection, number of points of a label.
        logs: (K,) int64 code of the log, rising.
        times_ns: (K,) int64 time of the sweep.
        categories: (K,) int64 code of the category.
        groups: (K,) int64 code of log, time and category together, rising; the same code means the same in both tables.
    """

    order: np.ndarray
    boxes: np.ndarray
    last: np.ndarray
    logs: np.ndarray
    times_ns: np.ndarray
    categories: np.ndarray
    groups: np.ndarray

    def __len__(self) -> int:
        return len(self.order)


@dataclass(frozen=True, eq=False)
class BoxTables:
    """Detections and labels as columns.

    Args:
        detections: with their scores.
        labels: with the numbers of their points.
        log_names: name of each log code.
        category_names: name of each category code.
    """

    detections: BoxColumns
    labels: BoxColumns
    log_names: list[str]
    category_names: list[str]

    @classmethod
    def of_frames(cls, detections: pd.DataFrame, labels: pd.DataFrame) -> BoxTables:
        """From two checked tables."""
        import pandas as pd

        logs, log_names = _common_codes([detections["log_id"], labels["log_id"]])
        categories, category_names = _common_codes([detections["category"], labels["category"]])
        times = np.concatenate([table["timestamp_ns"].to_numpy(np.int64) for table in (detections, labels)])
        moments, moment_values = pd.factorize(times, sort=True)
        sweeps, _ = pd.factorize(logs * max(len(moment_values), 1) + moments, sort=True)   # denser: no overflow below
        groups = sweeps.astype(np.int64) * max(len(category_names), 1) + categories
        parts = []
        for table, last, rows in (
            (detections, "score", slice(0, len(detections))),
            (labels, "num_interior_pts", slice(len(detections), None)),
        ):
            order = np.argsort(groups[rows], kind="stable")
            codes = (column[rows][order] for column in (logs, times, categories, groups))
            boxes, values = _numbers(table, BOX_COLUMNS, order), _numbers(table, (last,), order)[:, 0]
            parts.append(BoxColumns(order, boxes, values, *codes))
        return cls(parts[0], parts[1], log_names, category_names)


def with_flags(table: pd.DataFrame, thresholds: tuple[float, ...], flags: np.ndarray) -> pd.DataFrame:
    """A copy of the table with (N, T + 4) flags of its rows as further columns.

    Those of the thresholds have the threshold itself as their name; ATE, ASE, AOE and ``is_evaluated`` follow.
    """
    table = table.copy(deep=False)
    for column, name in enumerate((*thresholds, *ERRORS, "is_evaluated")):
        table[name] = flags[:, column]
    return table


def check_table(name: str, table: pd.DataFrame, last: str) -> None:
    """Raises ValueError if a column is missing or holds what no box can have."""
    import pandas as pd

    missing = [column for column in (*SWEEP_COLUMNS, *BOX_COLUMNS, last) if column not in table.columns]
    if missing:
        raise ValueError(f"{name} lack the column {missing[0]!r}; they have {', '.join(map(str, table.columns))}")
    for column in ("log_id", "category"):
        if table[column].isna().any():
            raise ValueError(f"{name} hold a row without {column}")
    if len(table) and not pd.api.types.is_integer_dtype(table["timestamp_ns"]):
        raise ValueError(f"timestamp_ns of the {name} must be integers, got {table['timestamp_ns'].dtype}")
    numbers = table[[*BOX_COLUMNS, last]].to_numpy(dtype=np.float64)                     # (N, 11)
    if not np.isfinite(numbers).all():
        raise ValueError(f"{name} hold numbers that are not finite")
    has_heading = (numbers[:, 6:10] ** 2).sum(axis=1) > 0.0
    if not has_heading.all():
        raise ValueError(f"{name} hold a quaternion of length 0 in row {int(np.argmin(has_heading))}")


def _common_codes(columns: list[pd.Series]) -> tuple[np.ndarray, list[str]]:
    """The codes of the texts of all columns, one after the other, and the texts, sorted."""
    import pandas as pd

    codes, names = pd.factorize(pd.concat([column.astype(str) for column in columns], ignore_index=True), sort=True)
    return codes.astype(np.int64), [str(name) for name in names]


def _numbers(table: pd.DataFrame, columns: tuple[str, ...], order: np.ndarray) -> np.ndarray:
    """(K, C) float64 in an order."""
    numbers = np.empty((len(table), len(columns)))
    for place, column in enumerate(columns):
        numbers[:, place] = table[column].to_numpy(dtype=np.float64)[order]
    return numbers
