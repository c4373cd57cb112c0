"""The sensors of the synthetic car: one spinning LiDAR and six cameras, placed as on the cars of nuScenes.

Frames: the ego frame has its origin on the ground below the rear axle, x forward, y left, z up. LIDAR_TOP has x right,
y forward, z up; a camera has x right, y down, z forward.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import overload

import numpy as np

from .scene import Trajectory

EGO_FROM_OPTICAL = np.array([[0.0, 0.0, 1.0], [-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]])   # a camera that looks forward


def transform_about_z(yaw: float, translation: tuple[float, float, float] | np.ndarray) -> np.ndarray:
    """(4, 4) float64 rigid transform: a turn by ``yaw`` [rad] about +z, then a shift [m]."""
    matrix = np.eye(4)
    c, s = math.cos(yaw), math.sin(yaw)
    matrix[:2, :2] = [[c, -s], [s, c]]
    matrix[:3, 3] = translation
    return matrix


def pose_matrix(trajectory: Trajectory, time: float) -> np.ndarray:
    """(4, 4) float64 global pose of a trajectory at a time [s]."""
    x, y, z, yaw = trajectory.at(np.array([time]))[0]
    return transform_about_z(yaw, (x, y, z))


@dataclass(frozen=True, eq=False)
class Lidar:
    """A spinning LiDAR that turns clockwise and whose sweep begins at the left rear.

    Args:
        ego_from_sensor: (4, 4) float64.
        elevations: (R,) float64 beam elevations [rad], ring 0 lowest.
        columns: firings in one turn.
        period_s: time of one turn [s].
        seam_yaw: ego heading at which a sweep begins and ends [rad].
        max_range: farther returns are lost [m].
        range_noise: standard deviation of the range [m]; noise is cut off at three of them.
    """

    ego_from_sensor: np.ndarray
    elevations: np.ndarray
    columns: int = 1080
    period_s: float = 0.1
    seam_yaw: float = math.radians(135.0)
    max_range: float = 90.0
    range_noise: float = 0.02
    channel: str = "LIDAR_TOP"

    def column_yaws(self) -> np.ndarray:
        """(C,) float64 direction of every firing in the ego frame [rad]."""
        return self.seam_yaw - 2.0 * math.pi * (np.arange(self.columns) + 0.5) / self.columns

    def column_times(self) -> np.ndarray:
        """(C,) float64 time of every firing relative to the sweep's timestamp, which is mid-turn [s]."""
        return self.period_s * ((np.arange(self.columns) + 0.5) / self.columns - 0.5)

    @overload
    def time_towards(self, yaw: float) -> float: ...
    @overload
    def time_towards(self, yaw: np.ndarray) -> np.ndarray: ...
    def time_towards(self, yaw: float | np.ndarray) -> float | np.ndarray:
        """When the beam points along an ego heading [rad], relative to the sweep's timestamp [s]."""
        return self.period_s * (((self.seam_yaw - yaw) / (2.0 * math.pi)) % 1.0 - 0.5)


@dataclass(frozen=True, eq=False)
class Camera:
    """A pinhole camera; pixel (u, v) = (0, 0) is the centre of the upper left pixel.

    Args:
        channel: nuScenes name.
        ego_from_camera: (4, 4) float64.
        intrinsics: (3, 3) float64, pixels.
        width, height: pixels.
        trigger_yaw: ego heading [rad] at which the passing LiDAR beam releases the shutter.
    """

    channel: str
    ego_from_camera: np.ndarray
    intrinsics: np.ndarray
    width: int = 400
    height: int = 224
    trigger_yaw: float = 0.0

    def directions(self) -> np.ndarray:
        """(H, W, 3) float64 viewing direction of every pixel in the camera frame, with z = 1."""
        u, v = np.meshgrid(np.arange(self.width), np.arange(self.height))
        x = (u - self.intrinsics[0, 2]) / self.intrinsics[0, 0]
        y = (v - self.intrinsics[1, 2]) / self.intrinsics[1, 1]
        return np.stack([x, y, np.ones_like(x)], axis=-1)

    def scaled_by(self, factor: float) -> Camera:
        """The same camera with larger or smaller pictures."""
        intrinsics = self.intrinsics.copy()
        intrinsics[:2] *= factor
        intrinsics[:2, 2] += 0.5 * factor - 0.5                      # pixel centres at integers before and after
        width, height = (max(1, round(factor * length)) for length in (self.width, self.height))
        return replace(self, intrinsics=intrinsics, width=width, height=height)


@dataclass(frozen=True, eq=False)
class Rig:
    """All sensors of the car."""

    lidar: Lidar
    cameras: tuple[Camera, ...] = field(default=())

    def with_pictures(self, channels: Sequence[str], scale: float) -> Rig:
        """Some of the cameras (none named: all), with pictures of another size."""
        kept = [camera for camera in self.cameras if not channels or camera.channel in channels]
        return replace(self, cameras=tuple(kept if scale == 1.0 else [camera.scaled_by(scale) for camera in kept]))


def default_rig(cameras: bool = True, columns: int = 1080) -> Rig:
    """The 32-beam LiDAR and, if wanted, the six cameras of a nuScenes car, the images at a quarter of their size."""
    lidar = Lidar(
        ego_from_sensor=transform_about_z(-math.pi / 2, (0.943713, 0.0, 1.840230)),
        elevations=np.radians(np.linspace(-30.67, 10.67, 32)),
        columns=columns,
    )
    mounts = (
        # channel, x, y, z [m], yaw [deg], focal length [px], principal point [px], of the 1600 x 900 image
        ("CAM_FRONT", 1.7008, 0.0159, 1.5110, 0.0, 1266.4, 816.3, 491.5),
        ("CAM_FRONT_RIGHT", 1.5508, -0.4934, 1.4957, -56.2, 1260.8, 808.0, 495.3),
        ("CAM_BACK_RIGHT", 1.0149, -0.4806, 1.5624, -110.2, 1259.5, 807.3, 501.2),
        ("CAM_BACK", 0.0283, 0.0035, 1.5791, 180.0, 809.2, 829.2, 481.8),
        ("CAM_BACK_LEFT", 1.0357, 0.4848, 1.5910, 108.6, 1256.7, 792.1, 492.8),
        ("CAM_FRONT_LEFT", 1.5239, 0.4946, 1.5093, 55.2, 1272.6, 826.6, 479.8),
    )
    return Rig(lidar, tuple(_mount(*row) for row in mounts) if cameras else ())


def _mount(channel: str, x: float, y: float, z: float, yaw_deg: float, focal: float, cx: float, cy: float) -> Camera:
    """A camera at a quarter of the original resolution; its 225th row is left away."""
    yaw = math.radians(yaw_deg)
    ego_from_camera = transform_about_z(yaw, (x, y, z))
    ego_from_camera[:3, :3] = ego_from_camera[:3, :3] @ EGO_FROM_OPTICAL
    quarter = [(cx + 0.5) / 4 - 0.5, (cy + 0.5) / 4 - 0.5]           # pixel centres at integers before and after
    intrinsics = np.array([[focal / 4, 0.0, quarter[0]], [0.0, focal / 4, quarter[1]], [0.0, 0.0, 1.0]])
    return Camera(channel, ego_from_camera, intrinsics, trigger_yaw=yaw)
