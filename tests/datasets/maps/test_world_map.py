"""Local maps around poses: where the vehicle stands in the world changes nothing in its own frame."""

import math
from pathlib import Path

import numpy as np
import pytest
import shapely
import torch
from hypothesis import given
from hypothesis import strategies as st
from random_layers import layers, random_layers
from shapely import LineString, MultiLineString, MultiPoint, box

from perception.datasets.maps.map_elements import CROSSING, MapLayers
from perception.datasets.maps.window import MapWindow
from perception.datasets.maps.world_map import WorldMap
from perception.errors import ConfigError, DataError
from perception.structures import SE3, VectorMap

WINDOW = MapWindow((-30, -15, 30, 15))
FILE = Path("map.json")


def moved(flat: MapLayers, yaw: float, x: float, y: float) -> MapLayers:
    turn = np.array([[math.cos(yaw), math.sin(yaw)], [-math.sin(yaw), math.cos(yaw)]])
    return MapLayers(*(shapely.transform(kind, lambda points: points @ turn + (x, y)) for kind in vars(flat).values()))


def drawing(found: VectorMap, label: int) -> MultiLineString:
    """All lines of a class."""
    return MultiLineString([line.numpy() for line in found[found.labels == label].lines])


def assert_same_maps(one: VectorMap, other: VectorMap, atol: float) -> None:
    assert one.labels.tolist() == other.labels.tolist()
    for label in one.labels.unique().tolist():
        assert shapely.hausdorff_distance(drawing(one, label), drawing(other, label)) < atol


@given(seed=st.integers(0, 10**6), yaw=st.floats(-math.pi, math.pi), x=st.floats(0, 3000), y=st.floats(0, 3000))
def test_a_world_and_a_vehicle_moved_together_give_the_same_local_map(seed, yaw, x, y):
    flat = random_layers(seed)
    here = WorldMap(flat, FILE).around(SE3.identity(), WINDOW)
    there = WorldMap(moved(flat, yaw, x, y), FILE).around(SE3.about_z(yaw, [x, y, 7.0]), WINDOW)
    assert_same_maps(here, there, atol=2e-5)          # float32 steps are 2e-6 m, unions are computed to 1e-7 m


@given(seed=st.integers(0, 10**6))
def test_a_vehicle_that_faces_about_sees_its_map_turned_about(seed):
    world, unsimplified = WorldMap(random_layers(seed), FILE), MapWindow(WINDOW.region, tolerance=0.0)
    ahead = world.around(SE3.identity(), unsimplified)
    behind = world.around(SE3.about_z(math.pi), unsimplified)
    turned = behind.with_lines(behind.lines.moved_by(SE3.about_z(math.pi)))
    assert sorted(ahead.labels.tolist()) == sorted(turned.labels.tolist())
    for label in set(ahead.labels.tolist()):
        one, other = drawing(ahead, label), drawing(turned, label)
        if label == CROSSING:                         # the order of the pieces of a crossing is not that of its outline
            one, other = (MultiPoint(shapely.get_coordinates(lines)) for lines in (one, other))
        assert shapely.hausdorff_distance(one, other) < 2e-5


def test_a_vehicle_that_faces_west_sees_a_road_ahead_of_it_along_x():
    world = WorldMap(layers([LineString([(100, 200), (80, 200)])]), FILE)
    found = world.around(SE3.about_z(math.pi, [110, 201, 0]), WINDOW)
    torch.testing.assert_close(found.lines.vertices, torch.tensor([[10.0, 1.0], [30.0, 1.0]]), atol=1e-5, rtol=0)


def test_a_map_without_heights_ignores_the_tilt_of_the_vehicle():
    world = WorldMap(layers(areas=[box(-100, -4, 100, 5)]), FILE)
    pitched = SE3.from_quaternion([math.cos(0.05), 0.0, math.sin(0.05), 0.0], [0.0, 0.0, 1.0])
    assert_same_maps(world.around(pitched, WINDOW), world.around(SE3.identity(), WINDOW), atol=1e-6)


@pytest.mark.parametrize("dim", [2, 3])
def test_a_map_with_heights_is_moved_by_the_whole_pose(dim):
    slope = LineString([(x, 2.0, -math.tan(0.1) * x) for x in (-20.0, 20.0)])     # the vehicle stands parallel to it
    pitched = SE3.from_quaternion([math.cos(0.05), 0.0, math.sin(0.05), 0.0], [0.0, 0.0, 0.5])
    found = WorldMap(layers([slope]), FILE).around(pitched, MapWindow(WINDOW.region, dim=dim))
    half, back, below = 20.0 / math.cos(0.1), 0.5 * math.sin(0.1), 0.5 * math.cos(0.1)
    wanted = torch.tensor([[back - half, 2.0, -below], [back + half, 2.0, -below]])
    torch.testing.assert_close(found.lines.vertices, wanted[:, :dim], atol=1e-5, rtol=0)


@pytest.mark.parametrize("dim", [2, 3])
def test_a_place_without_map_gives_an_empty_map(dim):
    heights = WorldMap(layers([LineString([(0, 0, 0), (1, 0, 0)])]), FILE)
    found = heights.around(SE3.about_z(0.3, [500, 0, 0]), MapWindow(WINDOW.region, dim=dim))
    assert (len(found), found.lines.dim) == (0, dim)


def test_heights_that_a_map_does_not_have_are_refused():
    with pytest.raises(ConfigError, match=r"the map map.json has no heights: use dim=2"):
        WorldMap(layers([LineString([(0, 0), (1, 0)])]), FILE).around(SE3.identity(), MapWindow(dim=3))


def test_coordinates_that_are_not_finite_are_refused():
    broken = LineString([(0, 0), (math.nan, 1), (2, 0)])
    with pytest.raises(DataError, match=r"map.json: dividers: expected finite coordinates, got NaN or infinity"):
        WorldMap(layers([broken]), FILE)
