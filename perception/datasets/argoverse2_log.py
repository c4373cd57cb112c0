"""The tables of one Argoverse 2 log, made into rows of the index."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import feather
from scipy.spatial.transform import Rotation

from ..errors import DataError
from .index import CameraRecord, FrameRecord, ObjectRecord, SweepRecord

CAMERAS = (
    "ring_front_center", "ring_front_left", "ring_front_right", "ring_rear_left", "ring_rear_right", "ring_side_left",
    "ring_side_right", "stereo_front_left", "stereo_front_right",
)
LIDAR = "up_lidar"
MAX_PICTURE_GAP_NS = 50_000_000           # a picture belongs to a sweep if it is at most this far away
MAX_VELOCITY_GAP_S = 1.5                  # neighbours further away give no velocity; twice that between both of them
POSE_COLUMNS = ("qw", "qx", "qy", "qz", "tx_m", "ty_m", "tz_m")


@dataclass(frozen=True, eq=False)
class Log:
    """The tables of one log, read when first asked for.

    Args:
        root: the folder ``sensor``, which paths are relative to.
        folder: folder of the log.
    """

    root: Path
    folder: Path

    def records(self, max_sweeps: int) -> Iterator[FrameRecord]:
        """A row for every sweep, oldest first."""
        sweeps = [self._sweep(int(path.stem), path) for path in self._by_time(self.folder / "sensors/lidar", "feather")]
        pictures = {name: self._by_time(self.folder / "sensors/cameras" / name, "jpg") for name in CAMERAS}
        objects = self._objects({sweep.timestamp_ns for sweep in sweeps})
        for position, sweep in enumerate(sweeps):
            time = sweep.timestamp_ns
            yield FrameRecord(
                token=f"{self.folder.name}/{time}",
                scene=self.folder.name,
                lidar=sweep,
                sweeps=sweeps[max(0, position - max_sweeps) : position][::-1],
                cameras=[camera for name in CAMERAS for camera in self._nearest_picture(name, pictures[name], time)],
                objects=None if objects is None else objects.get(time, []),
            )

    @cached_property
    def poses(self) -> dict[int, list[float]]:
        """City-from-ego pose rows by timestamp [ns]."""
        table = read_table(self.folder / "city_SE3_egovehicle.feather", ("timestamp_ns", *POSE_COLUMNS))
        rows = np.stack([table[name].to_numpy() for name in POSE_COLUMNS], axis=1).tolist()     # (T, 7)
        return dict(zip(table["timestamp_ns"].to_pylist(), rows, strict=True))

    @cached_property
    def ego_from_sensor(self) -> dict[str, list[float]]:
        """Pose rows by sensor; nothing if the log has no calibration."""
        path = self.folder / "calibration/egovehicle_SE3_sensor.feather"
        if not path.is_file():
            return {}
        rows = read_table(path, ("sensor_name", *POSE_COLUMNS)).to_pylist()
        return {row["sensor_name"]: [row[name] for name in POSE_COLUMNS] for row in rows}

    @cached_property
    def intrinsics(self) -> dict[str, dict[str, Any]]:
        """Rows of the table of intrinsics by camera."""
        columns = ("sensor_name", "fx_px", "fy_px", "cx_px", "cy_px", "height_px", "width_px")
        rows = read_table(self.folder / "calibration/intrinsics.feather", columns).to_pylist()
        return {row["sensor_name"]: row for row in rows}

    def pose_at(self, timestamp_ns: int) -> list[float]:
        """City-from-ego pose row at a sensor's time. Raises DataError if the table has none."""
        if timestamp_ns not in self.poses:
            raise DataError(
                self.folder / "city_SE3_egovehicle.feather", "timestamp_ns", f"a pose at {timestamp_ns}", "none"
            )
        return self.poses[timestamp_ns]

    def _by_time(self, folder: Path, suffix: str) -> list[Path]:
        files = list(folder.glob(f"*.{suffix}"))
        for path in files:
            if not path.stem.isdigit():
                raise DataError(path, "file name", "a timestamp in nanoseconds", path.stem)
        return sorted(files, key=lambda path: int(path.stem))

    def _sweep(self, timestamp_ns: int, path: Path) -> SweepRecord:
        return SweepRecord(
            path=path.relative_to(self.root).as_posix(),
            timestamp_ns=timestamp_ns,
            global_from_ego=self.pose_at(timestamp_ns),
            ego_from_lidar=self.ego_from_sensor.get(LIDAR),
        )

    def _nearest_picture(self, name: str, files: Sequence[Path], timestamp_ns: int) -> list[CameraRecord]:
        """The picture nearest in time, or nothing if none is near."""
        times = [int(path.stem) for path in files]
        at = bisect_left(times, timestamp_ns)
        around = range(max(0, at - 1), min(len(times), at + 1))
        near = min(around, key=lambda place: abs(times[place] - timestamp_ns), default=None)
        if near is None or abs(times[near] - timestamp_ns) > MAX_PICTURE_GAP_NS:
            return []
        if name not in self.intrinsics or name not in self.ego_from_sensor:
            raise DataError(self.folder / "calibration", name, "intrinsics and pose of a camera with pictures", "none")
        lens = self.intrinsics[name]
        return [CameraRecord(
            name=name,
            path=files[near].relative_to(self.root).as_posix(),
            timestamp_ns=times[near],
            width=lens["width_px"],
            height=lens["height_px"],
            intrinsics=[lens["fx_px"], 0.0, lens["cx_px"], 0.0, lens["fy_px"], lens["cy_px"], 0.0, 0.0, 1.0],
            global_from_ego=self.pose_at(times[near]),
            ego_from_camera=self.ego_from_sensor[name],
        )]

    def _objects(self, times: set[int]) -> dict[int, list[ObjectRecord]] | None:
        """Objects by sweep time, in city coordinates; None if the log is not annotated."""
        path = self.folder / "annotations.feather"
        if not path.is_file():
            return None
        columns = ("timestamp_ns", "track_uuid", "category", "length_m", "width_m", "height_m", "num_interior_pts")
        table = read_table(path, (*columns, *POSE_COLUMNS))
        centers, rotations = self._in_city(table)
        velocities = track_velocities(table["track_uuid"].to_pylist(), table["timestamp_ns"].to_numpy(), centers)
        objects: dict[int, list[ObjectRecord]] = {}
        for position, row in enumerate(table.select(columns).to_pylist()):
            if row["timestamp_ns"] in times:
                objects.setdefault(row["timestamp_ns"], []).append(ObjectRecord(
                    token="",
                    category=row["category"],
                    instance=row["track_uuid"],
                    translation=centers[position].tolist(),
                    rotation=rotations[position].tolist(),
                    size=[row["length_m"], row["width_m"], row["height_m"]],
                    velocity=velocities[position].tolist(),
                    num_lidar_pts=row["num_interior_pts"],
                    attribute="",
                    visibility=math.nan,
                ))
        return objects

    def _in_city(self, table: pa.Table) -> tuple[np.ndarray, np.ndarray]:
        """(K, 3) centres and (K, 4) quaternions w x y z of annotated boxes, ego frame -> city frame."""
        boxes = np.stack([table[name].to_numpy() for name in POSE_COLUMNS], axis=1)              # (K, 7)
        poses = np.array([self.pose_at(time) for time in table["timestamp_ns"].to_pylist()]).reshape(-1, 7)
        if not len(boxes):
            return np.empty((0, 3)), np.empty((0, 4))
        city_from_ego = Rotation.from_quat(poses[:, [1, 2, 3, 0]])
        turned = city_from_ego * Rotation.from_quat(boxes[:, [1, 2, 3, 0]])
        return city_from_ego.apply(boxes[:, 4:]) + poses[:, 4:], turned.as_quat()[:, [3, 0, 1, 2]]


