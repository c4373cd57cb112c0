"""Predictions as JSON lines, one frame a line: token, timestamp_ns, boxes, scores, names.

A box is x y z length width height yaw [m, rad], ego frame, and vx vy [m/s] for models that give them.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import torch

from ..errors import DataError
from .boxes3d import Boxes3D
from .predictions import Predictions


def prediction_line(predictions: Predictions) -> str:
    """One frame as JSON. Lengths are rounded to 0.1 mm, scores to six digits; a number that is unknown is null."""
    record = {
        "token": predictions.token,
        "timestamp_ns": predictions.timestamp_ns,
        "boxes": [[_short(value) for value in row] for row in predictions.boxes.tensor.tolist()],
        "scores": [round(score, 6) for score in predictions.scores.tolist()],
        "names": predictions.names(),
    }
    return json.dumps(record, allow_nan=False)


def _short(value: float) -> float | None:
    return round(value, 4) if math.isfinite(value) else None


def read_prediction_lines(path: Path | str) -> dict[str, Predictions]:
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


def _read_line(place: str, line: str) -> Predictions:
    try:
        record = json.loads(line)
    except ValueError as error:
        raise DataError(place, "line", "a JSON object", error) from error
    fields = {"token": str, "timestamp_ns": int, "boxes": list, "scores": list, "names": list}
    for field, kind in fields.items():
        if not isinstance(record, dict) or not isinstance(record.get(field), kind):
            got = type(record.get(field)).__name__ if isinstance(record, dict) else type(record).__name__
            raise DataError(place, field, f"a value of type {kind.__name__}", got)
    return _predictions(place, record)


def _predictions(place: str, record: dict[str, Any]) -> Predictions:
    names = [str(name) for name in record["names"]]
    classes = tuple(sorted(set(names)))
    rows = [[math.nan if value is None else value for value in row] for row in record["boxes"]]
    try:
        return Predictions(
            token=record["token"],
            timestamp_ns=record["timestamp_ns"],
            boxes=Boxes3D(torch.tensor(rows, dtype=torch.float32) if rows else torch.zeros(0, 7)),
            scores=torch.tensor(record["scores"], dtype=torch.float32),
            labels=torch.tensor([classes.index(name) for name in names], dtype=torch.int64),
            classes=classes,
        )
    except (TypeError, ValueError) as error:
        raise DataError(place, "boxes", "as many boxes of 7 or 9 numbers as scores and names", error) from error
