"""One drive of KITTI's raw recordings: 64-beam sweeps and colour pictures at 10 Hz, with GPS/IMU poses, without labels.

Geiger et al., "Vision meets robotics: the KITTI dataset", IJRR 2013. The ego frame is that of `KittiDataset`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..errors import DataError
from ..registry import DATASETS
from ..structures import SE3, Camera, Frame, PointCloud, Sweep
from .base import FrameDataset, Transform
from .kitti import (
    EGO_FROM_LIDAR,
    POINT_COLUMNS,
    KittiCalibration,
    check_cameras,
    frame_time,
    matrix_of,
    read_camera,
    read_numbers,
    rigid,
)
from .point_files import read_bin

PICTURES = ("image_02",)                # the left colour camera, rectified
EARTH_RADIUS = 6378137.0                # [m], of the Mercator projection that KITTI's own tools use
MIN_OXTS_COLUMNS = 6                    # latitude, longitude [deg], altitude [m], roll, pitch, yaw [rad], and more


@DATASETS.register_module()
class KittiRawDrive(FrameDataset):
    """The sweeps of one drive, oldest first, for replay and for looking at.

    Poses come from ``oxts/`` (global frame: metres east and north of the first frame, up), else from
    ``poses_icp_estimated.txt`` (global frame: the ego frame of the first sweep), else they are unknown.
    Times come from ``velodyne_points/timestamps.txt``, else the frame number at 10 Hz stands for the time.

    Args:
        root: folder of the drive, with ``velodyne_points/data``; calibration files lie there or in its parent.
        cameras: ("image_02",) to load the pictures.
        num_sweeps: earlier sweeps in `Frame.sweeps`, newest first; none where poses are unknown.

    Raises:
        DataError: there is no sweep, or a file is absent, truncated or malformed.
        ConfigError: a camera is unknown.
    """

    def __init__(
        self,
        root: str | Path,
        *,
        cameras: Sequence[str] = (),
        num_sweeps: int = 0,
        transforms: Sequence[Mapping[str, Any] | Transform] = (),
        seed: int = 0,
    ) -> None:
        super().__init__(root, transforms=transforms, seed=seed)
        check_cameras(cameras, PICTURES)
        self.cameras, self.num_sweeps = tuple(cameras), num_sweeps
        self.folder = self.root / "velodyne_points/data"
        self.tokens = sorted(path.stem for path in self.folder.glob("*.bin"))
        if not self.tokens:
            raise DataError(self.folder, "sweeps", "files such as 0000000000.bin", "none")
        for token in self.tokens:
            if not token.isdigit():
                raise DataError(self.folder / f"{token}.bin", "file name", "a frame number", token)
        self.timestamps = self._read_timestamps()
        self.wgs84, self.global_from_ego = self._read_poses()

    @property
    def frame_tokens(self) -> Sequence[str]:
        """Ten-digit names of the sweeps, in order."""
        return self.tokens

    @property
    def scenes(self) -> Sequence[str]:
        """The drive's own name, once a sweep."""
        return [self.root.name] * len(self.tokens)

    def load(self, index: int) -> Frame:
        """Read one sweep: points in the ego frame, pictures as files to read later."""
        token, time = self.tokens[index], self.timestamps[index]
        return Frame(
            token=token,
            timestamp_ns=time,
            scene=self.root.name,
            global_from_ego=self.global_from_ego[index] if self.global_from_ego else None,
            wgs84=self.wgs84[index] if self.wgs84 else None,
            points=read_sweep(self.folder / f"{token}.bin"),
            sweeps=self._sweeps(index),
            cameras={name: self._camera(name, token, time) for name in self.cameras},
            ego_from_lidar=EGO_FROM_LIDAR,
        )

    def _sweeps(self, index: int) -> tuple[Sweep, ...]:
        poses = self.global_from_ego
        if not poses:
            return ()
        earlier = range(index - 1, max(index - 1 - self.num_sweeps, -1), -1)
        return tuple(
            Sweep(
                timestamp_ns=self.timestamps[before],
                ego_from_sweep=poses[index].inverse() @ poses[before],
                load=partial(read_sweep, self.folder / f"{self.tokens[before]}.bin"),
            )
            for before in earlier
        )

    def _camera(self, name: str, token: str, time: int) -> Camera:
        lidar, cameras = self._calibration_file("calib_velo_to_cam.txt"), self._calibration_file("calib_cam_to_cam.txt")
        entries, numbers = read_numbers(cameras), name.rpartition("_")[2]
        rectified = rigid(cameras, "R_rect_00", matrix_of(cameras, entries, "R_rect_00", 3, 3))
        projection = matrix_of(cameras, entries, f"P_rect_{numbers}", 3, 4)
        calibration = KittiCalibration((rectified @ read_rigid(lidar)).inverse(), projection)
        return read_camera(self.root / name / "data" / f"{token}.png", calibration, time)

    def _calibration_file(self, name: str) -> Path:
        """In the drive's folder, or, as KITTI publishes it, in the day's folder above."""
        here = self.root / name
        return here if here.is_file() else self.root.parent / name

    def _read_timestamps(self) -> list[int]:
        path = self.root / "velodyne_points/timestamps.txt"
        if not path.is_file():
            return [frame_time(token) for token in self.tokens]
        lines = path.read_text(encoding="utf-8").splitlines()
        return [parse_time(path, lines, int(token)) for token in self.tokens]

    def _read_poses(self) -> tuple[list[tuple[float, float, float]], list[SE3]]:
        """WGS84 positions and poses of all frames; empty lists where unknown."""
        if (self.root / "oxts/data").is_dir():
            ego_from_imu = EGO_FROM_LIDAR @ read_rigid(self._calibration_file("calib_imu_to_velo.txt"))
            rows = [read_oxts(self.root / f"oxts/data/{token}.txt") for token in self.tokens]
            return [(row[0], row[1], row[2]) for row in rows], poses_from_oxts(rows, ego_from_imu)
        path = self.root / "poses_icp_estimated.txt"
        if not path.is_file():
            return [], []
        first_from_lidar = read_poses(path, len(self.tokens))
        return [], [EGO_FROM_LIDAR @ pose @ EGO_FROM_LIDAR.inverse() for pose in first_from_lidar]


