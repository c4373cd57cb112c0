"""The map of a Waymo segment: worked by hand, then on the map of a real drive."""

import numpy as np
import pytest
import shapely

from perception.datasets.maps.map_elements import MapLayers
from perception.datasets.maps.waymo_map import waymo_layers
from perception.datasets.waymo.hd_map import Area, HdMap, Lane, RoadEdge, RoadLine
from perception.datasets.waymo.motion import read_scenarios


def points(*xy: tuple[float, float]) -> np.ndarray:
    return np.array([(x, y, 2.0) for x, y in xy])


def ends(lines: np.ndarray) -> list[list[tuple[float, ...]]]:
    return sorted([line.coords[0], line.coords[-1]] for line in lines)


def layers_of(edges: list[np.ndarray], lines: list[np.ndarray]) -> MapLayers:
    return waymo_layers(HdMap(
        road_edges=tuple(RoadEdge(number, 1, line) for number, line in enumerate(edges)),
        road_lines=tuple(RoadLine(100 + number, 1, line) for number, line in enumerate(lines)),
    ))


def test_edges_are_turned_so_that_the_road_lies_to_their_right():
    found = layers_of([points((0, 3), (10, 3)), points((10, -3), (0, -3))], [])
    assert ends(found.edges) == [[(0, -3, 2), (10, -3, 2)], [(10, 3, 2), (0, 3, 2)]]


def test_edges_that_continue_each_other_are_one_and_keep_their_sense():
    found = layers_of([points((0, 3), (10, 3)), points((10, 3), (20, 4)), points((0, 3), (-5, 9))], [])
    assert ends(found.edges) == [[(-5, 9, 2), (0, 3, 2)], [(20, 4, 2), (0, 3, 2)]]


def test_paint_along_an_edge_divides_no_lanes():
    edge = points((0, 3), (10, 3))
    near, between, leaving = points((0, 2.6), (10, 2.6)), points((0, 0), (10, 0)), points((0, 2.9), (10, -3))
    assert ends(layers_of([edge], [near, between, leaving]).dividers) == [
        [(0, 0, 2), (10, 0, 2)], [(0, 2.9, 2), (10, -3, 2)],
    ]


def test_crosswalks_are_crossings_and_other_features_are_left_out():
    square = points((0, 0), (4, 0), (4, 10), (0, 10))
    lane = Lane(3, 2, 25.0, False, points((0, 1), (9, 1)), (), (), (), (), (), ())
    found = waymo_layers(HdMap(crosswalks=(Area(1, square),), driveways=(Area(2, square),), lanes=(lane,)))
    assert [area.area for area in found.crossings] == [40.0]
    assert shapely.has_z(found.crossings).all()
    assert len(found.dividers) == len(found.areas) == len(found.edges) == 0


@pytest.mark.parametrize("count", [0, 1])
def test_a_line_of_too_few_points_is_none(count):
    found = layers_of([points((0, 0))[:count]], [points((0, 0))[:count]])
    assert len(found.edges) == len(found.dividers) == 0


def test_real_lanes_lie_to_the_right_of_the_edges(shared_data):
    [scenario] = read_scenarios(shared_data / "waymo/motion/motion_data_one_scenario.tfrecord")
    lanes = shapely.MultiLineString([lane.points[:, :2] for lane in scenario.hd_map.lanes if len(lane.points) > 1])
    found = waymo_layers(scenario.hd_map)
    nearer = []
    for edge in found.edges:
        vertices = shapely.get_coordinates(edge)
        steps = np.diff(vertices, axis=0)
        right = steps[:, ::-1] * (1, -1) / np.linalg.norm(steps, axis=1, keepdims=True)
        middles = (vertices[1:] + vertices[:-1]) / 2
        sides = [shapely.distance(shapely.points(middles + side * right)[::10], lanes) for side in (1.0, -1.0)]
        nearer.append((sides[0] < sides[1])[np.minimum(*sides) < 3.0])             # of those along a lane
    assert np.concatenate(nearer).mean() > 0.95                                   # measured 0.97
    assert 0 < len(found.dividers) <= 59
    assert len(found.crossings) == 4
