"""Waymo's ``Objects`` file: boxes in the vehicle frame by segment and time [us].

The number of the camera that camera-only results have, and the zones without labels, are not kept. Poses are not part
of the file; a file of places gives them. A speed of zero in all boxes is a speed that is not told.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch

from perception.errors import DataError
from perception.structures import Boxes3D

from ..waymo.objects import TYPES, WaymoObjects
from ..waymo.objects_file import read_waymo_objects, write_waymo_objects
from ..waymo_detection import NS_PER_US, waymo_predictions
from .frame_results import FramePlace, FrameResults, FrameSource, read_places

CLASSES = TYPES


def read(path: Path, source: FrameSource) -> list[FrameResults]:
    """The detections of every frame of the file, by segment and time; a frame's token is SEGMENT/MICROSECONDS.

    Raises:
        DataError: a file is absent or malformed, or the places lack a frame.
    """
    objects = read_waymo_objects(path)
    places = None if source.places is None else read_places(source.places)
    boxes = torch.from_numpy(objects.boxes)
    if objects.speed.any():
        boxes = torch.cat([boxes, torch.from_numpy(objects.speed)], dim=1)                        # (N, 9)
    scores = torch.from_numpy(objects.scores.astype(np.float64))
    labels = torch.from_numpy(objects.types.astype(np.int64) - 1)
    frames, rows_of = [], _rows_by_frame(objects)
    for context, time in sorted(rows_of):
        place = FramePlace(f"{context}/{time}", context, time * NS_PER_US)
        if places is not None:
            if place.token not in places:
                raise DataError(source.places or path, place.token, "a frame of this name", "none")
            place = places[place.token]
        rows = torch.from_numpy(rows_of[context, time])
        frames.append(place.with_boxes(Boxes3D(boxes[rows]), scores[rows], labels[rows], CLASSES))
    return frames


def write(frames: Iterable[FrameResults], path: Path) -> list[str]:
    """Write the file; returns what a reader should know.

    Raises:
        ValueError: a number is not finite, or a frame belongs to no drive.
    """
    given = list(frames)
    for frame in given:
        if not frame.scene:
            raise ValueError(f"predictions of {frame.predictions.token!r} belong to no drive; Waymo's have its name")
    write_waymo_objects(path, WaymoObjects.concatenate(
        [waymo_predictions(frame.predictions, frame.scene) for frame in given]
    ))
    notes = []
    empty = sum(len(frame.predictions) == 0 for frame in given)
    if empty:
        notes.append(f"{empty} frames without a box leave no trace in the file")
    if any(frame.predictions.timestamp_ns % NS_PER_US for frame in given):
        notes.append("times are cut to whole microseconds")
    return notes


def _rows_by_frame(objects: WaymoObjects) -> dict[tuple[str, int], np.ndarray]:
    """Rows of the objects by segment and time [us], in file order."""
    keys = np.stack([objects.context.astype(np.int64), objects.timestamp_us], axis=1)             # (N, 2)
    frames, number = np.unique(keys, axis=0, return_inverse=True)
    order = np.argsort(number.reshape(-1), kind="stable")
    bounds = np.searchsorted(number.reshape(-1)[order], np.arange(len(frames) + 1))
    return {
        (objects.context_names[context], time): order[bounds[place] : bounds[place + 1]]
        for place, (context, time) in enumerate(frames.tolist())
    }