def read_sweep(path: Path) -> PointCloud:
    """Points of one sweep in the ego frame of its own time."""
    points, names = read_bin(path, POINT_COLUMNS)
    return PointCloud(torch.from_numpy(points), names).moved_by(EGO_FROM_LIDAR)


def read_rigid(path: Path) -> SE3:
    """The lines ``R`` and ``T`` of a calibration file. Raises DataError."""
    entries = read_numbers(path)
    columns = [matrix_of(path, entries, "R", 3, 3), matrix_of(path, entries, "T", 3, 1)]
    return rigid(path, "R", torch.cat(columns, dim=1))


def parse_time(path: Path, lines: Sequence[str], number: int) -> int:
    """Time [ns] of a line such as ``2011-09-26 13:02:25.951199337``, taken as UTC. Raises DataError."""
    try:
        seconds, _, fraction = lines[number].strip().partition(".")
        moment = datetime.strptime(seconds, "%Y-%m-%d %H:%M:%S").replace(tzinfo=timezone.utc)
        return int(moment.timestamp()) * 1_000_000_000 + int(f"{fraction:0<9}"[:9])
    except (IndexError, ValueError) as error:
        raise DataError(path, f"line {number + 1}", "a time such as 2011-09-26 13:02:25.951199337", error) from error


def read_poses(path: Path, count: int) -> list[SE3]:
    """(3, 4) matrices, one a line, pose of each sweep in the frame of the first. Raises DataError."""
    try:
        rows = np.loadtxt(path, dtype=np.float64, ndmin=2)
    except ValueError as error:
        raise DataError(path, "poses", "12 numbers a line", error) from error
    if rows.shape != (count, 12):
        raise DataError(path, "poses", f"{count} lines of 12 numbers", rows.shape)
    matrices = torch.from_numpy(rows).view(-1, 3, 4)
    return [rigid(path, f"line {place}", matrix) for place, matrix in enumerate(matrices, start=1)]


def read_oxts(path: Path) -> list[float]:
    """The numbers of one GPS/IMU record: latitude, longitude [deg], altitude [m], roll, pitch, yaw [rad], and more."""
    try:
        values = [float(value) for value in path.read_text(encoding="utf-8").split()]
    except (OSError, ValueError) as error:
        raise DataError(path, "record", "numbers", error) from error
    if len(values) < MIN_OXTS_COLUMNS or not all(math.isfinite(value) for value in values[:MIN_OXTS_COLUMNS]):
        raise DataError(path, "record", f"at least {MIN_OXTS_COLUMNS} finite numbers", f"{len(values)} numbers")
    return values


def poses_from_oxts(rows: Sequence[Sequence[float]], ego_from_imu: SE3) -> list[SE3]:
    """Global-from-ego poses; the global frame is east, north, up in metres, with its origin at the first IMU position.

    Positions are Mercator coordinates scaled by the cosine of the first latitude, as KITTI's development kit has them.
    """
    scale = math.cos(math.radians(rows[0][0]))
    poses = []
    for latitude, longitude, altitude, roll, pitch, yaw, *_ in rows:
        east = scale * EARTH_RADIUS * math.radians(longitude)
        north = scale * EARTH_RADIUS * math.log(math.tan(math.radians(90.0 + latitude) / 2))
        position = torch.tensor([east, north, altitude], dtype=torch.float64)
        rotation = SE3.about_z(yaw).rotation @ _about_y(pitch) @ _about_x(roll)
        poses.append(SE3(rotation, position))
    origin = poses[0].translation
    return [SE3(pose.rotation, pose.translation - origin) @ ego_from_imu.inverse() for pose in poses]


def _about_y(angle: float) -> torch.Tensor:
    c, s = math.cos(angle), math.sin(angle)
    return torch.tensor([[c, 0.0, s], [0.0, 1.0, 0.0], [-s, 0.0, c]], dtype=torch.float64)


def _about_x(angle: float) -> torch.Tensor:
    c, s = math.cos(angle), math.sin(angle)
    return torch.tensor([[1.0, 0.0, 0.0], [0.0, c, -s], [0.0, s, c]], dtype=torch.float64)
