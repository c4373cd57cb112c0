"""The JSON file of COCO's panoptic format: pictures, categories, and the segments of each picture."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import DataError

FIELDS = "categories, images and annotations as COCO's"


@dataclass(frozen=True)
class PanopticCategory:
    """One category.

    Args:
        id: number in the segments.
        name: what it is called.
        is_thing: its instances are told apart.
    """

    id: int
    name: str
    is_thing: bool


@dataclass(frozen=True, eq=False)
class PanopticFile:
    """What such a file lists.

    Args:
        path: the file.
        categories: by rising id.
        pictures: fields of each picture, in the order of the file; ``id`` and ``file_name`` among them.
        masks: file name of the segments' picture by the id of the picture; empty if nothing is labelled.
        segments: by the last part of that name, (S, 3) int64: id, position of the category, whether it is a crowd.
    """

    path: Path
    categories: tuple[PanopticCategory, ...]
    pictures: tuple[Mapping[str, Any], ...]
    masks: Mapping[Any, str]
    segments: Mapping[str, np.ndarray]


def read_panoptic_file(path: Path) -> PanopticFile:
    """Read a file as COCO, ADE20K's and Cityscapes' converters write it.

    Raises:
        DataError: it is absent, no JSON or lacks a field, or a segment is of no category.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise DataError(path, "file", "panoptic annotations in JSON", "no such file") from error
    except (OSError, ValueError) as error:
        raise DataError(path, "file", "panoptic annotations in JSON", error) from error
    if not isinstance(content, Mapping):
        raise DataError(path, "file", "an object with categories and images", type(content).__name__)
    try:
        rows = sorted(content["categories"], key=lambda row: row["id"])
        categories = tuple(PanopticCategory(row["id"], row["name"], bool(row["isthing"])) for row in rows)
        pictures = tuple({**row, "id": row["id"], "file_name": row["file_name"]} for row in content["images"])
        masks = {row["image_id"]: row["file_name"] for row in content.get("annotations", ())}
        place = {category.id: position for position, category in enumerate(categories)}
        segments = {
            Path(row["file_name"]).name: _segments(path, row["file_name"], row["segments_info"], place)
            for row in content.get("annotations", ())
        }
    except KeyError as error:
        raise DataError(path, "fields", FIELDS, f"none called {error}") from None
    except (TypeError, AttributeError, ValueError) as error:
        raise DataError(path, "fields", FIELDS, error) from error
    return PanopticFile(path, categories, pictures, masks, segments)


def _segments(path: Path, name: str, rows: list[Mapping[str, Any]], place: Mapping[int, int]) -> np.ndarray:
    for row in rows:
        if row["category_id"] not in place:
            raise DataError(path, f"segments of {name}", f"categories among {sorted(place)}", row["category_id"])
    table = [(row["id"], place[row["category_id"]], row.get("iscrowd", 0)) for row in rows]
    return np.array(table, np.int64).reshape(-1, 3)
