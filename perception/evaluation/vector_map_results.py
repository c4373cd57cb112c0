"""Predicted map elements of a whole test as one JSON file, to be scored or drawn again.

``{"classes": [...], "frames": {TOKEN: [{"class": NAME, "score": 0.9, "points": [[x, y], ...]}, ...]}}``, metres in the
ego frame of each frame.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from perception.atomic_write import write_json_entries
from perception.errors import DataError

from .maps.elements import MapElements

DECIMALS = 6                                               # micrometres


def write_vector_map_results(
    predictions: Mapping[str, MapElements], path: Path | str, classes: Sequence[str]
) -> Path:
    """Write the predictions of each frame; the file appears whole or not at all.

    Args:
        predictions: by frame token, with scores.
        path: the JSON file.
        classes: names of the labels.

    Raises:
        ValueError: a frame has no scores or a label that has no name.
    """
    frames = ((token, _rows(token, elements, classes)) for token, elements in predictions.items())
    return write_json_entries(path, {"classes": list(classes)}, "frames", frames)


def read_vector_map_results(
    path: Path | str, is_truth: bool = False
) -> tuple[dict[str, MapElements], tuple[str, ...]]:
    """Elements by frame token, and the names of their labels.

    Args:
        path: the JSON file.
        is_truth: elements need no score, and get none.

    Raises:
        DataError: the file is absent or malformed (the frame and the field are named).
    """
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(path, "file", "a JSON file of map elements", error) from error
    if not isinstance(content, dict) or not isinstance(content.get("frames"), dict):
        raise DataError(path, "frames", "elements by frame token", "none")
    classes = content.get("classes")
    if not isinstance(classes, list) or not all(isinstance(name, str) for name in classes):
        raise DataError(path, "classes", "a list of names", classes)
    frames = {
        token: _elements(f"{path}: frame {token}", rows, classes, is_truth)
        for token, rows in content["frames"].items()
    }
    return frames, tuple(classes)


def _rows(token: str, elements: MapElements, classes: Sequence[str]) -> list[dict[str, Any]]:
    if elements.scores is None:
        raise ValueError(f"predictions of {token!r} must have scores, got None")
    if len(elements) and elements.labels.max() >= len(classes):
        raise ValueError(f"labels of {token!r} must lie in [0, {len(classes)}), got {elements.labels.max()}")
    columns = zip(elements.lines(), elements.labels.tolist(), elements.scores.tolist(), strict=True)
    return [
        {"class": classes[label], "score": score, "points": line.round(DECIMALS).tolist()}
        for line, label, score in columns
    ]


def _elements(place: str, rows: Any, classes: Sequence[str], is_truth: bool) -> MapElements:
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise DataError(place, "elements", "a list of objects", type(rows).__name__)
    for number, row in enumerate(rows):
        for field in ("class", "points") if is_truth else ("class", "score", "points"):
            if field not in row:
                raise DataError(place, f"element {number}", f'a field "{field}"', ", ".join(row) or "no field")
        if row["class"] not in classes:
            raise DataError(place, f"element {number}: class", f"one of {', '.join(classes)}", row["class"])
    try:
        return MapElements.from_lines(
            [row["points"] for row in rows],
            [classes.index(row["class"]) for row in rows],
            None if is_truth else [row["score"] for row in rows],
        )
    except (TypeError, ValueError) as error:
        raise DataError(place, "points", "lines of finite numbers, with a score each", error) from error
