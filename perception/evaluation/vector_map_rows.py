"""True and predicted map elements of a frame as the rows that `VectorMapMetric` stores."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from .frame_file import Column
from .maps.elements import MapElements

COLUMNS = {                                                # a row an element, the true ones first
    "is_truth": Column("bool"),
    "labels": Column("int64"),
    "scores": Column("float64"),                           # NaN for the truth
    "counts": Column("int64"),
    "vertices": Column("float64", (3,), counted_by="counts"),                    # z is NaN where lines are planar
}


def rows_of_elements(truth: MapElements, predictions: MapElements) -> dict[str, np.ndarray]:
    """The elements of one frame as `COLUMNS`. Raises ValueError if the predictions have no scores."""
    if predictions.scores is None:
        raise ValueError("predictions must have scores, got None")
    parts = (truth, predictions)
    return {
        "is_truth": np.repeat([True, False], [len(truth), len(predictions)]),
        "labels": np.concatenate([part.labels for part in parts]),
        "scores": np.concatenate([np.full(len(truth), np.nan), predictions.scores]),
        "counts": np.concatenate([part.counts for part in parts]),
        "vertices": np.concatenate([_in_space(part.vertices) for part in parts]),
    }


def elements_of_rows(rows: Mapping[str, np.ndarray]) -> tuple[MapElements, MapElements]:
    """Truth and predictions that `rows_of_elements` was given; they share the memory of the rows."""
    P = int(rows["is_truth"].sum())
    counts, labels = rows["counts"], rows["labels"]
    true_vertices, vertices = np.split(rows["vertices"], [int(counts[:P].sum())])
    return (
        MapElements(_as_given(true_vertices), counts[:P], labels[:P]),
        MapElements(_as_given(vertices), counts[P:], labels[P:], rows["scores"][P:]),
    )


def _in_space(vertices: np.ndarray) -> np.ndarray:
    """(V, 2 or 3) -> (V, 3)."""
    return np.pad(vertices, ((0, 0), (0, 3 - vertices.shape[1])), constant_values=np.nan)


def _as_given(vertices: np.ndarray) -> np.ndarray:
    """(V, 3) -> (V, 2) if they have no z, else (V, 3)."""
    return vertices[:, :2] if np.isnan(vertices[:, 2]).all() else vertices
