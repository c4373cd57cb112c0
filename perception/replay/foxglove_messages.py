"""Foxglove messages, decoded by the schema in their file, turned into our structures.

Nothing of a generated class is used: a message is any object with the fields of its schema.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from ..errors import DataError
from ..structures import SE3, Calibration, PointCloud

FIELD_TYPES = {1: "<u1", 2: "<i1", 3: "<u2", 4: "<i2", 5: "<u4", 6: "<i4", 7: "<f4", 8: "<f8"}
INTENSITY_NAMES = ("intensity", "reflectance", "reflectivity")
RING_NAMES = ("ring", "line", "laser_number")
CATEGORY_KEYS = ("category", "class", "label", "type", "name")
PIXEL_LAYOUTS = {                                          # encoding: channels, their order as RGB
    "rgb8": (3, (0, 1, 2)), "bgr8": (3, (2, 1, 0)), "8UC3": (3, (2, 1, 0)), "rgba8": (4, (0, 1, 2)),
    "bgra8": (4, (2, 1, 0)), "mono8": (1, (0, 0, 0)), "8UC1": (1, (0, 0, 0)),
}


def stamp_ns(message: Any, otherwise: int) -> int:
    """A message's own time [ns], or ``otherwise`` if it has none (0 counts as none)."""
    own = int(message.timestamp.seconds) * 1_000_000_000 + int(message.timestamp.nanos)
    return own or otherwise


def pose_of(position: Any, orientation: Any, place: str) -> SE3:
    """A pose; a quaternion of zeros, which is what an unset field reads, is no rotation. Raises DataError."""
    wxyz = (orientation.w, orientation.x, orientation.y, orientation.z)
    try:
        return SE3.from_quaternion(wxyz if any(wxyz) else (1, 0, 0, 0), (position.x, position.y, position.z))
    except ValueError as error:
        raise DataError(place, "pose", "finite numbers", error) from error


def points_of(message: Any, place: str) -> tuple[PointCloud, float | None]:
    """Points of a ``foxglove.PointCloud`` in the frame of the message.

    Points with a coordinate that is not finite are dropped. Kept are the fields x, y, z, intensity (of whole-number
    types scaled to [0, 1], of others as it stands) and ring, under these names.

    Returns:
        The cloud, and the largest floating intensity, by which the caller may judge its scale; None if there is no
        intensity or it is of whole numbers.

    Raises:
        DataError: a coordinate is missing, a field has an unknown type or lies outside its row, or bytes are left over.
    """
    rows = _rows(message, place)
    names = rows.dtype.names or ()
    columns = {"x": rows["x"], "y": rows["y"], "z": rows["z"]}
    peak: float | None = None
    for source in [name for name in INTENSITY_NAMES if name in names][:1]:
        values = rows[source]
        if values.dtype.kind in "iu":
            columns["intensity"] = values / np.iinfo(values.dtype).max
        else:
            columns["intensity"] = values
            peak = float(np.nanmax(values, initial=0.0))
    for source in [name for name in RING_NAMES if name in names][:1]:
        columns["ring"] = rows[source]
    data = np.stack([column.astype(np.float32) for column in columns.values()], axis=1)          # (N, C)
    cloud = data[np.isfinite(data[:, :3]).all(axis=1)]
    pose = pose_of(message.pose.position, message.pose.orientation, place)
    return PointCloud(torch.from_numpy(cloud), tuple(columns)).moved_by(pose), peak


def _rows(message: Any, place: str) -> np.ndarray:
    """(N,) structured rows of a packed cloud."""
    fields = {field.name: (FIELD_TYPES.get(field.type), int(field.offset)) for field in message.fields}
    missing = [name for name in ("x", "y", "z") if name not in fields]
    if missing:
        raise DataError(place, "fields", f"a field {missing[0]!r}", ", ".join(fields) or "none")
    stride = int(message.point_stride)
    for name, (kind, offset) in fields.items():
        if kind is None or offset + np.dtype(kind).itemsize > stride:
            raise DataError(place, f"field {name!r}", f"a known type within {stride} bytes", f"{kind} at {offset}")
    if len(message.data) % stride:
        raise DataError(place, "data", f"whole points of {stride} bytes", f"{len(message.data)} bytes")
    layout = np.dtype({
        "names": list(fields),
        "formats": [kind for kind, _ in fields.values()],
        "offsets": [offset for _, offset in fields.values()],
        "itemsize": stride,
    })
    return np.frombuffer(message.data, dtype=layout)


def calibration_of(message: Any, ego_from_frame: SE3, place: str) -> Calibration:
    """The pinhole of a ``foxglove.CameraCalibration``.

    Without distortion it is that of the rectified picture (P, with its rectification R and the baseline in P's fourth
    column), otherwise that of the picture as taken (K); the distortion itself is not modelled.

    Args:
        message: the calibration.
        ego_from_frame: pose of the frame that it names.
        place: for errors.

    Raises:
        DataError: a matrix has another size or no focal length.
    """
    intrinsics = _matrix(message.K, 3, 3, place, "K")
    pose = ego_from_frame
    if any(message.P) and not any(message.D):
        projection = _matrix(message.P, 3, 4, place, "P")
        intrinsics = projection[:, :3]
        pose = _rectified(pose, message, projection, place)
    try:
        return Calibration(intrinsics, pose, int(message.width), int(message.height))
    except ValueError as error:
        raise DataError(place, "K or P", "a pinhole camera", error) from error


def _rectified(ego_from_frame: SE3, message: Any, projection: torch.Tensor, place: str) -> SE3:
    """Pose of the rectified camera: turned by R, moved by the baseline in the last column of P."""
    rotation = _matrix(message.R, 3, 3, place, "R") if any(message.R) else torch.eye(3, dtype=torch.float64)
    try:
        baseline = torch.linalg.solve(projection[:, :3], projection[:, 3])                       # (3,) metres
        return ego_from_frame @ SE3(rotation, baseline).inverse()
    except (RuntimeError, ValueError) as error:
        raise DataError(place, "P or R", "a projection and a rotation", error) from error


def _matrix(values: Sequence[float], rows: int, columns: int, place: str, name: str) -> torch.Tensor:
    if len(values) != rows * columns:
        raise DataError(place, name, f"{rows * columns} numbers", len(values))
    return torch.tensor(list(values), dtype=torch.float64).view(rows, columns)


def raw_image_of(message: Any, place: str) -> torch.Tensor:
    """(3, H, W) uint8 RGB of a ``foxglove.RawImage``.

    Raises:
        DataError: the encoding is none of the 8-bit colour or grey ones, or there are too few bytes.
    """
    if message.encoding not in PIXEL_LAYOUTS:
        raise DataError(place, "encoding", f"one of {', '.join(PIXEL_LAYOUTS)}", repr(message.encoding))
    channels, order = PIXEL_LAYOUTS[message.encoding]
    height, width, step = int(message.height), int(message.width), int(message.step)
    if step < width * channels or len(message.data) < step * height:
        raise DataError(place, "data", f"{height} rows of {width * channels} bytes", f"{len(message.data)} bytes")
    rows = np.frombuffer(message.data, dtype=np.uint8, count=step * height).reshape(height, step)
    pixels = rows[:, : width * channels].reshape(height, width, channels)[..., order]            # (H, W, 3)
    return torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1)))


def category_of(entity: Any) -> str:
    """What an entity of a ``foxglove.SceneUpdate`` is, by its metadata; "object" if that tells nothing."""
    told = {pair.key.lower(): pair.value for pair in entity.metadata}
    return next((told[key] for key in CATEGORY_KEYS if told.get(key)), "object")
