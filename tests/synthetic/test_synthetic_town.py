"""The map of a town: lanes that join, layers that lie where they belong."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import shapely
from shapely.ops import unary_union

from perception.synthetic.lane_graph import Network, build_network
from perception.synthetic.layout import LAYOUTS, make_plan
from perception.synthetic.plots import divide_land
from perception.synthetic.ribbon import Ribbon, connect, rectangle_corners, rectangles_overlap
from perception.synthetic.town_areas import area_polygon, build_town, make_surfaces

every_layout = pytest.mark.parametrize("layout", sorted(LAYOUTS))


def network_of(layout: str, seed: int = 3, side: int = 1) -> Network:
    return build_network(make_plan(layout, np.random.default_rng(seed)), side)


def town_of(network: Network, plots=()):
    mid_block = np.full(len(network.plan.streets), np.nan)
    return build_town(network, make_surfaces(network), "boston-seaport", (1000.0, 1000.0), plots, mid_block)


@every_layout
@pytest.mark.parametrize("seed", range(4))
def test_every_lane_ends_where_its_successors_begin(layout, seed):
    lanes = network_of(layout, seed, side=1 - 2 * (seed % 2)).lanes
    for lane in lanes.values():
        assert lane.successors
        for key in lane.successors:
            np.testing.assert_allclose(lanes[key].centerline[0], lane.centerline[-1], atol=1e-6)


@every_layout
@pytest.mark.parametrize("seed", range(4))
def test_lanes_join_without_a_kink(layout, seed):
    lanes = network_of(layout, seed).lanes
    for lane in lanes.values():
        for key in lane.successors:
            first, last = lane.centerline[-1] - lane.centerline[-2], np.diff(lanes[key].centerline[:2], axis=0)[0]
            cosine = first @ last / (np.linalg.norm(first) * np.linalg.norm(last))
            assert cosine > np.cos(np.radians(12)), (lane.key, key)


@every_layout
def test_lane_centres_lie_on_the_drivable_area(layout):
    town = town_of(network_of(layout))
    drivable = unary_union([area_polygon(area) for area in town.drivable])
    for lane in town.lanes.values():
        assert shapely.contains_xy(drivable, *lane.centerline.T).all(), lane.key


@every_layout
def test_crossings_and_stop_lines_lie_on_their_roads(layout):
    town = town_of(network_of(layout))
    roads = {area.road: area_polygon(area) for area in town.roads}
    assert len(town.crossings) >= 10
    for area in (*town.crossings, *town.stop_lines):
        inside = roads[area.road].buffer(0.05).intersection(area_polygon(area)).area
        assert inside > 0.98 * area_polygon(area).area, area.key


@every_layout
def test_walkways_and_roads_do_not_overlap(layout):
    town = town_of(network_of(layout))
    drivable = unary_union([area_polygon(area) for area in town.drivable])
    assert sum(area_polygon(area).intersection(drivable).area for area in town.walkways) < 1.0     # of 10^4 m^2


@every_layout
def test_all_polygons_are_valid_and_counter_clockwise(layout):
    town = town_of(network_of(layout))
    for area in (*town.roads, *town.drivable, *town.crossings, *town.walkways, *town.stop_lines):
        assert area_polygon(area).is_valid, area.key
        assert shapely.LinearRing(area.exterior).is_ccw, area.key


@pytest.mark.parametrize("side", [1, -1])
def test_people_keep_to_the_side_of_their_country(side):
    network = network_of("grid", side=side)
    street, ribbon = network.plan.streets[0], network.ribbons[0]
    middle = ribbon.at(ribbon.length / 2)[0]
    forward = network.lanes[f"{street.key}+0"].centerline
    offset = forward[len(forward) // 2] - middle
    assert np.sign(offset @ ribbon.normal(ribbon.length / 2)[0]) == -side


@every_layout
def test_plots_touch_neither_roads_nor_each_other(layout):
    network = network_of(layout)
    built = make_surfaces(network).built
    plots = divide_land(network, built, np.zeros((1, 2)), np.random.default_rng(0))
    outlines = np.stack([plot.outline for plot in plots])
    first, second = np.triu_indices(len(plots), k=1)
    assert {"building", "carpark", "park"} <= {plot.kind for plot in plots}
    assert not rectangles_overlap(outlines[first], outlines[second]).any()
    assert not shapely.intersects(built, shapely.polygons(outlines)).any()


def test_a_car_park_opens_the_walkway():
    network = network_of("grid")
    plots = divide_land(network, make_surfaces(network).built, np.zeros((1, 2)), np.random.default_rng(0))
    closed, opened = town_of(network), town_of(network, plots)
    paved = [sum(area_polygon(area).area for area in town.walkways) for town in (closed, opened)]
    assert len(opened.carparks) >= 1
    assert paved[1] < paved[0] - 15.0


def test_turned_plan_keeps_its_lengths():
    plan = make_plan("suburb", np.random.default_rng(1))
    moved = plan.moved(0.7, np.array([300.0, 200.0]))
    for before, after in zip(plan.streets, moved.streets, strict=True):
        assert Ribbon(after.line).length == pytest.approx(Ribbon(before.line).length, abs=1e-9)
        np.testing.assert_allclose(after.line[0], moved.nodes[after.start], atol=1e-9)


def test_parallel_of_a_straight_ribbon_by_hand():
    ribbon = Ribbon(np.array([[0.0, 0.0], [10.0, 0.0]]))
    np.testing.assert_allclose(ribbon.at([2.5, 12.0], [1.0, -1.0]), [[2.5, 1.0], [12.0, -1.0]], atol=1e-12)


def test_a_right_angled_connection_is_nearly_an_arc():
    curve = connect(np.array([10.0, 0.0]), np.pi / 2, np.array([0.0, 10.0]), np.pi)
    np.testing.assert_allclose(np.linalg.norm(curve, axis=1), 10.0, atol=0.05)


@pytest.mark.parametrize(("gap", "expected"), [(1.9, True), (2.1, False)])
def test_rectangles_overlap_when_their_edges_pass(gap, expected):
    poses = np.array([[0.0, 0.0, 0.0], [gap, 0.0, np.pi / 2]])
    corners = rectangle_corners(poses, np.array([[2.0, 1.0], [1.0, 2.0]]))
    assert rectangles_overlap(corners[0], corners[1]) == expected


@pytest.mark.parametrize("line", [np.zeros((1, 2)), np.zeros((3, 3)), np.zeros(4)])
def test_a_ribbon_refuses_what_is_no_line(line):
    with pytest.raises(ValueError, match=r"line must be \(V, 2\)"):
        Ribbon(line)


def test_a_network_refuses_an_unknown_side():
    with pytest.raises(ValueError, match="side must be 1"):
        build_network(make_plan("grid", np.random.default_rng(0)), 0)


def test_an_unknown_layout_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match=r"choose from .*boulevard"):
        make_plan("spiral", np.random.default_rng(0))


def test_a_street_is_as_wide_as_its_parts():
    street = make_plan("boulevard", np.random.default_rng(0)).streets[0]
    wide = replace(street, lanes=2, lane_width=3.0, median=4.0, parking=2.0)
    assert wide.half_width == pytest.approx(2.0 + 6.0 + 2.0 + 0.2)
