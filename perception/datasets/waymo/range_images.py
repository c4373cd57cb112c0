"""Range images of Waymo's lasers, turned into points of the vehicle frame.

Row 0 is the highest beam and columns run clockwise. What is computed is float64; the official decoder's float32 loses
up to a centimetre, since pixel poses are those of the segment's global frame.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from .calibrations import LaserCalibration
from .matrices import IntMatrix

CHANNELS = ("range", "intensity", "elongation", "no_label_zone")
_LASERS_KEPT = 16                      # whose rays are remembered, 4 MB each
_AT_ONCE = 8192                        # pixels: what is computed for them stays in the cache


@dataclass(frozen=True, eq=False)
class RangeImage:
    """What one laser saw with one of its returns.

    Args:
        laser: name of the laser.
        return_number: 1 or 2; a pulse has two returns at most.
        values: (H, W, 4) float32 in the order of `CHANNELS`: range [m], a pixel without return has one <= 0; intensity,
            not bounded; elongation; 1 inside a no-label zone, else -1.
        pixel_poses: (H, W, 6) float32 roll, pitch, yaw [rad], x, y, z [m] of the vehicle in the global frame when the
            pixel was measured; None if the sweep was taken at once.
        projections: (H, W, 6) whole numbers: camera, x and y [pixels] where the point is seen, twice; camera 0 is none.
        labels: (H, W, 2) whole numbers, instance and class as in `names.LIDAR_CLASSES`.

    Raises:
        ValueError: a shape is wrong.
    """

    laser: str
    return_number: int
    values: np.ndarray
    pixel_poses: np.ndarray | None = None
    projections: np.ndarray | IntMatrix | None = None
    labels: np.ndarray | IntMatrix | None = None

    def __post_init__(self) -> None:
        size = tuple(self.values.shape[:2])
        wanted = {"values": 4, "pixel_poses": 6, "projections": 6, "labels": 2}
        for name, channels in wanted.items():
            matrix = getattr(self, name)
            if matrix is not None and (tuple(matrix.shape) != (*size, channels) or len(size) != 2):
                raise ValueError(f"{name} must be {(*size, channels)}, got {tuple(matrix.shape)}")


@dataclass(frozen=True, eq=False)
class LaserReturns:
    """N points that one laser measured with one of its returns, row by row of its range image.

    Args:
        laser: name of the laser.
        return_number: 1 or 2.
        xyz: (N, 3) float32, vehicle frame at the frame's pose [m].
        range_m: (N,) float32 distance from the laser [m].
        intensity: (N,) float32, not bounded.
        elongation: (N,) float32.
        in_no_label_zone: (N,) bool.
        pixels: (N,) int64 place in the range image, row by row.
        projections: (N, 6) int32 camera, x, y, twice; None if not asked for or not there.
        labels: (N, 2) int32 instance and class; None likewise.
    """

    laser: str
    return_number: int
    xyz: np.ndarray
    range_m: np.ndarray
    intensity: np.ndarray
    elongation: np.ndarray
    in_no_label_zone: np.ndarray
    pixels: np.ndarray
    projections: np.ndarray | None = None
    labels: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.xyz)


def laser_returns(
    image: RangeImage, calibration: LaserCalibration, global_from_vehicle: np.ndarray | None = None
) -> LaserReturns:
    """The points of a range image. Pixels without return are left out, and with them ranges that are not finite.

    Args:
        image: the range image. A second return has the pixel poses of the first.
        calibration: of its laser.
        global_from_vehicle: (4, 4) float64 pose of the frame; needed with pixel poses.

    Raises:
        ValueError: the calibration has another number of beams, or the pose is missing or singular.
    """
    height, width = image.values.shape[:2]
    rows = image.values.reshape(-1, 4)                                       # (H * W, 4)
    pixels = np.flatnonzero((rows[:, 0] > 0) & (rows[:, 0] < np.inf))        # (N,); false of NaN
    found = rows.take(pixels, axis=0)                                        # (N, 4)
    rays, origin = _rays_of(calibration, height, width)                      # (3, H * W), (3, 1)
    poses, vehicle_from_global = _motion(image, global_from_vehicle)
    xyz = np.empty((len(pixels), 3), np.float32)
    for start in range(0, len(pixels), _AT_ONCE):
        block = slice(start, start + _AT_ONCE)
        part = rays.take(pixels[block], axis=1)                              # (3, n), vehicle frame at the pixel's time
        part *= found[block, 0]
        part += origin
        if poses is not None:
            part = _at_frame_time(part, poses.take(pixels[block], axis=0), vehicle_from_global)
        xyz[block] = part.T
    return LaserReturns(
        laser=image.laser,
        return_number=image.return_number,
        xyz=xyz,
        range_m=found[:, 0].copy(),
        intensity=found[:, 1].copy(),
        elongation=found[:, 2].copy(),
        in_no_label_zone=found[:, 3] > 0,
        pixels=pixels,
        projections=_at(image.projections, pixels),
        labels=_at(image.labels, pixels),
    )


def _rays_of(calibration: LaserCalibration, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    beams = np.ascontiguousarray(calibration.beams(height), np.float64)
    pose = np.ascontiguousarray(calibration.vehicle_from_laser, np.float64)
    return _rays(beams.tobytes(), pose.tobytes(), width), pose[:3, 3:]


@lru_cache(maxsize=_LASERS_KEPT)
def _rays(beams: bytes, vehicle_from_laser: bytes, width: int) -> np.ndarray:
    """(3, H * W) float64, read-only: unit vectors of the pixels along the axes of the vehicle.

    The frames of a segment share them, so the arguments are bytes that can be remembered.
    """
    inclinations = np.frombuffer(beams)[:, None]                             # (H, 1)
    rotation = np.frombuffer(vehicle_from_laser).reshape(4, 4)[:3, :3]
    mounting = np.arctan2(rotation[1, 0], rotation[0, 0])
    columns = (width - np.arange(width) - 0.5) / width * 2 - 1               # (W,) from 1 to -1
    azimuths = columns * np.pi - mounting
    level = np.cos(inclinations)
    axes = np.stack(
        [level * np.cos(azimuths), level * np.sin(azimuths), np.broadcast_to(np.sin(inclinations), (len(level), width))]
    )                                                                        # (3, H, W), laser's axes
    rays = rotation @ axes.reshape(3, -1)
    rays.flags.writeable = False
    return rays


def _motion(image: RangeImage, global_from_vehicle: np.ndarray | None) -> tuple[np.ndarray | None, np.ndarray]:
    """(H * W, 6) poses of the pixels, if there are any, and the (4, 4) way back from the global frame."""
    if image.pixel_poses is None:
        return None, np.eye(4)
    if global_from_vehicle is None:
        raise ValueError("pixel poses need global_from_vehicle, the pose of the frame, got None")
    try:
        return image.pixel_poses.reshape(-1, 6), np.linalg.inv(global_from_vehicle)
    except np.linalg.LinAlgError as error:
        raise ValueError("global_from_vehicle must be a rigid transform, got a singular matrix") from error


def _at_frame_time(xyz: np.ndarray, poses: np.ndarray, vehicle_from_global: np.ndarray) -> np.ndarray:
    """(3, n) in the vehicle frames of the pixels' own times, (n, 6) these frames' poses -> (3, n) in the frame's."""
    columns = np.ascontiguousarray(poses.T, np.float64)                      # (6, n)
    (sin_roll, sin_pitch, sin_yaw), (cos_roll, cos_pitch, cos_yaw) = np.sin(columns[:3]), np.cos(columns[:3])
    x, y, z = xyz
    y, z = cos_roll * y - sin_roll * z, sin_roll * y + cos_roll * z
    x, z = cos_pitch * x + sin_pitch * z, cos_pitch * z - sin_pitch * x
    x, y = cos_yaw * x - sin_yaw * y, sin_yaw * x + cos_yaw * y
    moved = columns[3:]
    moved += np.stack([x, y, z])
    return vehicle_from_global[:3, :3] @ moved + vehicle_from_global[:3, 3:]


def _at(matrix: np.ndarray | IntMatrix | None, pixels: np.ndarray) -> np.ndarray | None:
    """(K, C) int32 of some pixels."""
    if matrix is None or isinstance(matrix, IntMatrix):
        return None if matrix is None else matrix.at(pixels)
    return matrix.reshape(-1, matrix.shape[2]).take(pixels, axis=0).astype(np.int32)
