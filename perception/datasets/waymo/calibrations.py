"""Poses and calibrations of Waymo's cameras and lasers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ...errors import DataError
from ...structures import SE3, Calibration
from .names import CAMERAS, LASERS, SHUTTER_DIRECTIONS, name_of

# Waymo's camera axes (x out of the lens, y left, z up) from ours (x right, y down, z out of the lens).
_WAYMO_FROM_OURS = SE3.from_matrix([[0.0, 0.0, 1.0, 0.0], [-1.0, 0.0, 0.0, 0.0], [0.0, -1.0, 0.0, 0.0]])


@dataclass(frozen=True, eq=False)
class CameraCalibration:
    """One camera on the vehicle.

    Args:
        name: one of `names.CAMERAS`.
        intrinsic: f_u, f_v, c_u, c_v [pixels], then the distortion k1, k2, p1, p2, k3.
        vehicle_from_camera: pose in Waymo's camera axes: x out of the lens, y left, z up.
        width: of the picture [pixels].
        height: of the picture [pixels].
        shutter_direction: one of `names.SHUTTER_DIRECTIONS`.
    """

    name: str
    intrinsic: tuple[float, ...]
    vehicle_from_camera: SE3
    width: int
    height: int
    shutter_direction: str

    def pinhole(self, moved: SE3 | None = None) -> Calibration:
        """The camera without its distortion, in our axes (x right, y down, z out of the lens).

        Args:
            moved: frame's vehicle from the vehicle at the time of the picture; None for no motion between them.

        Raises:
            ValueError: a focal length is not positive, or a number not finite.
        """
        f_u, f_v, c_u, c_v = self.intrinsic[:4]
        pose = self.vehicle_from_camera @ _WAYMO_FROM_OURS
        intrinsics = torch.tensor([[f_u, 0.0, c_u], [0.0, f_v, c_v], [0.0, 0.0, 1.0]], dtype=torch.float64)
        return Calibration(intrinsics, pose if moved is None else moved @ pose, self.width, self.height)


@dataclass(frozen=True, eq=False)
class LaserCalibration:
    """One laser scanner on the vehicle.

    Args:
        name: one of `names.LASERS`.
        vehicle_from_laser: (4, 4) float64 pose.
        inclinations: (H,) float64 of the beams, lowest first [rad]; None if they are evenly spaced.
        inclination_range: lowest and highest inclination [rad], the outer edges of the evenly spaced beams.
    """

    name: str
    vehicle_from_laser: np.ndarray
    inclinations: np.ndarray | None
    inclination_range: tuple[float, float]

    def beams(self, height: int) -> np.ndarray:
        """(height,) float64 inclinations of the rows of a range image [rad], highest beam first.

        Raises:
            ValueError: the listed inclinations are not as many.
        """
        if self.inclinations is None:
            low, high = self.inclination_range
            rising = low + (np.arange(height) + 0.5) / height * (high - low)
        elif len(self.inclinations) != height:
            raise ValueError(f"{len(self.inclinations)} inclinations of {self.name} for {height} rows")
        else:
            rising = self.inclinations
        return rising[::-1]


def pose_of(transform: Any, place: Path | str, field: str) -> SE3:
    """A ``Transform`` message as a rigid transform.

    Args:
        transform: the message: 16 numbers, row-major.
        place: told by the error.
        field: told by the error.

    Raises:
        DataError: it has not 16 numbers or is no rigid transform.
    """
    return _rigid(_matrix(transform.transform, place, field), place, field)


def camera_calibrations(context: Any, place: Path | str) -> dict[str, CameraCalibration]:
    """Cameras of a ``Context`` message by name, in the order of the message.

    Raises:
        DataError: a camera is there twice, or its intrinsics or pose are malformed.
    """
    cameras: dict[str, CameraCalibration] = {}
    for message in context.camera_calibrations:
        name = name_of(message.name, CAMERAS)
        _refuse_twin(name, cameras, place, f"calibration of camera {name}")
        intrinsic = tuple(message.intrinsic)
        if len(intrinsic) != 9 or not np.isfinite(intrinsic).all():
            raise DataError(place, f"intrinsic of camera {name}", "9 finite numbers", list(intrinsic))
        cameras[name] = CameraCalibration(
            name=name,
            intrinsic=intrinsic,
            vehicle_from_camera=pose_of(message.extrinsic, place, f"extrinsic of camera {name}"),
            width=message.width,
            height=message.height,
            shutter_direction=name_of(message.rolling_shutter_direction, SHUTTER_DIRECTIONS),
        )
    return cameras


def laser_calibrations(context: Any, place: Path | str) -> dict[str, LaserCalibration]:
    """Lasers of a ``Context`` message by name, in the order of the message.

    Raises:
        DataError: a laser is there twice, has neither a list nor a range of inclinations, or its pose is malformed.
    """
    lasers: dict[str, LaserCalibration] = {}
    for message in context.laser_calibrations:
        name = name_of(message.name, LASERS)
        _refuse_twin(name, lasers, place, f"calibration of laser {name}")
        inclinations = np.array(message.beam_inclinations, np.float64)
        limits = (message.beam_inclination_min, message.beam_inclination_max)
        has_range = message.HasField("beam_inclination_min") and message.HasField("beam_inclination_max")
        if not (len(inclinations) or has_range) or not (np.isfinite(inclinations).all() and np.isfinite(limits).all()):
            got = f"{inclinations.tolist()} and {list(limits)}"
            raise DataError(place, f"inclinations of laser {name}", "a finite list, or a lowest and a highest one", got)
        extrinsic = _matrix(message.extrinsic.transform, place, f"extrinsic of laser {name}")
        _rigid(extrinsic, place, f"extrinsic of laser {name}")
        lasers[name] = LaserCalibration(name, extrinsic, inclinations if len(inclinations) else None, limits)
    return lasers


def _matrix(values: Sequence[float], place: Path | str, field: str) -> np.ndarray:
    """(4, 4) float64."""
    if len(values) != 16:
        raise DataError(place, field, "16 numbers", len(values))
    return np.array(values, np.float64).reshape(4, 4)


def _rigid(matrix: np.ndarray, place: Path | str, field: str) -> SE3:
    try:
        return SE3.from_matrix(matrix)
    except ValueError as error:
        raise DataError(place, field, "a rigid transform", error) from error


def _refuse_twin(name: str, known: dict[str, Any], place: Path | str, field: str) -> None:
    if name in known:
        raise DataError(place, field, "one", "two of that name")
