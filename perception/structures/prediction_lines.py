"""Predictions as JSON lines, one frame a line: token, timestamp_ns, what was found, scores, names.

What was found is ``boxes`` or ``lines``, all in the ego frame. A box is x y z length width height yaw [m, rad], and
vx vy [m/s] for models that give them; a map line is a list of vertices x y or x y z [m]. ``lanes`` holds the lane graph
of models that give one, see `perception.structures.lane_records`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from ..errors import DataError
from .boxes3d import Boxes3D
from .lane_records import lane_graph_of, lane_record, rounded
from .polylines import Polylines
from .predictions import FramePredictions, Predictions
from .vector_map import MapPredictions


def prediction_line(predictions: FramePredictions) -> str:
    """One frame as JSON. Lengths are rounded to 0.1 mm, scores to six digits; a number that is unknown is null."""
    record: dict[str, Any] = {"token": predictions.token, "timestamp_ns": predictions.timestamp_ns}
    if isinstance(predictions, MapPredictions):
        record["lines"] = [rounded(line) for line in predictions.lines]
    else:
        record["boxes"] = rounded(predictions.boxes.tensor)
    record["scores"] = rounded(predictions.scores, 6)
    record["names"] = predictions.names()
    if isinstance(predictions, MapPredictions) and predictions.lanes is not None:
        record["lanes"] = lane_record(predictions.lanes)
    return json.dumps(record, allow_nan=False)


def read_prediction_lines(path: Path | str) -> dict[str, FramePredictions]:
    """Predictions by frame token, as `prediction_line` wrote them; their classes are the names that occur in a frame.

    Raises:
        DataError: the file is absent, or a line is malformed (the line and the field are named).
    """
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(path, "file", "predictions as JSON lines", error) from error
    found = (_read_line(f"{path}:{number}", line) for number, line in enumerate(lines, start=1) if line.strip())
    return {predictions.token: predictions for predictions in found}


def _read_line(place: str, line: str) -> FramePredictions:
    try:
        record = json.loads(line)
    except ValueError as error:
        raise DataError(place, "line", "a JSON object", error) from error
    kind = "lines" if isinstance(record, dict) and "lines" in record else "boxes"
    fields = {"token": str, "timestamp_ns": int, kind: list, "scores": list, "names": list}
    for field, wanted in fields.items():
        if not isinstance(record, dict) or not isinstance(record.get(field), wanted):
            got = type(record.get(field)).__name__ if isinstance(record, dict) else type(record).__name__
            raise DataError(place, field, f"a value of type {wanted.__name__}", got)
    return _map_predictions(place, record) if kind == "lines" else _box_predictions(place, record)


def _box_predictions(place: str, record: dict[str, Any]) -> Predictions:
    rows = [[math.nan if value is None else value for value in row] for row in record["boxes"]]

    def build() -> Predictions:
        boxes = Boxes3D(torch.tensor(rows, dtype=torch.float32) if rows else torch.zeros(0, 7))
        return Predictions(boxes=boxes, **_columns(record))

    return _checked(build, place, "boxes", "as many boxes of 7 or 9 numbers as scores and names")


def _map_predictions(place: str, record: dict[str, Any]) -> MapPredictions:
    lanes = record.get("lanes")
    graph = None if lanes is None else _checked(lambda: lane_graph_of(lanes), place, "lanes", "a lane graph")

    def build() -> MapPredictions:
        lines = Polylines.from_lines([torch.tensor(line, dtype=torch.float32) for line in record["lines"]])
        return MapPredictions(lines=lines, lanes=graph, **_columns(record))

    return _checked(build, place, "lines", "as many lines of vertices x y (z) as scores and names")


def _columns(record: dict[str, Any]) -> dict[str, Any]:
    """What both kinds have in common."""
    names = [str(name) for name in record["names"]]
    classes = tuple(sorted(set(names)))
    return {
        "token": record["token"],
        "timestamp_ns": record["timestamp_ns"],
        "scores": torch.tensor(record["scores"], dtype=torch.float32),
        "labels": torch.tensor([classes.index(name) for name in names], dtype=torch.int64),
        "classes": classes,
    }


def _checked(build: Callable[[], Any], place: str, field: str, expected: str) -> Any:
    try:
        return build()
    except (AttributeError, KeyError, IndexError, RuntimeError, TypeError, ValueError) as error:
        raise DataError(place, field, expected, error) from error
