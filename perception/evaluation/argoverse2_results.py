"""The official Argoverse 2 submission table: one feather file, a row a detection, in the ego frame of its sweep."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from perception.atomic_write import atomic_path
from perception.datasets.argoverse2 import CLASSES
from perception.errors import suggestion
from perception.structures import Predictions

from .frame_file import Column

if TYPE_CHECKING:
    import pandas as pd

UUID_COLUMNS = ("log_id", "timestamp_ns")
BOX_COLUMNS = ("tx_m", "ty_m", "tz_m", "length_m", "width_m", "height_m", "qw", "qx", "qy", "qz")   # av2's order
CATEGORIES = (*CLASSES, "ANIMAL", "OFFICIAL_SIGNALER", "RAILED_VEHICLE", "TRAFFIC_LIGHT_TRAILER")    # annotated ones
STORED_COLUMNS = {                                         # of a sweep's detections
    **{name: Column("float64") for name in (*BOX_COLUMNS, "score")},
    "category": Column("int8"),                            # index into `CATEGORIES`
}


def argoverse2_rows(predictions: Predictions, log_id: str) -> dict[str, Any]:
    """Columns of the submission table for one sweep, best first.

    Raises:
        ValueError: ``log_id`` is empty or a number is not finite.
    """
    if not log_id:
        raise ValueError(f"predictions of {predictions.token!r} belong to no log; Argoverse 2 results need its name")
    order = torch.argsort(predictions.scores, descending=True, stable=True)
    best = predictions[order].to("cpu")
    boxes = best.boxes.tensor.double().numpy()                               # (K, 7 or 9)
    scores = best.scores.double().numpy()                                    # (K,)
    if not np.isfinite(boxes[:, :7]).all() or not np.isfinite(scores).all():
        raise ValueError(f"predictions of {predictions.token!r} hold boxes or scores that are not finite")
    half_yaw, zero = boxes[:, 6] / 2, np.zeros(len(boxes))
    values = (*boxes[:, :6].T, np.cos(half_yaw), zero, zero, np.sin(half_yaw))
    columns: dict[str, Any] = dict(zip(BOX_COLUMNS, values, strict=True))
    return {
        **columns,
        "score": scores,
        "log_id": np.array([log_id] * len(best), dtype=object),
        "timestamp_ns": np.full(len(best), best.timestamp_ns, dtype=np.int64),
        "category": np.array(best.names(), dtype=object),
    }


def stored_rows(rows: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """The rows of one sweep as `STORED_COLUMNS`; which sweep it is must be kept beside them.

    Raises:
        ValueError: a category is none of Argoverse 2.
    """
    unknown = sorted(set(rows["category"]) - set(CATEGORIES))
    if unknown:
        hint = suggestion(unknown[0], CATEGORIES)
        raise ValueError(f"category must be one of Argoverse 2, got {unknown[0]!r}{hint}")
    numbers = {name: rows[name] for name in (*BOX_COLUMNS, "score")}
    return {**numbers, "category": np.array([CATEGORIES.index(name) for name in rows["category"]], np.int8)}


def rows_of_stored(columns: Mapping[str, np.ndarray], log_id: str, timestamp_ns: int) -> dict[str, Any]:
    """What `stored_rows` was given, of the sweep of that log and time."""
    K = len(columns["score"])
    return {
        **{name: columns[name] for name in (*BOX_COLUMNS, "score")},
        "log_id": np.full(K, log_id, dtype=object),
        "timestamp_ns": np.full(K, timestamp_ns, dtype=np.int64),
        "category": np.array(CATEGORIES, dtype=object)[columns["category"]],
    }


def concat_rows(sweeps: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """One table of the rows of several sweeps; without any, an empty table with all columns."""
    import pandas as pd

    names = (*BOX_COLUMNS, "score", *UUID_COLUMNS, "category")
    parts = list(sweeps)
    columns: dict[str, Any] = {}
    for name in names:
        kind = object if name in ("log_id", "category") else np.int64 if name == "timestamp_ns" else np.float64
        columns[name] = np.concatenate([np.zeros(0, dtype=kind), *(part[name] for part in parts)])
    return pd.DataFrame(columns).astype({"log_id": str, "category": str})


def write_argoverse2_results(sweeps: Iterable[Mapping[str, Any]], path: Path | str) -> Path:
    """Write rows of several sweeps (see `argoverse2_rows`) as the file that the evaluation server takes."""
    import pyarrow as pa
    from pyarrow import feather

    table = concat_rows(sweeps).sort_values("score", ascending=False, kind="stable")
    arrays = {name: pa.array(table[name].tolist(), type=_arrow_type(name)) for name in table.columns}
    with atomic_path(path) as temporary:
        feather.write_feather(pa.table(arrays), str(temporary), compression="lz4")
    return Path(path)


def _arrow_type(column: str) -> Any:
    import pyarrow as pa

    return {"log_id": pa.string(), "category": pa.string(), "timestamp_ns": pa.int64()}.get(column, pa.float64())
