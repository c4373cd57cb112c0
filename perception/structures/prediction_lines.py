"""Predictions as JSON lines, one frame a line: token, timestamp_ns, and what was found in one of five forms.

``boxes`` or ``lines``, with ``scores`` and ``names``, are all in the ego frame. A box is x y z length width height yaw
[m, rad], and vx vy [m/s] for models that give them; a map line is a list of vertices x y or x y z [m]. ``lanes`` holds
the lane graph of models that give one, see `perception.structures.lane_records`. ``pixels`` and ``points`` are what
segmentation gives: the masks lie in files beside the lines, see `perception.structures.mask_records`. ``place`` is what
geo-localization gives, see `perception.structures.geo_records`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from ..errors import DataError
from .boxes3d import Boxes3D
from .geo import GeoPrediction
from .geo_records import place_record, prediction_of_place
from .lane_records import lane_graph_of, lane_record, rounded
from .mask_records import pixel_reader, pixel_record, point_reader, point_record
from .point_labels import PointPredictions
from .polylines import Polylines
from .predictions import FramePredictions, Predictions
from .segmentation import SegmentationPredictions
from .vector_map import MapPredictions

FIELDS: dict[str, dict[str, type]] = {                     # what a line has besides token and timestamp_ns
    "boxes": {"boxes": list, "scores": list, "names": list},
    "lines": {"lines": list, "scores": list, "names": list},
    "pixels": {"pixels": dict},
    "points": {"points": dict},
    "place": {"place": dict},
}
Read = Callable[[], FramePredictions]


class PredictionLines(Mapping[str, FramePredictions]):
    """Predictions by frame token, in the order of the lines; masks are read from their files when asked for, each time.

    Args:
        read: what gives the predictions of a frame, by token.
    """

    def __init__(self, read: Mapping[str, Read]) -> None:
        self._read = dict(read)

    def __getitem__(self, token: str) -> FramePredictions:
        """Those of one frame. Raises DataError if a file of masks is gone or damaged."""
        return self._read[token]()

    def __iter__(self) -> Iterator[str]:
        return iter(self._read)

    def __len__(self) -> int:
        return len(self._read)

    def __contains__(self, token: object) -> bool:
        return token in self._read


def prediction_line(predictions: FramePredictions, file: Path | str | None = None) -> str:
    """One frame as JSON. Lengths are rounded to 0.1 mm, scores to six digits; a number that is unknown is null.

    Args:
        predictions: of the frame.
        file: the file that the line is for; masks are written beside it, before the line is given.

    Raises:
        ValueError: there are masks and no ``file``.
        DataError: masks cannot be written.
    """
    record: dict[str, Any] = {"token": predictions.token, "timestamp_ns": predictions.timestamp_ns}
    if isinstance(predictions, (SegmentationPredictions, PointPredictions)):
        if file is None:
            raise ValueError(f"predictions of frame {predictions.token} have masks: name the `file` they lie beside")
        if isinstance(predictions, SegmentationPredictions):
            record["pixels"] = pixel_record(predictions, Path(file))
        else:
            record["points"] = point_record(predictions, Path(file))
    elif isinstance(predictions, GeoPrediction):
        record["place"] = place_record(predictions)
    else:
        if isinstance(predictions, MapPredictions):
            record["lines"] = [rounded(line) for line in predictions.lines]
        else:
            record["boxes"] = rounded(predictions.boxes.tensor)
        record["scores"] = rounded(predictions.scores, 6)
        record["names"] = predictions.names()
        if isinstance(predictions, MapPredictions) and predictions.lanes is not None:
            record["lanes"] = lane_record(predictions.lanes)
    return json.dumps(record, allow_nan=False)


def read_prediction_lines(path: Path | str) -> PredictionLines:
    """Predictions by frame token, as `prediction_line` wrote them.

    Classes of boxes and map lines are the names that occur in a frame.

    Raises:
        DataError: the file is absent, a line is malformed, or a file of masks is missing (the line and the field are
            named).
    """
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(path, "file", "predictions as JSON lines", error) from error
    found = (
        _read_line(f"{path}:{number}", line, Path(path)) for number, line in enumerate(lines, start=1) if line.strip()
    )
    return PredictionLines(dict(found))


def _read_line(place: str, line: str, file: Path) -> tuple[str, Read]:
    try:
        record = json.loads(line)
    except ValueError as error:
        raise DataError(place, "line", "a JSON object", error) from error
    kind = next((kind for kind in FIELDS if isinstance(record, dict) and kind in record), "boxes")
    fields = {"token": str, "timestamp_ns": int, **FIELDS[kind]}
    for field, wanted in fields.items():
        if not isinstance(record, dict) or not isinstance(record.get(field), wanted):
            got = type(record.get(field)).__name__ if isinstance(record, dict) else type(record).__name__
            raise DataError(place, field, f"a value of type {wanted.__name__}", got)
    if kind == "pixels":
        return record["token"], pixel_reader(place, record, file.parent)
    if kind == "points":
        return record["token"], point_reader(place, record, file.parent)
    if kind == "place":
        located = _checked(lambda: prediction_of_place(record), place, "place", "cells with place and probability")
        return record["token"], lambda: located
    found = _map_predictions(place, record) if kind == "lines" else _box_predictions(place, record)
    return record["token"], lambda: found


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
