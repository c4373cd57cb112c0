"""Map elements: worked by hand, then what holds for any map, then crooked and empty ones."""

import math

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st
from random_layers import layers, random_layers
from shapely import LineString, Polygon, affinity, box

from perception.datasets.maps.map_elements import BOUNDARY, CROSSING, DIVIDER, long_axis, map_elements
from perception.datasets.maps.window import MapWindow
from perception.errors import ConfigError

WINDOW = MapWindow((-30, -15, 30, 15))
EXACT = MapWindow((-30, -15, 30, 15), tolerance=0.0)


def lines(found: list, label: int) -> list[list]:
    """The rounded vertices of the elements of one class."""
    return [vertices.round(6).tolist() for kind, vertices in found if kind == label]


def beside(vertices: np.ndarray, offset: float) -> np.ndarray:
    """(V - 1,) points at some distance to the left of the middle of each edge."""
    edges = np.diff(vertices[:, :2], axis=0)
    left = edges[:, ::-1] * (-1, 1) / np.linalg.norm(edges, axis=1, keepdims=True)
    return shapely.points((vertices[1:, :2] + vertices[:-1, :2]) / 2 + offset * left)


def test_a_straight_road_has_two_edges_with_the_road_to_their_right():
    found = map_elements(layers(areas=[box(-100, -4, 100, 5)]), WINDOW)
    assert sorted(lines(found, BOUNDARY)) == [[[-29.8, 5], [29.8, 5]], [[29.8, -4], [-29.8, -4]]]


def test_an_edge_is_a_boundary_that_keeps_its_sense_and_is_cut_by_the_inset():
    found = map_elements(layers(edges=[LineString([(40, 5), (-100, 5)]), LineString([(0, 99), (9, 99)])]), WINDOW)
    assert found[0][1].tolist() == [[29.8, 5], [-29.8, 5]]
    assert [label for label, _ in found] == [BOUNDARY]


def test_lanes_of_one_road_have_no_boundary_between_them():
    found = map_elements(layers(areas=[box(-100, -4, 100, 0), box(-100, 0, 100, 5)]), WINDOW)
    assert sorted(lines(found, BOUNDARY)) == [[[-29.8, 5], [29.8, 5]], [[29.8, -4], [-29.8, -4]]]


def test_the_rim_of_an_island_runs_counter_clockwise_and_is_closed():
    road = Polygon(box(-100, -50, 100, 50).exterior, [box(-5, -2, 5, 2).exterior])
    [rim] = lines(map_elements(layers(areas=[road]), WINDOW), BOUNDARY)
    assert rim[0] == rim[-1]
    assert shapely.LinearRing(rim).is_ccw
    assert Polygon(rim).equals(box(-5, -2, 5, 2))


def test_a_boundary_that_begins_inside_the_region_is_one_line():
    corner = Polygon([(0, 0), (0, -50), (-50, -50), (-50, 0)])                    # the ring begins at the corner (0, 0)
    assert lines(map_elements(layers(areas=[corner]), WINDOW), BOUNDARY) == [[[-29.8, 0], [0, 0], [0, -14.8]]]


def test_a_divider_that_leaves_and_returns_is_two_elements_up_to_the_very_edge():
    bow = LineString([(-10, 0), (0, 30), (10, 0)])
    assert lines(map_elements(layers([bow]), WINDOW), DIVIDER) == [[[-10, 0], [-5, 15]], [[5, 15], [10, 0]]]


def test_corners_within_the_tolerance_vanish_and_others_stay():
    line = LineString([(0, 0), (5, 0.15), (10, 0), (10, 5)])
    assert lines(map_elements(layers([line]), WINDOW), DIVIDER) == [[[0, 0], [10, 0], [10, 5]]]
    assert lines(map_elements(layers([line]), EXACT), DIVIDER) == [[[0, 0], [5, 0.15], [10, 0], [10, 5]]]


def test_a_crossing_runs_counter_clockwise_and_is_open_where_the_region_ends():
    inside, cut = box(0, -5, 3, 5), box(28, -5, 40, 5)
    closed, opened = lines(map_elements(layers(crossings=[inside, cut]), WINDOW), CROSSING)
    assert shapely.LinearRing(closed).is_ccw
    assert Polygon(closed).equals(inside)
    assert opened == [[29.8, 5], [28, 5], [28, -5], [29.8, -5]]


