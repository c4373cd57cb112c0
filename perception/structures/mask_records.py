"""Segmentation of pictures and of points as plain JSON values and files of masks, and back.

A picture's record has ``size`` (rows, columns), ``names`` of the classes, ``things`` (numbers of the classes with
instances), the file ``classes`` and, of models that give them, ``panoptic`` with ``file_name`` and ``segments_info`` as
in COCO's panoptic format (``id``, ``category_id``, ``isthing``, ``score``) and ``instances`` with ``file_name``,
``labels`` and ``scores``. That of points has ``count``, ``names`` and ``file_name``. Files are told relative to the
folder of the lines.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

import torch
from torch import Tensor

from ..errors import DataError
from .mask_files import (
    mask_file,
    read_classes,
    read_masks,
    read_regions,
    read_rows,
    write_classes,
    write_masks,
    write_regions,
    write_rows,
)
from .point_labels import PointPredictions
from .segmentation import InstancePrediction, PanopticPrediction, SegmentationPredictions


def pixel_record(predictions: SegmentationPredictions, lines: Path) -> dict[str, Any]:
    """The record of a picture, whose masks are written beside the lines. Raises as `write_classes` does."""

    def placed(ending: str, write: Callable[[Path, Tensor], None], masks: Tensor) -> str:
        name = mask_file(lines, predictions.token, ending)
        write(lines.parent / name, masks)
        return name

    record: dict[str, Any] = {
        "size": list(predictions.classes.shape), "names": list(predictions.class_names),
        "things": list(predictions.things), "classes": placed(".classes.png", write_classes, predictions.classes),
    }
    regions, objects = predictions.panoptic, predictions.instances
    if regions is not None:
        columns = zip(regions.labels.tolist(), _numbers(regions.scores), strict=True)
        record["panoptic"] = {
            "file_name": placed(".panoptic.png", write_regions, regions.ids),
            "segments_info": [
                {"id": place, "category_id": label, "isthing": int(label in predictions.things), "score": score}
                for place, (label, score) in enumerate(columns, start=1)
            ],
        }
    if objects is not None:
        record["instances"] = {
            "file_name": placed(".instances.npz", write_masks, objects.masks),
            "labels": objects.labels.tolist(), "scores": _numbers(objects.scores),
        }
    return record


def point_record(predictions: PointPredictions, lines: Path) -> dict[str, Any]:
    """The record of points, whose classes are written beside the lines. Raises as `write_rows` does."""
    name = mask_file(lines, predictions.token, ".points.npz")
    write_rows(lines.parent / name, predictions.classes, predictions.instances)
    return {"count": len(predictions), "names": list(predictions.names), "file_name": name}


def pixel_reader(place: str, line: dict[str, Any], folder: Path) -> Callable[[], SegmentationPredictions]:
    """What reads the masks of a line.

    Args:
        place: of the line, for errors.
        line: token, timestamp_ns and the record ``pixels``.
        folder: of the lines.

    Raises:
        DataError: a field is absent or malformed, or a file is missing; when called, a file is damaged.
    """
    record = _Record(place, "pixels", line["pixels"], folder)
    regions, objects = record.part("panoptic"), record.part("instances")
    info = None if regions is None else regions.checked("segments_info", "regions 1, 2, ... with scores", _regions_of)
    columns = None if objects is None else _objects_of(objects)
    return partial(
        _read_pixels,
        token=line["token"],
        timestamp_ns=line["timestamp_ns"],
        size=record.checked("size", "rows and columns", _size_of),
        names=record.checked("names", "names of classes", _names_of),
        things=record.checked("things", "numbers of classes", lambda values: tuple(int(value) for value in values)),
        classes=record.file("classes"),
        panoptic=None if regions is None or info is None else (regions.file("file_name"), *info),
        instances=None if objects is None or columns is None else (objects.file("file_name"), *columns),
    )


def point_reader(place: str, line: dict[str, Any], folder: Path) -> Callable[[], PointPredictions]:
    """As `pixel_reader`, of the record ``points``."""
    record = _Record(place, "points", line["points"], folder)
    return partial(
        _read_points,
        token=line["token"],
        timestamp_ns=line["timestamp_ns"],
        count=record.checked("count", "a number of points", int),
        names=record.checked("names", "names of classes", _names_of),
        path=record.file("file_name"),
    )


def _read_pixels(
    *, token: str, timestamp_ns: int, size: tuple[int, int], names: tuple[str, ...], things: tuple[int, ...],
    classes: Path, panoptic: tuple[Path, Tensor, Tensor] | None, instances: tuple[Path, Tensor, Tensor] | None,
) -> SegmentationPredictions:
    regions = objects = None
    if panoptic is not None:
        path, labels, scores = panoptic
        ids = read_regions(path, size)
        if int(ids.amax()) > len(labels):
            raise DataError(path, "panoptic", f"regions from 0 to {len(labels)} as in the line", int(ids.amax()))
        regions = PanopticPrediction(ids, labels, scores)
    if instances is not None:
        path, labels, scores = instances
        objects = InstancePrediction(read_masks(path, len(labels), size), labels, scores)
    return SegmentationPredictions(token, timestamp_ns, read_classes(classes, size), regions, objects, names, things)


def _read_points(
    *, token: str, timestamp_ns: int, count: int, names: tuple[str, ...], path: Path
) -> PointPredictions:
    classes, instances = read_rows(path, count)
    return PointPredictions(token, timestamp_ns, classes, names, instances)


class _Record:
    """A record of a line whose fields are checked by name.

    Args:
        place: of the line.
        name: of the record.
        fields: what it holds.
        folder: that its paths begin at.
    """

    def __init__(self, place: str, name: str, fields: Any, folder: Path) -> None:
        self.place, self.name, self.folder = place, name, folder
        if not isinstance(fields, dict):
            raise DataError(place, name, "a JSON object", type(fields).__name__)
        self.fields = fields

    def part(self, name: str) -> _Record | None:
        """A record within; None if it is not there."""
        if self.fields.get(name) is None:
            return None
        return _Record(self.place, f"{self.name}.{name}", self.fields[name], self.folder)

    def checked(self, name: str, expected: str, build: Callable[[Any], Any]) -> Any:
        """What is built of a field. Raises DataError if that fails."""
        try:
            return build(self.fields[name])
        except KeyError as error:
            raise DataError(self.place, f"{self.name}.{name}", expected, f"no {error}") from error
        except (AttributeError, IndexError, RuntimeError, TypeError, ValueError) as error:
            raise DataError(self.place, f"{self.name}.{name}", expected, error) from error

    def file(self, name: str) -> Path:
        """The path in a field. Raises DataError if it leads out of the folder or to no file."""
        path = PurePosixPath(self.checked(name, "a relative path", str))
        if path.is_absolute() or ".." in path.parts:
            raise DataError(self.place, f"{self.name}.{name}", "a path below the folder of the lines", path)
        if not (self.folder / path).is_file():
            raise DataError(self.place, f"{self.name}.{name}", f"a file {self.folder / path}", "no such file")
        return self.folder / path


def _size_of(values: Any) -> tuple[int, int]:
    rows, columns = values
    if min(rows, columns) < 1:
        raise ValueError(f"{rows} x {columns}")
    return int(rows), int(columns)


def _names_of(values: Any) -> tuple[str, ...]:
    if not isinstance(values, list):
        raise TypeError(type(values).__name__)
    return tuple(str(value) for value in values)


def _regions_of(info: Any) -> tuple[Tensor, Tensor]:
    if [entry["id"] for entry in info] != list(range(1, len(info) + 1)):
        raise ValueError(f"ids {[entry['id'] for entry in info]}")
    return _labels([entry["category_id"] for entry in info]), _scores([entry["score"] for entry in info])


def _objects_of(record: _Record) -> tuple[Tensor, Tensor]:
    labels = record.checked("labels", "numbers of classes", _labels)
    scores = record.checked("scores", f"{len(labels)} numbers", _scores)
    if len(scores) != len(labels):
        raise DataError(record.place, f"{record.name}.scores", f"{len(labels)} numbers", len(scores))
    return labels, scores


def _labels(values: Any) -> Tensor:
    return torch.tensor([int(value) for value in values], dtype=torch.int64)


def _scores(values: Any) -> Tensor:
    return torch.tensor([math.nan if value is None else value for value in values], dtype=torch.float32)


def _numbers(scores: Tensor) -> list[float | None]:
    """Scores to the last bit, so that they come back as they are; null for one that is not finite."""
    return [score if math.isfinite(score) else None for score in scores.tolist()]
