"""The navigation map of a town says what the town is like."""

from __future__ import annotations

import json

import numpy as np
import pytest
import shapely
from handmade import street_town
from shapely.geometry import LineString
from shapely.ops import unary_union

from perception.synthetic.lane_graph import Network, build_network
from perception.synthetic.layout import LAYOUTS, make_plan
from perception.synthetic.sd_map_writer import SDMapWriter
from perception.synthetic.town import SDLine, Town
from perception.synthetic.town_areas import area_polygon, build_town, make_surfaces

every_layout = pytest.mark.parametrize("layout", sorted(LAYOUTS))


def drawn(layout: str) -> tuple[Network, Town]:
    network = build_network(make_plan(layout, np.random.default_rng(3)), side=1)
    mid_block = np.array([sum(cut) / 2 if row % 2 else np.nan for row, cut in enumerate(network.cuts)])
    return network, build_town(network, make_surfaces(network), "boston-seaport", (1000.0, 1000.0), (), mid_block)


def of_category(town: Town, category: str) -> list[SDLine]:
    return [line for line in town.sd_lines if line.category == category]


@every_layout
def test_a_road_is_the_middle_of_its_lanes_from_junction_to_junction(layout):
    network, town = drawn(layout)
    roads = of_category(town, "road")
    assert [road.key for road in roads] == [street.key for street in network.plan.streets]
    for road, street in zip(roads, network.plan.streets, strict=True):
        lanes = [lane.centerline for lane in town.lanes.values() if lane.road == street.key]
        assert road.lanes == len(lanes) == 2 * street.lanes
        np.testing.assert_allclose(road.line[[0, -1]], network.plan.nodes[[street.start, street.end]], atol=1e-6)
        middle = np.mean([lane if row < street.lanes else lane[::-1] for row, lane in enumerate(lanes)], axis=0)
        apart = shapely.distance(LineString(road.line), shapely.points(middle))
        assert apart.max() < 0.05                                                 # stations of 1 m, simplified by 1 cm


@every_layout
def test_crossings_run_from_kerb_to_kerb(layout):
    _, town = drawn(layout)
    lines = of_category(town, "cross_walk")
    assert len(lines) == len(town.crossings)
    for line, area in zip(lines, town.crossings, strict=True):
        polygon = area_polygon(area)
        assert polygon.buffer(0.01).contains(LineString(line.line))
        assert LineString(line.line).length == pytest.approx(polygon.area / 3.4, rel=0.02)      # 3.4 m wide
        assert line.lanes == 0


@every_layout
def test_walkways_run_on_the_walkways(layout):
    network, town = drawn(layout)
    paved = unary_union([area_polygon(area) for area in town.walkways]).buffer(0.05)
    lines = of_category(town, "side_walk")
    assert len(lines) == 2 * len(network.plan.streets)
    inside = sum(paved.intersection(LineString(line.line)).length for line in lines)
    assert inside > 0.98 * sum(LineString(line.line).length for line in lines)


def test_the_file_is_geojson_in_metres_with_the_side_of_the_road():
    town = street_town()
    writer = SDMapWriter(right_hand=False)
    line = SDLine("main", np.array([[20.0, 100.0], [180.0, 100.0]]), "road", 2)
    town = Town(town.location, town.edge, {}, (), (), (), (), sd_lines=(line, SDLine("path", line.line, "side_walk")))
    writer.add(town, "first")
    writer.add(town, "second", shift=(200.0, 0.0))
    content = json.loads(writer.to_json())
    assert (content["type"], content["driving_side"]) == ("FeatureCollection", "left")
    assert [feature["id"] for feature in content["features"]] == [
        "first/main", "first/path", "second/main", "second/path"]
    assert content["features"][2] == {
        "type": "Feature", "id": "second/main", "properties": {"category": "road", "lanes": 2},
        "geometry": {"type": "LineString", "coordinates": [[220.0, 100.0], [380.0, 100.0]]}}
    assert content["features"][1]["properties"] == {"category": "side_walk"}
