"""From the metric frames of data sets to WGS84, against the data sets' own code."""

from __future__ import annotations

import numpy as np
import pytest

from perception.errors import ConfigError
from perception.geo import great_circle_km
from perception.geo.local_frames import ARGOVERSE2_CITIES, NUSCENES_ORIGINS, argoverse2_latlng, nuscenes_latlng

XY = np.random.default_rng(0).uniform(5, 3000, (40, 2))


@pytest.mark.parametrize("location", NUSCENES_ORIGINS)
def test_nuscenes_places_are_those_that_its_devkit_exports(location):
    from nuscenes.scripts.export_poses import derive_latlon

    poses = [{"timestamp": 0, "translation": [x, y, 0.0]} for x, y in XY.tolist()]
    expected = [(row["latitude"], row["longitude"]) for row in derive_latlon(location, poses)]
    np.testing.assert_allclose(nuscenes_latlng(XY, location), expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize("city", ARGOVERSE2_CITIES)
def test_argoverse2_places_are_those_of_its_own_package(city):
    from av2.geometry.utm import CityName, convert_city_coords_to_wgs84

    expected = convert_city_coords_to_wgs84(XY - 1500, CityName(city))
    np.testing.assert_allclose(argoverse2_latlng(XY - 1500, city), expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize(
    ("xy", "signs"), [((0.0, 0.0), (0, 0)), ((0.0, -700.0), (-1, 0)), ((-300.0, 40.0), (1, -1)), ((9.0, -9.0), (-1, 1))]
)
def test_places_on_all_sides_of_the_origin_are_where_they_should(xy, signs):
    origin = np.array(NUSCENES_ORIGINS["boston-seaport"])
    (place,) = nuscenes_latlng(np.array([xy]), "boston-seaport")
    expected_km = np.hypot(*xy) / 1000 * 6371.009 / 6378.137          # distances are told on the smaller sphere
    assert great_circle_km([origin], [place])[0] == pytest.approx(expected_km, abs=1e-6)
    assert np.sign(np.round(place - origin, 9)).tolist() == list(signs)


def test_a_town_of_ones_own_lies_where_it_is_put_and_may_cross_the_180th_meridian():
    (place,) = nuscenes_latlng(np.array([[1000.0, 0.0]]), "fiji", {"fiji": (-17.0, 179.999)})
    assert -180 <= place[1] < -179.98


def test_one_point_alone_is_no_trouble():
    assert argoverse2_latlng(np.zeros((1, 2)), "PIT").shape == (1, 2)
    assert argoverse2_latlng(np.zeros((0, 2)), "PIT").shape == (0, 2)


def test_unknown_towns_are_refused_with_the_nearest_name():
    with pytest.raises(ConfigError, match=r'no city "PTI" \(did you mean "PIT"\?\); known: ATX'):
        argoverse2_latlng(XY, "PTI")
    with pytest.raises(ConfigError, match=r'map "boston-seeport" \(did you mean "boston-seaport"\?\)'):
        nuscenes_latlng(XY, "boston-seeport")
