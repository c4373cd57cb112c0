"""Plane geometry of streets: polylines with stations and normals, connecting curves, and oriented rectangles."""

from __future__ import annotations

import numpy as np

from ..structures.angles import cos_sin, direction
from ..structures.line_geometry import left_normals, resample, stations


class Ribbon:
    """A street's centre line that can be asked for parallels of any stretch of it.

    Args:
        line: (V, 2) float64, metres.
        spacing: distance of the stored stations [m].
    """

    def __init__(self, line: np.ndarray, spacing: float = 1.0) -> None:
        if line.ndim != 2 or line.shape[1] != 2 or len(line) < 2:
            raise ValueError(f"line must be (V, 2) with V >= 2, got {line.shape}")
        self.points = resample(np.asarray(line, dtype=np.float64), spacing)
        self.normals = left_normals(self.points)
        self.stations = stations(self.points)
        self.length = float(self.stations[-1])
        self._columns = np.concatenate([self.points, self.normals], axis=1)          # (V, 4)

    def at(self, station: np.ndarray | float, lateral: np.ndarray | float = 0.0) -> np.ndarray:
        """(N,) stations [m] and offsets to the left [m] -> (N, 2) points; beyond the ends it runs on straight."""
        station = np.atleast_1d(np.asarray(station, dtype=np.float64))
        columns = self._interpolate(station)                                         # (N, 4)
        beyond = (station - np.clip(station, 0.0, self.length))[:, None]
        offset = np.asarray(lateral, dtype=np.float64).reshape(-1, 1)
        return columns[:, :2] + columns[:, 2:] * offset + columns[:, :1:-1] * beyond * (1.0, -1.0)

    def normal(self, station: np.ndarray | float) -> np.ndarray:
        """(N,) stations -> (N, 2) unit normals to the left."""
        return self._interpolate(np.atleast_1d(np.asarray(station, dtype=np.float64)))[:, 2:]

    def yaw(self, station: np.ndarray | float) -> np.ndarray:
        """(N,) stations -> (N,) direction of travel [rad]."""
        normals = self.normal(station)
        return direction(normals[:, 1], -normals[:, 0])

    def parallel(self, start: float, end: float, lateral: float, spacing: float = 2.0) -> np.ndarray:
        """(V, 2) curve ``lateral`` metres to the left of the stretch from ``start`` to ``end``."""
        count = max(int(np.ceil(abs(end - start) / spacing)), 1) + 1
        return self.at(np.linspace(start, end, count), lateral)

    def strip(self, start: float, end: float, right: float, left: float, spacing: float = 2.0) -> np.ndarray:
        """(V, 2) counter-clockwise outline between two parallels (``right`` < ``left``, both offsets to the left)."""
        return np.concatenate([self.parallel(start, end, right, spacing), self.parallel(end, start, left, spacing)])

    def _interpolate(self, station: np.ndarray) -> np.ndarray:
        """(N,) stations, clipped to the ends -> (N, 4) point and unit normal."""
        row = np.clip(station * ((len(self.points) - 1) / self.length), 0.0, len(self.points) - 1)
        below = np.minimum(row.astype(np.int64), len(self.points) - 2)
        share = (row - below)[:, None]
        columns = self._columns[below] * (1.0 - share) + self._columns[below + 1] * share
        columns[:, 2:] /= np.sqrt((columns[:, 2:] ** 2).sum(axis=1, keepdims=True))
        return columns


def connect(start: np.ndarray, start_yaw: float, end: np.ndarray, end_yaw: float, spacing: float = 1.0) -> np.ndarray:
    """(V, 2) smooth curve from one pose to another (a cubic Bezier that is near an arc for a right-angled turn)."""
    chord = float(np.linalg.norm(end - start))
    first, last = np.array([np.cos(start_yaw), np.sin(start_yaw)]), np.array([np.cos(end_yaw), np.sin(end_yaw)])
    turn = abs((end_yaw - start_yaw + np.pi) % (2 * np.pi) - np.pi)
    # A circular arc over the turn has handles of 4/3 tan(turn / 4) radii, and a chord of 2 sin(turn / 2) radii.
    handle = chord / 3 if turn < 1e-3 else chord * (4 / 3) * np.tan(turn / 4) / (2 * np.sin(turn / 2))
    t = np.linspace(0.0, 1.0, 65)[:, None]
    control = (start, start + first * handle, end - last * handle, end)
    curve = sum(
        weight * point
        for weight, point in zip(((1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t**2 * (1 - t), t**3), control, strict=True)
    )
    return resample(np.asarray(curve), spacing)


def rectangle_corners(poses: np.ndarray, size: np.ndarray) -> np.ndarray:
    """Corners of oriented rectangles.

    Args:
        poses: (..., 3) x, y, yaw.
        size: (..., 2) length and width, broadcast against the poses.

    Returns:
        (..., 4, 2) corners, counter-clockwise from front left.
    """
    cos, sin = cos_sin(poses[..., 2])
    forward = np.stack([cos, sin], axis=-1) * size[..., :1] / 2
    left = np.stack([-sin, cos], axis=-1) * size[..., 1:2] / 2
    corners = [forward + left, left - forward, -forward - left, forward - left]
    return poses[..., None, :2] + np.stack(np.broadcast_arrays(*corners), axis=-2)


def rectangles_overlap(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Whether convex quadrilaterals (..., 4, 2) share area: (...) bool, by the separating axis theorem."""
    first, second = np.broadcast_arrays(first, second)
    apart = np.zeros(first.shape[:-2], dtype=bool)
    for corners in (first, second):
        for edge in range(2):
            axis = corners[..., edge + 1, :] - corners[..., edge, :]      # (..., 2)
            a = (first * axis[..., None, :]).sum(-1)                      # (..., 4)
            b = (second * axis[..., None, :]).sum(-1)
            apart |= (a.max(-1) <= b.min(-1)) | (b.max(-1) <= a.min(-1))
    return ~apart
