"""Lines at the borders of a rectangle."""

import math

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from perception.datasets.maps.line_clipping import (
    checked_region,
    clip_line,
    cut_line,
    into_ego,
    region_corners,
    stretches_inside,
)
from perception.structures import SE3

REGION = (-50.0, -25.0, 50.0, 25.0)
lines = arrays(np.float64, st.tuples(st.integers(2, 9), st.just(2)), elements=st.integers(-80, 80))


def length(line: np.ndarray) -> float:
    return float(np.linalg.norm(np.diff(line, axis=0), axis=1).sum())


def test_a_line_through_the_region_by_hand():
    (part,) = clip_line(np.array([[-60.0, 0.0], [0.0, 0.0], [20.0, 50.0]]), REGION)
    np.testing.assert_allclose(part, [[-50.0, 0.0], [0.0, 0.0], [10.0, 25.0]])


def test_a_line_that_leaves_and_comes_back_gives_parts_in_its_order():
    parts = clip_line(np.array([[40.0, 0.0], [60.0, 0.0], [60.0, 10.0], [40.0, 10.0]]), REGION)
    np.testing.assert_allclose(parts[0], [[40.0, 0.0], [50.0, 0.0]])
    np.testing.assert_allclose(parts[1], [[50.0, 10.0], [40.0, 10.0]])


def test_a_line_that_crosses_itself_stays_one():
    loop = np.array([[-10.0, 0.0], [10.0, 0.0], [10.0, 10.0], [0.0, 10.0], [0.0, -10.0]])
    (part,) = clip_line(loop, REGION)
    np.testing.assert_array_equal(part, loop)


@pytest.mark.parametrize(("shift", "closed"), [(0.0, True), (45.0, False)])
def test_a_ring_is_closed_or_cut_at_the_border_alone(shift, closed):
    ring = np.array([[0.0, 0.0], [10.0, 0.0], [10.0, 10.0], [0.0, 10.0], [0.0, 0.0]])
    ring[:, 0] += shift
    (part,) = clip_line(ring, REGION)
    assert bool((part[0] == part[-1]).all()) is closed
    assert length(part) == pytest.approx(40.0 if closed else 20.0)


@pytest.mark.parametrize("line", [[[50.0, 30.0], [60.0, 20.0]], [[60.0, 0.0], [60.0, 9.0]], [[60.0, 0.0], [60.0, 0.0]]])
def test_what_misses_or_only_touches_the_region_gives_nothing(line):
    assert clip_line(np.array(line), (-50.0, -25.0, 55.0, 25.0)) == []


def test_a_line_along_the_border_is_inside():
    (part,) = clip_line(np.array([[50.0, -40.0], [50.0, 0.0]]), REGION)
    np.testing.assert_array_equal(part, [[50.0, -25.0], [50.0, 0.0]])


@given(lines)
def test_parts_lie_inside_and_are_as_long_as_a_geometry_library_says(line):
    parts = clip_line(line, REGION)
    for part in parts:
        assert (part >= REGION[:2]).all()
        assert (part <= REGION[2:]).all()
    steps = shapely.linestrings(np.stack([line[:-1], line[1:]], axis=1))           # one by one: a line may cross itself
    expected = shapely.intersection(steps, shapely.box(*REGION))
    assert sum(map(length, parts)) == pytest.approx(shapely.length(expected).sum(), abs=1e-9)


@given(lines)
def test_a_line_and_its_reverse_are_cut_at_the_same_places(line):
    there, back = stretches_inside(line, REGION), stretches_inside(line[::-1], REGION)
    np.testing.assert_allclose(len(line) - 1 - back[::-1, ::-1], there, atol=1e-12)


@given(st.floats(-math.pi, math.pi), st.floats(-1e6, 1e6), st.floats(-1e6, 1e6))
def test_corners_of_the_region_come_back_into_the_ego_frame(yaw, x, y):
    pose = SE3.about_z(yaw, [x, y, 3.0])
    corners = into_ego(region_corners(REGION, pose), pose)
    np.testing.assert_allclose(corners, [[-50, -25], [50, -25], [50, 25], [-50, 25]], atol=1e-8)


def test_a_cut_between_vertices_by_hand():
    line = np.array([[0.0, 0.0], [4.0, 0.0], [4.0, 2.0]])
    np.testing.assert_array_equal(cut_line(line, 0.25, 1.5), [[1.0, 0.0], [4.0, 0.0], [4.0, 1.0]])


@pytest.mark.parametrize("region", [(0, 0, 0, 1), (0, 1, 1, 0), (0, 0, math.nan, 1), (0, 0, 1), (0, 0, math.inf, 1)])
def test_an_empty_region_is_refused(region):
    with pytest.raises(ValueError, match=r"region must be x0, y0, x1, y1 \[m\] with x0 < x1 and y0 < y1, got"):
        checked_region(region)