def test_the_two_sides_of_a_crossing_longer_than_the_region_are_one_line():
    [line] = lines(map_elements(layers(crossings=[box(0, -40, 3, 40)]), WINDOW), CROSSING)
    assert sorted(line) == [[0, -14.8], [0, 14.8], [3, -14.8], [3, 14.8]]
    assert {tuple(line[0]), tuple(line[1])} in ({(0, -14.8), (0, 14.8)}, {(3, -14.8), (3, 14.8)})


@pytest.mark.parametrize(("other", "elements"), [
    (box(0, 5, 3, 12), 1),                                    # goes on behind an island of no width
    (affinity.rotate(box(0, 5, 3, 12), 6, origin=(1.5, 5)), 1),    # nearly so
    (affinity.rotate(box(0, 5, 3, 12), 20, origin=(1.5, 5)), 2),   # turns off
    (box(3, -1.5, 13, 1.5), 2),                               # crosses another arm of the junction
    (box(0, 6, 3, 12), 2),                                    # parallel, but does not touch
])
def test_crossings_are_united_if_they_touch_and_are_parallel(other, elements):
    found = map_elements(layers(crossings=[box(0, -5, 3, 5), other]), WINDOW)
    assert len(lines(found, CROSSING)) == elements


def test_a_crossing_that_was_taken_takes_no_others():
    chain = [box(0, -12, 3, -6), box(0, -6, 3, 0), box(0, 0, 3, 6)]               # the third touches only the second
    outlines = [Polygon(line) for line in lines(map_elements(layers(crossings=chain), WINDOW), CROSSING)]
    assert [round(outline.area) for outline in outlines] == [36, 18]


@pytest.mark.parametrize("angle", [0.0, 10.0, 89.9, 123.4])
def test_the_long_axis_is_that_of_the_smallest_rectangle(angle):
    axis = long_axis(affinity.rotate(box(0, 0, 2, 7), angle, origin=(0, 0)))
    turned = np.radians(angle + 90)
    assert abs(axis @ (np.cos(turned), np.sin(turned))) == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("angle", np.linspace(0, 360, 25))
def test_the_long_axis_of_a_triangle_is_along_its_longest_side(angle):
    triangle = affinity.rotate(Polygon([(0, 0), (6, 0), (3.5, 4)]), angle, origin=(0, 0))    # all rectangles: 24 m2
    assert abs(long_axis(triangle) @ (np.cos(np.radians(angle)), np.sin(np.radians(angle)))) == pytest.approx(1)


def test_heights_are_kept_and_interpolated_at_the_cut():
    slope = Polygon([(-50, -4, 0), (50, -4, 10), (50, 4, 10), (-50, 4, 0)])       # a tenth of x, plus 5 m
    line = LineString([(-60, 1, -1), (60, 1, 11)])
    crossing = Polygon([(0, -40, 5), (3, -40, 5.3), (3, 4, 5.3), (0, 4, 5)])
    found = map_elements(layers([line], [slope], [crossing]), WINDOW)
    assert [label for label, _ in found] == [CROSSING, DIVIDER, BOUNDARY, BOUNDARY]
    for _, vertices in found:
        np.testing.assert_allclose(vertices[:, 2], vertices[:, 0] / 10 + 5, atol=1e-9)


@given(seed=st.integers(0, 10**6))
def test_nothing_leaves_the_region(seed):
    for label, vertices in map_elements(random_layers(seed), WINDOW):
        low, high = np.reshape(WINDOW.region, (2, 2))
        inset = 0.0 if label == DIVIDER else WINDOW.inset
        assert (vertices >= low + inset - 1e-9).all()
        assert (vertices <= high - inset + 1e-9).all()
        assert len(vertices) >= 2


@given(seed=st.integers(0, 10**6))
def test_the_road_is_always_to_the_right_of_its_boundary(seed):
    given_layers = random_layers(seed)
    road = shapely.union_all(given_layers.areas)
    for label, vertices in map_elements(given_layers, EXACT):
        if label == BOUNDARY:
            assert shapely.contains(road, beside(vertices, -1e-5)).all()
            assert not shapely.contains(road, beside(vertices, 1e-5)).any()


