"""Global frames laid on the Earth."""

from __future__ import annotations

import math

import numpy as np
import pytest
from pyproj import Geod

from perception.errors import DataError
from perception.structures import GeoReference

WGS84 = Geod(ellps="WGS84")


def fixes_along(bearing_deg: float, ways: np.ndarray, latitude: float = 48.1, longitude: float = 11.6) -> np.ndarray:
    """(T, 3) latitude, longitude, altitude at distances [m] from a place, by geodesics."""
    places = [WGS84.fwd(longitude, latitude, bearing_deg, way)[:2] for way in ways]
    return np.array([[lat, lon, 520.0] for lon, lat in places])


def test_a_track_along_x_that_was_driven_north_puts_x_to_the_north():
    ways = np.arange(0.0, 200.0, 10.0)
    track = np.column_stack([ways + 5000.0, np.full(len(ways), -300.0), np.full(len(ways), 20.0)])
    reference = GeoReference.from_track(track, fixes_along(0.0, ways))
    assert reference.yaw == pytest.approx(math.pi / 2, abs=1e-3)
    place = reference.to_wgs84(np.array([[5100.0, -250.0, 21.0]]))[0]                     # 50 m to the left: west
    lon, lat, _ = WGS84.fwd(*WGS84.fwd(11.6, 48.1, 0.0, 100.0)[:2], 270.0, 50.0)
    assert WGS84.inv(lon, lat, place[0], place[1])[2] < 0.01
    assert place[2] == pytest.approx(521.0)


def test_a_standing_vehicle_has_x_to_the_east():
    reference = GeoReference.from_track(np.zeros((3, 3)), fixes_along(0.0, np.zeros(3)))
    lon, lat, _ = reference.to_wgs84(np.array([[100.0, 0.0, 0.0]]))[0]
    bearing, _, distance = WGS84.inv(11.6, 48.1, lon, lat)
    assert (bearing, distance) == (pytest.approx(90.0, abs=1e-3), pytest.approx(100.0, abs=1e-3))


@pytest.mark.parametrize("fix", [[91.0, 0.0, 0.0], [0.0, 181.0, 0.0], [math.nan, 0.0, 0.0]])
def test_a_fix_that_is_no_place_on_earth_is_refused(fix: list[float]):
    with pytest.raises(DataError, match="wgs84: expected latitude in"):
        GeoReference.from_track(np.zeros((1, 3)), np.array([fix]))


@pytest.mark.parametrize("count", [0, 2])
def test_as_many_fixes_as_positions_are_wanted(count: int):
    with pytest.raises(ValueError, match=r"positions and fixes must both be \(T, 3\)"):
        GeoReference.from_track(np.zeros((count, 3)), np.zeros((count // 2, 3)))
