"""Middles and sides of lanes and crossings."""

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from perception.datasets.maps.lane_strips import CENTER, LEFT, RIGHT, crossing_strip, lane_strip, strips_inside
from perception.datasets.maps.nuscenes_lane_graphs import center_line, line_type

REGION = (-50.0, -25.0, 50.0, 25.0)
EASTWARD = np.array([[0.0, 0.0], [20.0, 0.0]])
OUTLINE = np.array([[0.0, -2.0], [10.0, -2.0], [20.0, -2.0], [20.0, 2.0], [0.0, 2.0]])


def test_a_straight_lane_by_hand():
    strip = lane_strip(EASTWARD, OUTLINE)
    assert strip.shape == (21, 3, 2)
    np.testing.assert_allclose(strip[:, :, 0], np.arange(21.0)[:, None].repeat(3, axis=1), atol=1e-12)
    np.testing.assert_allclose(strip[:, [LEFT, CENTER, RIGHT], 1], np.full((21, 3), [2.0, 0.0, -2.0]), atol=1e-12)


@given(turn=st.integers(0, 4), backwards=st.booleans())
def test_neither_order_nor_first_corner_of_the_outline_counts(turn, backwards):
    outline = np.roll(OUTLINE[::-1] if backwards else OUTLINE, turn, axis=0)
    np.testing.assert_allclose(lane_strip(EASTWARD, outline), lane_strip(EASTWARD, OUTLINE), atol=1e-12)


def test_the_sides_of_the_opposite_direction_change_places():
    there, back = lane_strip(EASTWARD, OUTLINE), lane_strip(EASTWARD[::-1], OUTLINE)
    np.testing.assert_allclose(back, there[::-1, ::-1], atol=1e-12)


def test_an_outline_entered_and_left_through_one_edge_gives_sides_of_its_mean_width():
    inner = np.array([[5.0, 0.0], [15.0, 0.0]])
    strip = lane_strip(inner, np.array([[0.0, -1.0], [20.0, -1.0], [10.0, 30.0]]))     # nearest to its base: 310 m^2
    np.testing.assert_allclose(strip[:, LEFT, 1] - strip[:, RIGHT, 1], 31.0)


def test_a_crossing_runs_along_its_longer_sides():
    strip = crossing_strip(shapely.box(0.0, 0.0, 3.0, 9.0))
    assert np.linalg.norm(strip[-1] - strip[0], axis=1).tolist() == [9.0, 9.0, 9.0]
    heading, across = strip[-1, CENTER] - strip[0, CENTER], strip[0, LEFT] - strip[0, CENTER]
    assert heading[0] * across[1] - heading[1] * across[0] == pytest.approx(9.0 * 1.5)


def test_a_crossing_of_many_corners_is_its_smallest_rectangle():
    bent = shapely.Polygon([(0, 0), (3, 0), (4, 5), (3, 10), (0, 10), (1, 5)])
    strip = crossing_strip(bent)
    corners = shapely.MultiPoint(strip[[0, 0, -1, -1], [LEFT, RIGHT, LEFT, RIGHT]]).convex_hull
    assert corners.area == pytest.approx(bent.minimum_rotated_rectangle.area)


def test_a_strip_that_leaves_and_comes_back_has_one_beginning_and_one_end():
    center = np.array([[30.0, 0.0], [60.0, 0.0], [60.0, 10.0], [30.0, 10.0]])
    strip = center[:, None] + [[0.0, 1.0], [0.0, 0.0], [0.0, -1.0]]                # (4, 3, 2)
    first, second = strips_inside(strip, REGION, 5, 1.0)
    assert first[1:] == (True, False)
    assert second[1:] == (False, True)
    np.testing.assert_allclose(first[0][:, CENTER, 0], [30, 35, 40, 45, 50])
    np.testing.assert_allclose(second[0][:, LEFT], [[50, 11], [45, 11], [40, 11], [35, 11], [30, 11]])


def test_what_is_left_of_a_strip_by_the_border_must_have_a_length():
    strip = lane_strip(EASTWARD, OUTLINE) + np.array([49.5, 0.0])
    assert strips_inside(strip, REGION, 10, 1.0) == []
    assert len(strips_inside(strip, REGION, 10, 0.4)) == 1


@pytest.mark.parametrize(("kinds", "expected"), [
    ([], "none"), (["NIL", "NIL"], "none"), (["SINGLE_SOLID_WHITE"], "solid"), (["DOUBLE_DASHED_WHITE"], "dashed"),
    (["SINGLE_ZIGZAG_WHITE"], "solid"), (["NIL", "SINGLE_SOLID_YELLOW", "SINGLE_SOLID_YELLOW"], "solid"),
])
def test_the_commonest_divider_names_the_line(kinds, expected):
    assert line_type([{"node_token": "n", "segment_type": kind} for kind in kinds]) == expected


def test_a_path_of_a_straight_piece_and_a_curve_ends_where_it_says():
    straight = {"start_pose": [0.0, 0.0, 0.0], "end_pose": [30.0, 0.0, 0.0], "shape": "LSR", "radius": 999.999,
                "segment_length": [0.0, 30.0, 0.0]}
    quarter = {"start_pose": [30.0, 0.0, 0.0], "end_pose": [40.0, 10.0, np.pi / 2], "shape": "LSR", "radius": 10.0,
               "segment_length": [10.0 * np.pi / 2, 0.0, 0.0]}
    path = center_line([straight, quarter])
    np.testing.assert_allclose(path[[0, 1, -1]], [[0.0, 0.0], [30.0, 0.0], [40.0, 10.0]], atol=1e-9)
    np.testing.assert_allclose(np.linalg.norm(path[2:] - [30.0, 10.0], axis=1), 10.0, atol=1e-9)
    assert np.linalg.norm(np.diff(path[2:], axis=0), axis=1).max() <= 1.0