@given(seed=st.integers(0, 10**6))
def test_the_crossing_is_always_to_the_left_of_its_outline(seed):
    crossing = random_layers(seed).crossings[0]
    [*found] = map_elements(layers(crossings=[crossing]), EXACT)
    rim = crossing.exterior.buffer(1e-6)
    for _, vertices in found:
        edges = [LineString(edge) for edge in np.stack([vertices[:-1], vertices[1:]], axis=1)]
        on_rim = shapely.within(edges, rim)                                       # all but the joints between pieces
        assert shapely.contains(crossing, beside(vertices, 1e-5)[on_rim]).all()


@given(seed=st.integers(0, 10**6))
def test_simplified_lines_stay_within_the_tolerance(seed):
    simple, exact = map_elements(random_layers(seed), WINDOW), map_elements(random_layers(seed), EXACT)
    assert [label for label, _ in simple] == [label for label, _ in exact]
    for (_, few), (_, many) in zip(simple, exact, strict=True):
        assert shapely.hausdorff_distance(LineString(few), LineString(many)) <= WINDOW.tolerance + 1e-9


@given(angle=st.floats(0, 360), seed=st.integers(0, 10**6))
def test_a_side_road_joins_without_a_gap_at_any_angle(angle, seed):
    shift = np.random.default_rng(seed).uniform(-1, 1, 2)
    parts = [box(-5, -5, 5, 5), box(5, -3, 7, 3)]                                 # its corners lie on the other's edge
    turned = [affinity.translate(affinity.rotate(part, angle, origin=(0, 0)), *shift) for part in parts]
    [rim] = [vertices for _, vertices in map_elements(layers(areas=turned), EXACT)]
    assert LineString(rim).length == pytest.approx(44, abs=1e-5)                  # unions are computed to 1e-7 m
    assert Polygon(rim).area == pytest.approx(112, abs=1e-5)


def test_a_map_that_is_elsewhere_gives_no_element():
    elsewhere = layers([LineString([(40, 0), (50, 0)])], [box(31, -5, 60, 5)], [box(-9, 16, 9, 20)])
    assert map_elements(elsewhere, WINDOW) == []
    assert map_elements(layers(), WINDOW) == []


def test_what_only_touches_the_region_gives_no_element():
    touching = layers([LineString([(30, -5), (40, 0), (30, 5)])], [box(30, -5, 60, 5)], [box(-9, 15, 9, 20)])
    assert map_elements(touching, WINDOW) == []


def test_a_polygon_that_crosses_itself_counts_as_its_odd_parts():
    bow_tie = Polygon([(-4, -4), (4, 4), (4, -4), (-4, 4)])
    triangles = [Polygon(line) for line in lines(map_elements(layers(areas=[bow_tie]), WINDOW), BOUNDARY)]
    assert sorted(triangle.area for triangle in triangles) == [16, 16]
    crossings = lines(map_elements(layers(crossings=[bow_tie]), WINDOW), CROSSING)
    assert sum(Polygon(line).area for line in crossings) == 32


def test_a_polygon_without_area_gives_no_element():
    flat = Polygon([(0, 0), (5, 0), (2, 0)])
    assert map_elements(layers(areas=[flat], crossings=[flat]), WINDOW) == []


@pytest.mark.parametrize(("options", "message"), [
    ({"region": (0, 0, 1)}, "region must be x0, y0, x1, y1"),
    ({"region": (0, 0, math.nan, 1)}, "region must be x0, y0, x1, y1"),
    ({"region": (5, 0, 0, 5)}, "region must be wider than twice the inset"),
    ({"region": (0, 0, 5, 0.4)}, "region must be wider than twice the inset of 0.2 m"),
    ({"inset": -1.0}, "inset must be >= 0 m, got -1.0"),
    ({"tolerance": math.inf}, "tolerance must be >= 0 m, got inf"),
    ({"dim": 4}, "dim must be 2 or 3, got 4"),
    ({"regoin": (0, 0, 1, 1)}, r'no option "regoin" \(did you mean "region"\?\); it has region, inset'),
    ({"region": 30.0}, "map: object of type 'float'"),
])
def test_a_window_that_cannot_be_is_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        MapWindow.from_config(options)
