"""Lane graphs around a pose, from the map expansion of a nuScenes root."""

import json
import math
import pickle
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import shapely
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from map_root import VERSION, Drive, drawn_town, street_town, write_drives, write_maps

from perception.datasets.maps.line_clipping import into_ego
from perception.datasets.maps.nuscenes_lane_graphs import NuScenesLaneGraphs, read_lane_map
from perception.errors import ConfigError, DataError
from perception.structures import SE3, LaneGraph
from perception.structures.vector_map import AREA_CLASSES, LINE_TYPES
from perception.synthetic.layout import LAYOUTS

LOCATION = "boston-seaport"
REGION = (-50.0, -25.0, 50.0, 25.0)
EAST = SE3.about_z(0.0, [100.0, 98.0, 0.3])
CROSSING, BOUNDARY = range(2)


@pytest.fixture(scope="module")
def street(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("street")
    write_drives(root, [Drive("scene-0001", LOCATION, EAST), Drive("scene-0002", "singapore-onenorth", EAST)])
    write_maps(root, {LOCATION: street_town()})
    return root


@pytest.fixture(scope="module", params=sorted(LAYOUTS))
def town(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp(request.param)
    side = 1 if request.param < "grid" else -1
    write_maps(root, {LOCATION: drawn_town(request.param, side=side)})
    return root


def poses(draws: int = 6) -> list[SE3]:
    rng = np.random.default_rng(0)
    return [SE3.about_z(rng.uniform(-3, 3), [*rng.uniform(430, 570, 2), 0.0]) for _ in range(draws)]


def around(root: Path, pose: SE3, **options) -> LaneGraph:
    return read_lane_map(root, LOCATION).around(pose, REGION, **options)


def test_the_street_around_a_pose_by_hand(street):
    graph = NuScenesLaneGraphs(street, VERSION, REGION).local("scene-0001", EAST)
    assert graph.centers.shape == (2, 10, 3)
    east, west = torch.linspace(-50, 50, 10), torch.linspace(50, -50, 10)
    for lines, sides in ((graph.lefts, (2.0, 2.0)), (graph.centers, (0.0, 4.0)), (graph.rights, (-2.0, 6.0))):
        torch.testing.assert_close(lines[..., 0], torch.stack([east, west]), atol=1e-5, rtol=0)    # float32 at 50 m
        torch.testing.assert_close(lines[:, 0, 1], torch.tensor(sides), atol=1e-5, rtol=0)
        assert not lines[..., 2].any()
    assert [LINE_TYPES[row] for row in graph.left_types] == ["solid", "none"]
    assert [LINE_TYPES[row] for row in graph.right_types] == ["dashed", "none"]
    assert not graph.connections.any()


def test_the_crossing_is_five_points_along_the_way_and_the_kerbs_are_boundaries(street):
    graph = NuScenesLaneGraphs(street, VERSION, REGION).local("scene-0001", EAST)
    assert [AREA_CLASSES[row] for row in graph.area_labels] == ["ped_crossing", "road_boundary", "road_boundary"]
    crossing, *kerbs = graph.areas
    assert torch.equal(crossing[0], crossing[4])
    assert {tuple(corner[:2]) for corner in crossing.tolist()} == {(30.0, -2.0), (34.0, -2.0), (34.0, 6.0), (30.0, 6.0)}
    assert [(crossing[i + 1] - crossing[i]).norm().item() for i in range(4)] == [8.0, 4.0, 8.0, 4.0]
    assert sorted(kerb[0].tolist() + kerb[1].tolist() for kerb in kerbs) == [
        [-50.0, -2.0, 0.0, 50.0, -2.0, 0.0], [50.0, 6.0, 0.0, -50.0, 6.0, 0.0]]             # the road to their left


@pytest.mark.parametrize(("x", "connected"), [(100.0, False), (150.0, True), (129.0, False), (230.5, False)])
def test_lanes_are_connected_if_the_region_holds_the_place_where_they_meet(street, x, connected):
    graph = around(street, SE3.about_z(0.0, [x, 98.0, 0.0]))
    assert bool(graph.connections.any()) is connected
    if connected:
        assert graph.connections.nonzero().tolist() == [[0, 2]]
        torch.testing.assert_close(graph.centers[0, -1], graph.centers[2, 0])


def test_a_tilted_vehicle_sees_the_same_lanes(street):
    tilt = SE3.from_quaternion([math.cos(0.02), 0.0, math.sin(0.02), 0.0], [0.0, 0.0, 0.0])
    torch.testing.assert_close(around(street, EAST @ tilt).centers, around(street, EAST).centers)


@pytest.mark.parametrize("points", [2, 20])
def test_lines_have_as_many_points_as_asked(street, points):
    assert around(street, EAST, points=points).lefts.shape == (2, points, 3)
    assert around(street, SE3.about_z(0.0, [-900.0, 0.0, 0.0]), points=points).lefts.shape == (0, points, 3)


def test_a_place_without_lanes_is_an_empty_graph(street):
    graph = NuScenesLaneGraphs(street, VERSION, REGION).local("scene-0001", SE3.about_z(0.0, [-900.0, 0.0, 0.0]))
    assert len(graph) == len(graph.areas) == 0
    assert graph.connections.shape == (0, 0)


def test_every_lane_has_its_left_line_to_the_left_of_its_direction(town):
    for pose in poses():
        graph = around(town, pose)
        assert len(graph) >= 2
        heading = graph.centers[:, 1:, :2] - graph.centers[:, :-1, :2]
        for side, sign in ((graph.lefts, 1.0), (graph.rights, -1.0)):
            across = (side - graph.centers)[:, :-1, :2]
            assert bool((sign * (heading[..., 0] * across[..., 1] - heading[..., 1] * across[..., 0]) > 0).all())


def test_connections_lead_from_the_end_of_a_lane_to_the_beginning_of_another(town):
    gaps = []
    for pose in poses():
        graph = around(town, pose)
        first, second = graph.connections.nonzero(as_tuple=True)
        gaps.append((graph.centers[first, -1] - graph.centers[second, 0]).norm(dim=1))
    assert len(torch.cat(gaps)) >= 20
    assert torch.cat(gaps).max() < 0.5


def test_middles_and_boundaries_never_leave_the_region(town):
    bound = torch.tensor([50.0, 25.0, 0.0])
    for pose in poses():
        graph = around(town, pose)
        assert bool((graph.centers.abs() <= bound).all())
        crossings = graph.areas[graph.area_labels == CROSSING].vertices.view(-1, 5, 3)
        ends = torch.stack([crossings[:, 0] + crossings[:, 3], crossings[:, 1] + crossings[:, 2]]) / 2
        assert bool((ends.abs() <= bound + 1e-4).all())                          # float32 corners 25 m away
        assert bool((graph.areas[graph.area_labels == BOUNDARY].vertices.abs() <= bound).all())


@settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(yaw=st.floats(-3.1, 3.1), x=st.floats(-1e5, 1e5), y=st.floats(-1e5, 1e5))
def test_a_moved_world_looks_the_same_from_a_moved_pose(town, yaw, x, y):
    lanes, move, pose = read_lane_map(town, LOCATION), SE3.about_z(yaw, [x, y, 0.0]), poses(1)[0]
    def moved(lines):
        return [into_ego(line, move.inverse()) for line in lines]

    elsewhere = replace(
        lanes, strips=moved(lanes.strips), crossings=moved(lanes.crossings), boundaries=moved(lanes.boundaries))
    here, there = lanes.around(pose, REGION), elsewhere.around(move @ pose, REGION)
    for name in ("centers", "lefts", "rights", "connections"):
        torch.testing.assert_close(getattr(there, name), getattr(here, name), atol=1e-4, rtol=0)    # 1e5 m in float64
    assert there.areas.counts.tolist() == here.areas.counts.tolist()
    torch.testing.assert_close(there.areas.vertices, here.areas.vertices, atol=1e-4, rtol=0)


def test_the_road_lies_to_the_left_of_its_boundaries(town):
    lanes = read_lane_map(town, LOCATION)
    rings = shapely.polygons([shapely.linearrings(ring) for ring in lanes.boundaries])
    centers = np.concatenate([strip[::5, 1] for strip in lanes.strips])
    outer = rings[[shapely.is_ccw(shapely.get_exterior_ring(ring)) for ring in rings]]
    inner = rings[[not shapely.is_ccw(shapely.get_exterior_ring(ring)) for ring in rings]]
    assert shapely.contains_xy(shapely.union_all(outer), *centers.T).all()
    assert len(inner)
    assert not shapely.contains_xy(shapely.union_all(inner), *centers.T).any()


def test_the_sample_in_the_real_format_has_lanes_of_its_width(shared_data):
    root = shared_data / "nuscenes/devkit_root"
    graphs = NuScenesLaneGraphs(root, "v1.0-mini")
    table = json.loads((root / "v1.0-mini/ego_pose.json").read_text())
    graph = graphs.local("scene-0061", SE3.from_quaternion(table[0]["rotation"], table[0]["translation"]))
    assert len(graph) == 12
    assert graph.connections.sum() == 8
    torch.testing.assert_close((graph.lefts - graph.rights).norm(dim=2), torch.full((12, 10), 3.5), atol=1e-3, rtol=0)


def test_lane_graphs_survive_the_way_to_a_worker(street):
    graphs = pickle.loads(pickle.dumps(NuScenesLaneGraphs(street, VERSION, REGION)))
    assert len(graphs.local("scene-0001", EAST)) == 2


def test_what_is_not_there_is_refused_by_name(street, tmp_path):
    graphs = NuScenesLaneGraphs(street, VERSION, REGION)
    with pytest.raises(ConfigError, match=r'no scene "scene-0003" .*did you mean "scene-000[12]"'):
        graphs.local("scene-0003", EAST)
    with pytest.raises(DataError, match=r"singapore-onenorth.json: file: expected a map expansion"):
        graphs.local("scene-0002", EAST)
    with pytest.raises(DataError, match=r"log.json: file: expected a readable file"):
        NuScenesLaneGraphs(tmp_path, VERSION, REGION)


@pytest.mark.parametrize(("field", "value"), [("version", "1.2"), ("lane", [{"token": "a"}]), ("polygon", [])])
def test_an_older_or_malformed_map_is_refused(field, value, street, tmp_path):
    shutil.copytree(street / "maps", tmp_path / "maps")
    path = tmp_path / f"maps/expansion/{LOCATION}.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), field: value}))
    with pytest.raises(DataError, match=r"boston-seaport.json: layers: expected a map of version 1.3"):
        read_lane_map(tmp_path, LOCATION)


@pytest.mark.parametrize("options", [{"points": 1}, {"min_length_m": -1.0}, {"region": (0, 0, 0, 0)}])
def test_options_out_of_range_are_refused(options, street):
    with pytest.raises(ValueError, match=f"{next(iter(options))} must be"):
        NuScenesLaneGraphs(street, VERSION, **options)
