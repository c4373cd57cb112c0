"""Latitudes and longitudes: distances, and what is no place on Earth."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyproj import Geod

from perception.geo import EARTH_RADIUS_KM, checked_latlng, great_circle_km

LATITUDE, LONGITUDE = st.floats(-90, 90), st.floats(-180, 180)
PLACES = st.tuples(LATITUDE, LONGITUDE)
QUARTER_KM = math.pi / 2 * EARTH_RADIUS_KM


@pytest.mark.parametrize(
    ("first", "second", "expected_km"),
    [
        ((0, 0), (0, 90), QUARTER_KM), ((0, 0), (90, 123), QUARTER_KM), ((90, 0), (-90, 0), 2 * QUARTER_KM),
        ((0, 179.5), (0, -179.5), QUARTER_KM / 90), ((12.5, 33), (12.5, 33), 0.0), ((0, 180), (0, -180), 0.0),
        ((40, 10), (-40, -170), 2 * QUARTER_KM),
    ],
)
def test_distances_worked_by_hand(first, second, expected_km):
    (distance,) = great_circle_km([first], [second])
    assert distance == pytest.approx(expected_km, abs=1e-6)          # a millimetre


@given(first=PLACES, second=PLACES)
def test_distances_are_those_of_a_sphere_by_pyproj(first, second):
    geod = Geod(a=EARTH_RADIUS_KM * 1000, b=EARTH_RADIUS_KM * 1000)
    expected = geod.inv(first[1], first[0], second[1], second[0])[2] / 1000
    assert great_circle_km([first], [second])[0] == pytest.approx(expected, abs=1e-5)


def test_a_millimetre_is_told():
    step = math.degrees(1e-6 / EARTH_RADIUS_KM)
    assert great_circle_km([[48.0, 11.0]], [[48.0 + step, 11.0]])[0] == pytest.approx(1e-6, rel=1e-2)


def test_no_places_have_no_distances():
    assert great_circle_km(np.empty((0, 2)), np.empty((0, 2))).shape == (0,)


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ((math.nan, 0.0), "nan, 0"), ((0.0, math.inf), "0, inf"), ((90.5, 181.0), "90.5, 181"),
        ((0.0, 180.001), "0, 180.001"), ((-91.0, 181.0), "-91, 181"),
    ],
)
def test_what_is_no_place_is_refused_with_its_row(row, told):
    with pytest.raises(ValueError, match=rf"row 1: expected a latitude in \[-90, 90\] .* got {told}"):
        checked_latlng([(48.0, 11.0), row])


def test_swapped_columns_are_told_by_their_range():
    with pytest.raises(ValueError, match=r"row 1: .* got 103.8, 1.3; latitude and longitude seem to be swapped"):
        checked_latlng([(50.0, 40.0), (103.8, 1.3)])


@pytest.mark.parametrize("rows", [[(100.0, 10.0), (20.0, 95.0)], [(10.0, 190.0)], [(math.nan, 10.0)], [(200.0, 10.0)]])
def test_columns_that_would_not_do_the_other_way_round_are_not_called_swapped(rows):
    with pytest.raises(ValueError, match=r"row 0: .* got [^;]*$"):
        checked_latlng(rows)


@pytest.mark.parametrize("shape", [(3,), (3, 3), (2, 2, 2)])
def test_other_shapes_are_refused(shape):
    with pytest.raises(ValueError, match="latlng must be"):
        checked_latlng(np.zeros(shape))


def test_as_many_places_are_needed_on_both_sides():
    with pytest.raises(ValueError, match="equally many places, got 1 and 2"):
        great_circle_km(np.zeros((1, 2)), np.zeros((2, 2)))
