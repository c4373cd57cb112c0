"""Argoverse 2's submission: one feather file, boxes in the ego frame of their sweep, without velocities.

Poses are not part of it; a split folder of the data set gives them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from perception.datasets.argoverse2_log import Log, read_table
from perception.datasets.index import pose_from_row
from perception.errors import DataError, suggestion
from perception.structures import Argoverse2Rows, Boxes3D

from ..argoverse2_results import BOX_COLUMNS, UUID_COLUMNS, argoverse2_rows, write_argoverse2_results
from .frame_results import FramePlace, FrameResults, FrameSource, read_places

CLASSES = (
    "REGULAR_VEHICLE", "PEDESTRIAN", "BICYCLIST", "MOTORCYCLIST", "WHEELED_RIDER", "BOLLARD", "CONSTRUCTION_CONE",
    "SIGN", "CONSTRUCTION_BARREL", "STOP_SIGN", "MOBILE_PEDESTRIAN_CROSSING_SIGN", "LARGE_VEHICLE", "BUS", "BOX_TRUCK",
    "TRUCK", "VEHICULAR_TRAILER", "TRUCK_CAB", "SCHOOL_BUS", "ARTICULATED_BUS", "MESSAGE_BOARD_TRAILER", "BICYCLE",
    "MOTORCYCLE", "WHEELED_DEVICE", "WHEELCHAIR", "STROLLER", "DOG", "ANIMAL", "OFFICIAL_SIGNALER", "RAILED_VEHICLE",
    "TRAFFIC_LIGHT_TRAILER",
)


def read(path: Path, source: FrameSource) -> list[FrameResults]:
    """The detections of every sweep of the file, by log and time; a frame's token is LOG/TIMESTAMP.

    Raises:
        DataError: the file or a log's poses are absent or malformed, or a category is unknown.
    """
    table = read_table(path, (*BOX_COLUMNS, "score", *UUID_COLUMNS, "category")).to_pandas()
    places = None if source.places is None else read_places(source.places)
    values = torch.from_numpy(table[[*BOX_COLUMNS, "score"]].to_numpy(dtype=np.float64, copy=True))      # (N, 11)
    wrong = ~torch.isfinite(values).all(dim=1) | (values[:, 3:6] < 0).any(dim=1)
    if wrong.any():
        row = int(wrong.nonzero()[0])
        raise DataError(path, f"row {row}", "finite numbers and sizes >= 0", values[row].tolist())
    labels = torch.tensor([_label(path, name) for name in table["category"].tolist()], dtype=torch.int64)
    sweeps: dict[Any, Any] = table.groupby(list(UUID_COLUMNS), sort=True).indices
    frames = []
    for (log, time), rows in sorted(sweeps.items()):
        place = _place(FramePlace(f"{log}/{int(time)}", str(log), int(time)), places, source)
        own = values[torch.from_numpy(rows)]
        try:
            boxes = Boxes3D.from_argoverse2(Argoverse2Rows(own[:, :3], own[:, 3:6], own[:, 6:10]), dtype=torch.float64)
        except ValueError as error:
            raise DataError(path, place.token, "boxes with unit quaternions", error) from error
        frames.append(place.with_boxes(boxes, own[:, 10], labels[torch.from_numpy(rows)], CLASSES))
    return frames


def write(frames: Iterable[FrameResults], path: Path) -> list[str]:
    """Write the submission; returns what a reader should know.

    Raises:
        ValueError: a frame belongs to no drive.
    """
    given = list(frames)
    write_argoverse2_results([argoverse2_rows(frame.predictions, frame.scene) for frame in given], path)
    notes = []
    if any(frame.predictions.boxes.has_velocity for frame in given):
        notes.append("velocities are left out: the file has no place for them")
    empty = sum(len(frame.predictions) == 0 for frame in given)
    if empty:
        notes.append(f"{empty} frames without a box leave no trace in the file")
    return notes


def _label(path: Path, name: str) -> int:
    if name not in CLASSES:
        raise DataError(path, "category", f"a category of Argoverse 2{suggestion(str(name), CLASSES)}", name)
    return CLASSES.index(name)


def _place(sweep: FramePlace, places: Mapping[str, FramePlace] | None, source: FrameSource) -> FramePlace:
    """The sweep with the pose that a file of places or the root has of it, if one is given."""
    if places is not None:
        if sweep.token not in places:
            raise DataError(source.places or "", sweep.token, "a frame of this name", "none")
        return places[sweep.token]
    if source.root is None:
        return sweep
    if not (source.root / sweep.scene).is_dir():
        raise DataError(source.root, sweep.scene, "a folder of the log that the results are of", "no such folder")
    try:
        return sweep.moved_to(pose_from_row(_log(source.root, sweep.scene).pose_at(sweep.timestamp_ns)))
    except ValueError as error:
        raise DataError(source.root / sweep.scene, f"pose at {sweep.timestamp_ns}", "a quaternion", error) from error


@lru_cache(maxsize=4)
def _log(split_dir: Path, name: str) -> Log:
    """A log whose poses are read once; results come log by log."""
    return Log(split_dir.parent, split_dir / name)