def track_velocities(tracks: Sequence[str], timestamps_ns: np.ndarray, centers: np.ndarray) -> np.ndarray:
    """Velocity of each box from the neighbouring boxes of its track (nuScenes' rule).

    Args:
        tracks: K track names.
        timestamps_ns: (K,) int64.
        centers: (K, 3) in a fixed frame [m].

    Returns:
        (K, 2) vx, vy [m/s]; NaN without a neighbour, or if it is more than 1.5 s away (3 s between two neighbours).
    """
    velocities = np.full((len(tracks), 2), np.nan)
    rows_of: dict[str, list[int]] = {}
    for row in np.argsort(timestamps_ns, kind="stable"):
        rows_of.setdefault(tracks[row], []).append(int(row))
    for rows in rows_of.values():
        last = len(rows) - 1
        for place, row in enumerate(rows):
            first, second = rows[max(place - 1, 0)], rows[min(place + 1, last)]
            seconds = (timestamps_ns[second] - timestamps_ns[first]) * 1e-9
            limit = MAX_VELOCITY_GAP_S * (2 if 0 < place < last else 1)
            if 0 < seconds <= limit:
                velocities[row] = (centers[second, :2] - centers[first, :2]) / seconds
    return velocities


def read_table(path: Path, columns: Sequence[str]) -> pa.Table:
    """Columns of an Arrow IPC file. Raises DataError if it is absent or malformed, or lacks a column."""
    if not path.is_file():
        raise DataError(path, "file", "an Arrow IPC file", "no such file")
    try:
        table = feather.read_table(path, use_threads=False)
    except (pa.ArrowInvalid, OSError) as error:
        raise DataError(path, "file", "an Arrow IPC file", error) from error
    for name in columns:
        if name not in table.column_names:
            raise DataError(path, name, "a column of this name", f"the columns {', '.join(table.column_names)}")
    return table.select(columns)
