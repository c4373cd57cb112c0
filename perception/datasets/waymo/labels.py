"""Waymo's labels: boxes in space, boxes in pictures, and zones without labels."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...errors import DataError
from ...structures import Boxes3D, WaymoRows
from .names import CAMERAS, name_of

_BOX_FIELDS = ("center_x", "center_y", "center_z", "length", "width", "height", "heading")
_UNKNOWN_COUNT = -1


@dataclass(frozen=True, eq=False)
class LaserLabels:
    """K objects in space, labelled in the point cloud of a frame.

    Args:
        boxes: (K, 9) float64 boxes in the vehicle frame, but for their velocities: Waymo states them along the axes of
            the global frame. One that is not stated is NaN.
        types: (K,) int64 index into `names.OBJECT_TYPES`.
        ids: K names of tracks, unique within a segment.
        vertical_speeds: (K,) float64 speed along z [m/s], NaN if not stated.
        accelerations: (K, 3) float64 [m/s^2] along the same axes, NaN if not stated.
        detection_levels: (K,) int64 difficulty: 1, 2 (the harder), or 0 if it was not judged.
        tracking_levels: (K,) int64 likewise.
        num_points: (K,) int64 returns in the box; -1 if not stated.
        num_top_points: (K,) int64 those of the TOP laser; -1 if not stated.
        most_visible_cameras: K names of cameras, "" if none sees it.
        camera_synced_boxes: (K, 7) float64 the box at the time of that camera's picture; NaN if there is none.
    """

    boxes: Boxes3D
    types: Tensor
    ids: tuple[str, ...]
    vertical_speeds: Tensor
    accelerations: Tensor
    detection_levels: Tensor
    tracking_levels: Tensor
    num_points: Tensor
    num_top_points: Tensor
    most_visible_cameras: tuple[str, ...]
    camera_synced_boxes: Boxes3D

    def __len__(self) -> int:
        return len(self.boxes)


@dataclass(frozen=True, eq=False)
class PictureLabels:
    """K upright boxes in the picture of one camera: drawn there, or put around the picture of a box in space.

    Args:
        boxes: (K, 4) float64 centre x, y, extent along x, along y [pixels].
        types: (K,) int64 index into `names.OBJECT_TYPES`.
        ids: K names of tracks.
        laser_object_ids: K names of the box in space that is the same object, "" if none is known.
        detection_levels: (K,) int64 difficulty: 1, 2 (the harder), or 0 if it was not judged.
        tracking_levels: (K,) int64 likewise.
    """

    boxes: Tensor
    types: Tensor
    ids: tuple[str, ...]
    laser_object_ids: tuple[str, ...]
    detection_levels: Tensor
    tracking_levels: Tensor

    def __len__(self) -> int:
        return len(self.ids)

    def corners(self) -> Tensor:
        """(K, 4) float64 x1, y1, x2, y2 [pixels]."""
        centers, halves = self.boxes[:, :2], self.boxes[:, 2:] / 2
        return torch.cat([centers - halves, centers + halves], dim=1)


@dataclass(frozen=True, eq=False)
class NoLabelZone:
    """An area in which objects are not labelled.

    Args:
        id: its name.
        outline: (V, 2) float64 x, y in the global frame [m].
    """

    id: str
    outline: np.ndarray


def laser_labels(labels: Sequence[Any]) -> LaserLabels:
    """Labelled objects of a frame, in the order of its ``laser_labels`` messages."""
    motion = torch.cat([_triples(labels, "speed"), _triples(labels, "accel")], dim=1)              # (K, 6)
    return LaserLabels(
        boxes=_boxes([label.box for label in labels], motion[:, :2]),
        types=_whole(label.type for label in labels),
        ids=tuple(label.id for label in labels),
        vertical_speeds=motion[:, 2],
        accelerations=motion[:, 3:],
        detection_levels=_whole(label.detection_difficulty_level for label in labels),
        tracking_levels=_whole(label.tracking_difficulty_level for label in labels),
        num_points=_counts(labels, "num_lidar_points_in_box"),
        num_top_points=_counts(labels, "num_top_lidar_points_in_box"),
        most_visible_cameras=tuple(label.most_visible_camera_name for label in labels),
        camera_synced_boxes=_synced_boxes(labels),
    )


def picture_labels(messages: Sequence[Any], place: Path | str, field: str) -> dict[str, PictureLabels]:
    """Labels by name of the camera, of ``CameraLabels`` messages.

    Args:
        messages: one a camera.
        place: told by the error.
        field: told by the error.

    Raises:
        DataError: a camera is there twice.
    """
    found: dict[str, PictureLabels] = {}
    for message in messages:
        camera = name_of(message.name, CAMERAS)
        if camera in found:
            raise DataError(place, field, "one list a camera", f"two of {camera}")
        found[camera] = _picture_labels(message.labels)
    return found


def no_label_zones(polygons: Iterable[Any], place: Path | str) -> tuple[NoLabelZone, ...]:
    """Zones of ``Polygon2d`` messages. Raises DataError if one has more x than y, or fewer."""
    zones = []
    for polygon in polygons:
        if len(polygon.x) != len(polygon.y):
            got = f"{len(polygon.x)} and {len(polygon.y)}"
            raise DataError(place, f"no-label zone {polygon.id!r}", "as many x as y", got)
        zones.append(NoLabelZone(polygon.id, np.stack([polygon.x, polygon.y], axis=1).astype(np.float64)))
    return tuple(zones)


def _picture_labels(labels: Sequence[Any]) -> PictureLabels:
    boxes = [(label.box.center_x, label.box.center_y, label.box.length, label.box.width) for label in labels]
    return PictureLabels(
        boxes=torch.tensor(boxes, dtype=torch.float64).reshape(-1, 4),
        types=_whole(label.type for label in labels),
        ids=tuple(label.id for label in labels),
        laser_object_ids=tuple(label.association.laser_object_id for label in labels),
        detection_levels=_whole(label.detection_difficulty_level for label in labels),
        tracking_levels=_whole(label.tracking_difficulty_level for label in labels),
    )


def _boxes(boxes: Sequence[Any], speed: Tensor | None = None) -> Boxes3D:
    rows = [[getattr(box, name) for name in _BOX_FIELDS] for box in boxes]
    table = torch.tensor(rows, dtype=torch.float64).reshape(-1, len(_BOX_FIELDS))
    length, width, height, heading = table[:, 3:].unbind(1)
    return Boxes3D.from_waymo(WaymoRows(table[:, :3], length, width, height, heading, speed), torch.float64)


def _synced_boxes(labels: Sequence[Any]) -> Boxes3D:
    known = torch.tensor([label.HasField("camera_synced_box") for label in labels], dtype=torch.bool)
    boxes = _boxes([label.camera_synced_box for label in labels]).tensor
    return Boxes3D(torch.where(known[:, None], boxes, torch.nan))


def _triples(labels: Sequence[Any], name: str) -> Tensor:
    """(K, 3) float64 x, y, z of a quantity of motion; NaN if x or y is not stated, z 0 if it alone is not."""
    rows = [
        [getattr(label.metadata, f"{name}_{axis}") for axis in "xyz"]
        if label.metadata.HasField(f"{name}_x") and label.metadata.HasField(f"{name}_y")
        else [torch.nan] * 3
        for label in labels
    ]
    return torch.tensor(rows, dtype=torch.float64).reshape(-1, 3)


def _counts(labels: Sequence[Any], name: str) -> Tensor:
    return _whole(getattr(label, name) if label.HasField(name) else _UNKNOWN_COUNT for label in labels)


def _whole(values: Iterable[int]) -> Tensor:
    return torch.tensor(list(values), dtype=torch.int64)
