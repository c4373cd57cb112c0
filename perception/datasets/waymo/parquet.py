"""Frames of Waymo's second format, in the same form as those of the first (see `frames`).

What is small is put into the messages of the first format and goes the way of theirs from there; range images stay as
they are and are read when points are asked for. The format has no map and no no-label zones (points still tell whether
they are in one).
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from ...errors import DataError
from .component_files import Casts, Row, SegmentComponents, open_segment
from .frames import RETURNS, WaymoFrame, checked_returns, frame_of_message
from .names import CAMERAS, LASERS, name_of
from .range_images import RangeImage
from .schema import Frame

CAMERA, LASER = "key.camera_name", "key.laser_name"
LASER_OBJECT, CAMERA_OBJECT = "key.laser_object_id", "key.camera_object_id"
POSE_COMPONENT = "vehicle_pose"
# Without one of these there are no points, and the file that is absent is named.
POINT_COMPONENTS = ("lidar", "lidar_pose", "lidar_calibration")
BOX_COMPONENT = "lidar_box"

_INTRINSICS = tuple(f"intrinsic.{name}" for name in ("f_u", "f_v", "c_u", "c_v", "k1", "k2", "p1", "p2", "k3"))
_CAMERA_SIZES = ("width", "height", "rolling_shutter_direction")
_LEVELS = {
    "difficulty_level.detection": "detection_difficulty_level",
    "difficulty_level.tracking": "tracking_difficulty_level",
}
_COUNTS = {name: name for name in ("num_lidar_points_in_box", "num_top_lidar_points_in_box")}
_MOTION = {
    f"{quantity}.{axis}": f"{name}_{axis}" for quantity, name in (("speed", "speed"), ("acceleration", "accel"))
    for axis in "xyz"
}
_SPACE_BOX = {
    **{f"box.center.{axis}": f"center_{axis}" for axis in "xyz"},
    "box.size.x": "length", "box.size.y": "width", "box.size.z": "height", "box.heading": "heading",
}
_PICTURE_BOX = {
    "box.center.x": "center_x", "box.center.y": "center_y", "box.size.x": "length", "box.size.y": "width",
}
_PICTURE_VELOCITY = {
    **{f"velocity.linear_velocity.{axis}": f"v_{axis}" for axis in "xyz"},
    **{f"velocity.angular_velocity.{axis}": f"w_{axis}" for axis in "xyz"},
}
_PICTURE_TIMES = {
    "pose_timestamp": "pose_timestamp",
    **{f"rolling_shutter_params.{name}": name for name in ("shutter", "camera_trigger_time",
                                                          "camera_readout_done_time")},
}
_INSTANCE_IDS = tuple(
    f"instance_id_to_global_id_mapping.{name}" for name in ("local_instance_ids", "global_instance_ids", "is_tracked")
)


@dataclass(frozen=True, eq=False)
class ParquetFrame(WaymoFrame):
    """One frame, whose range images lie in the components of its segment.

    Args:
        components: of the segment.
    """

    components: SegmentComponents

    def range_images(
        self, numbers: Sequence[int] = RETURNS, *, projections: bool = False, labels: bool = False
    ) -> Iterator[RangeImage]:
        """The range images of all lasers; arguments and errors as of `frames.range_images`.

        Raises:
            DataError: a component or a column is absent, too.
        """
        wanted = checked_returns(numbers)
        images = self._matrices("lidar", wanted, np.float32)
        poses = self._matrices("lidar_pose", (1,), np.float32)
        seen = self._matrices("lidar_camera_projection", wanted, np.int32) if projections else {}
        has_labels = labels and "lidar_segmentation" in self.components
        classes = self._matrices("lidar_segmentation", wanted, np.int32) if has_labels else {}
        for (laser, number), values in images.items():
            try:
                yield RangeImage(
                    laser=laser,
                    return_number=number,
                    values=values,
                    pixel_poses=poses.get((laser, 1)),
                    projections=seen.get((laser, number)),
                    labels=classes.get((laser, number)),
                )
            except ValueError as error:
                field = f"laser {laser}, return {number}"
                raise DataError(self.place, field, "matrices that fit each other", error) from error

    def _matrices(
        self, component: str, numbers: Sequence[int], dtype: type[np.generic]
    ) -> dict[tuple[str, int], np.ndarray]:
        """The matrices of the frame by laser and number of the return."""
        names = {number: f"range_image_return{number}" for number in numbers}
        columns = [f"{name}.{part}" for name in names.values() for part in ("values", "shape")]
        file = self.components.file(component)
        table = file.frame_rows(self.timestamp_micros, (LASER, *columns))
        found: dict[tuple[str, int], np.ndarray] = {}
        for row, laser in enumerate(table[LASER].to_pylist()):
            name = name_of(_number(laser, LASERS, file.path, LASER), LASERS)
            for number, column in names.items():
                matrix = _matrix(table, row, column, dtype, file.path)
                if (name, number) in found:
                    raise DataError(self.place, f"laser {name}", f"one row of {component}", "two")
                if matrix is not None:
                    found[name, number] = matrix
        return found


def read_parquet_frame(
    folder: Path,
    segment: str,
    timestamp_micros: int,
    *,
    boxes: bool = True,
    camera_boxes: bool = True,
    cameras: Collection[str] | None = None,
    encoded: bool = True,
) -> ParquetFrame:
    """One frame of a segment. The boxes at the time of a camera's picture (`camera_synced_boxes`) are not read.

    Args:
        folder: of the split, which holds a folder for each component.
        segment: name of the segment.
        timestamp_micros: time of the frame.
        boxes: whether to read the labelled objects in space.
        camera_boxes: whether to read the boxes in pictures, where there are some.
        cameras: whose pictures to read, if there are any; of all by default.
        encoded: whether to read the pictures themselves, or only what is told of them.

    Raises:
        DataError: a component is absent, lacks a column, has no row that is needed or a malformed value.
    """
    components = open_segment(folder, segment)
    place = f"{components.path(POSE_COMPONENT)}: frame {timestamp_micros}"
    poses = components.rows(POSE_COMPONENT, timestamp_micros, {"world_from_vehicle.transform": list})
    if len(poses) != 1:
        raise DataError(place, POSE_COMPONENT, "one row of the frame", len(poses))
    message = Frame(timestamp_micros=timestamp_micros)
    message.context.name = segment
    message.pose.transform.extend(poses[0]["world_from_vehicle.transform"] or ())
    _add_lasers(message.context, components)
    if "camera_image" in components and (cameras is None or len(cameras)):
        _add_cameras(message.context, components)
        _add_pictures(message, components, cameras, encoded)
    if boxes:
        _add_boxes(message, components)
    if camera_boxes:
        _add_camera_boxes(message, components)
    return ParquetFrame(**vars(frame_of_message(message, place)), components=components)


def _add_lasers(context: Any, components: SegmentComponents) -> None:
    component, limits = "lidar_calibration", {"beam_inclination.min": float, "beam_inclination.max": float}
    needed: Casts = {LASER: _as_it_is, "extrinsic.transform": list, **limits}
    for row in components.rows(component, None, needed, {"beam_inclination.values": list}):
        laser = context.laser_calibrations.add(name=_number(row[LASER], LASERS, components.path(component), LASER))
        laser.extrinsic.transform.extend(row["extrinsic.transform"] or ())
        laser.beam_inclinations.extend(row.get("beam_inclination.values") or ())
        _fill(laser, row, {name: name.replace(".", "_") for name in limits})


def _add_cameras(context: Any, components: SegmentComponents) -> None:
    component = "camera_calibration"
    needed: Casts = {
        CAMERA: _as_it_is, "extrinsic.transform": list, **dict.fromkeys(_INTRINSICS, float),
        **dict.fromkeys(_CAMERA_SIZES, int),
    }
    for row in components.rows(component, None, needed):
        camera = context.camera_calibrations.add(name=_number(row[CAMERA], CAMERAS, components.path(component), CAMERA))
        camera.intrinsic.extend(math.nan if row[name] is None else row[name] for name in _INTRINSICS)
        camera.extrinsic.transform.extend(row["extrinsic.transform"] or ())
        _fill(camera, row, {name: name for name in _CAMERA_SIZES})


def _add_pictures(
    message: Any, components: SegmentComponents, cameras: Collection[str] | None, encoded: bool
) -> None:
    component, time = "camera_image", message.timestamp_micros
    optional = dict.fromkeys((*_PICTURE_VELOCITY, *_PICTURE_TIMES), float)
    path, numbers = components.path(component), set[int]()
    for row in components.rows(component, time, {CAMERA: _as_it_is, "pose.transform": list}, optional):
        number = _number(row[CAMERA], CAMERAS, path, CAMERA)
        if cameras is None or name_of(number, CAMERAS) in cameras:
            numbers.add(number)
            picture = message.images.add(name=number)
            picture.pose.transform.extend(row["pose.transform"] or ())
            _fill(picture, row, _PICTURE_TIMES)
            _fill(picture.velocity, row, _PICTURE_VELOCITY)
    if encoded and numbers:
        images = _by_camera(components, component, time, ("image",))
        labels: dict[int, Row] = {}
        if "camera_segmentation" in components:
            ids = [name for name in _INSTANCE_IDS if name in components.file("camera_segmentation").columns]
            columns = ("panoptic_label", "panoptic_label_divisor", *ids)
            labels = _by_camera(components, "camera_segmentation", time, columns)
        for picture in message.images:
            picture.image = images[picture.name]["image"] or b""
            _add_panoptic(picture.camera_segmentation_label, labels.get(picture.name, {}))


def _by_camera(
    components: SegmentComponents, component: str, timestamp_micros: int, columns: Sequence[str]
) -> dict[int, Row]:
    """Rows of a frame by number of the camera."""
    file = components.file(component)
    rows = file.frame_rows(timestamp_micros, (CAMERA, *columns)).to_pylist()
    return {_number(row[CAMERA], CAMERAS, file.path, CAMERA): row for row in rows}


def _add_panoptic(label: Any, row: Row) -> None:
    if not row or not row["panoptic_label"]:
        return
    label.panoptic_label, label.panoptic_label_divisor = row["panoptic_label"], int(row["panoptic_label_divisor"])
    ids = [row.get(name) or () for name in _INSTANCE_IDS]
    for local, whole, tracked in zip(*ids, strict=False):
        label.instance_id_to_global_id_mapping.add(
            local_instance_id=local, global_instance_id=whole, is_tracked=tracked
        )


def _add_boxes(message: Any, components: SegmentComponents) -> None:
    needed = {LASER_OBJECT: str, "type": int, **dict.fromkeys(_SPACE_BOX, float)}
    optional = {**dict.fromkeys(_MOTION, float), **dict.fromkeys((*_LEVELS, *_COUNTS), int)}
    for row in components.rows(BOX_COMPONENT, message.timestamp_micros, needed, optional):
        label = message.laser_labels.add()
        _fill(label, row, {LASER_OBJECT: "id", "type": "type", **_LEVELS, **_COUNTS})
        _fill(label.box, row, _SPACE_BOX)
        _fill(label.metadata, row, _MOTION)


def _add_camera_boxes(message: Any, components: SegmentComponents) -> None:
    """Boxes drawn in pictures, with the object in space that is the same, and boxes around projected objects."""
    time = message.timestamp_micros
    same: dict[str, str] = {}
    if "camera_to_lidar_box_association" in components:
        keys = {CAMERA_OBJECT: str, LASER_OBJECT: str}
        pairs = components.rows("camera_to_lidar_box_association", time, keys)
        same = {row[CAMERA_OBJECT]: row[LASER_OBJECT] for row in pairs}
    for component, identity, lists in (
        ("camera_box", CAMERA_OBJECT, message.camera_labels),
        ("projected_lidar_box", LASER_OBJECT, message.projected_lidar_labels),
    ):
        if component not in components:
            continue
        needed: Casts = {CAMERA: _as_it_is, identity: str, "type": int, **dict.fromkeys(_PICTURE_BOX, float)}
        by_camera: dict[int, Any] = {}
        for row in components.rows(component, time, needed, dict.fromkeys(_LEVELS, int)):
            number = _number(row[CAMERA], CAMERAS, components.path(component), CAMERA)
            if number not in by_camera:
                by_camera[number] = lists.add(name=number)
            label = by_camera[number].labels.add()
            _fill(label, row, {identity: "id", "type": "type", **_LEVELS})
            _fill(label.box, row, _PICTURE_BOX)
            partner = row[identity] if identity == LASER_OBJECT else same.get(row[identity])
            if partner:
                label.association.laser_object_id = partner


def _as_it_is(value: Any) -> Any:
    """A name or number, which `_number` tells apart."""
    return value


def _fill(message: Any, row: Row, fields: dict[str, str]) -> None:
    """Set the fields of a message from the columns that are there and have a value."""
    for column, field in fields.items():
        if row.get(column) is not None:
            setattr(message, field, row[column])


def _number(value: Any, names: Sequence[str], path: Path, field: str) -> int:
    """The number of a camera or laser, which stands there as it is or as a name."""
    try:
        return names.index(value) if isinstance(value, str) else int(value)
    except (TypeError, ValueError) as error:
        raise DataError(path, field, f"a number or one of {', '.join(names)}", value) from error


def _matrix(table: pa.Table, row: int, column: str, dtype: type[np.generic], path: Path) -> np.ndarray | None:
    """The matrix of one row; None if it has none."""
    values, shape = table[f"{column}.values"][row].values, table[f"{column}.shape"][row].as_py()
    if values is None or not shape:
        return None
    numbers = values.to_numpy(zero_copy_only=False).astype(dtype, copy=False)
    if len(numbers) != math.prod(shape):
        raise DataError(path, column, f"numbers of the shape {tuple(shape)}", f"{len(numbers)} numbers")
    return numbers.reshape(shape)
