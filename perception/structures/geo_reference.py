"""Where on Earth the metric frame of a drive lies."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from pyproj import Proj

from ..errors import DataError

MIN_TRACK = 10.0                                           # metres; a shorter track does not tell how the axes lie


@dataclass(frozen=True)
class GeoReference:
    """A plane that touches the Earth (WGS84 ellipsoid), with the axes of the drive's global frame laid on it.

    Places are those of an azimuthal equidistant map about the touching point: distances from it are exact on the
    ellipsoid and off by 0.16 permille a kilometre of height above it.

    Args:
        latitude, longitude: the touching point [deg].
        altitude: height of the global frame's z = 0 above the ellipsoid [m].
        east, north: the touching point in the global frame [m].
        yaw: angle from east to the global x axis [rad], counter-clockwise seen from above.
    """

    latitude: float
    longitude: float
    altitude: float
    east: float = 0.0
    north: float = 0.0
    yaw: float = 0.0

    @classmethod
    def from_track(cls, positions: np.ndarray, fixes: np.ndarray) -> GeoReference:
        """The frame in which a track was driven, fitted to the places on Earth that it went through.

        A track shorter than `MIN_TRACK` does not tell how the axes lie: x is taken for east and y for north then.

        Args:
            positions: (T, 3) ego positions in the global frame [m], T >= 1.
            fixes: (T, 3) latitude, longitude [deg] and altitude [m] of the same.

        Raises:
            DataError: a fix is not a place on Earth.
            ValueError: there is no position, or the shapes differ.
        """
        if positions.shape != fixes.shape or positions.ndim != 2 or not len(positions):
            raise ValueError(f"positions and fixes must both be (T, 3), got {positions.shape} and {fixes.shape}")
        wrong = ~(np.isfinite(fixes).all(axis=1) & (np.abs(fixes[:, 0]) <= 90) & (np.abs(fixes[:, 1]) <= 180))
        if wrong.any():
            raise DataError("drive", "wgs84", "latitude in [-90, 90], longitude in [-180, 180]", fixes[wrong][0])
        latitude, longitude = (float(value) for value in np.median(fixes[:, :2], axis=0))
        offsets = _to_plane(latitude, longitude, fixes[:, 1], fixes[:, 0])                # (T, 2), east and north
        center, middle = positions[:, :2].mean(axis=0), offsets.mean(axis=0)
        local, plane = positions[:, :2] - center, offsets - middle
        yaw = 0.0
        if np.ptp(local, axis=0).max() >= MIN_TRACK:
            cross = (local[:, 0] * plane[:, 1] - local[:, 1] * plane[:, 0]).sum()
            yaw = float(np.arctan2(cross, (local * plane).sum()))                         # least squares in the plane
        east, north = center - _rotation(yaw).T @ middle
        altitude = float(np.median(fixes[:, 2] - positions[:, 2]))
        return cls(latitude, longitude, altitude, float(east), float(north), yaw)

    def to_wgs84(self, points: np.ndarray) -> np.ndarray:
        """(N, 3) points of the global frame [m] -> (N, 3) longitude, latitude [deg] and altitude [m]."""
        plane = (points[:, :2] - (self.east, self.north)) @ _rotation(self.yaw).T         # (N, 2)
        east, north = plane.T.tolist()                     # lists: pyproj warns of arrays that hold one number
        longitude, latitude = _projection(self.latitude, self.longitude)(east, north, inverse=True)
        return np.stack([longitude, latitude, points[:, 2] + self.altitude], axis=1)


def _to_plane(latitude: float, longitude: float, longitudes: np.ndarray, latitudes: np.ndarray) -> np.ndarray:
    return np.stack(_projection(latitude, longitude)(longitudes.tolist(), latitudes.tolist()), axis=1)


def _projection(latitude: float, longitude: float) -> Proj:
    return Proj(proj="aeqd", lat_0=latitude, lon_0=longitude, ellps="WGS84")


def _rotation(yaw: float) -> np.ndarray:
    c, s = np.cos(yaw), np.sin(yaw)
    return np.array([[c, -s], [s, c]])
