"""Maps of Argoverse 2 logs: which lines are dividers, and whether the drawn truth lies on the real ground."""

import json
from pathlib import Path

import numpy as np
import pytest
import shapely
import torch
from av2.map.map_api import GroundHeightLayer
from scipy.spatial import cKDTree

from perception.datasets.argoverse2 import Argoverse2Dataset, build_argoverse2_index
from perception.datasets.maps.argoverse2_map import read_argoverse2_map
from perception.datasets.maps.map_elements import BOUNDARY, CROSSING, DIVIDER
from perception.datasets.maps.window import MapWindow
from perception.errors import DataError
from perception.structures import SE3

REGION = (-30.0, -15.0, 30.0, 15.0)
LOG = "7fab2350-7eaf-3b7e-a39d-6937a4c1bede"


def points(*corners: tuple[float, ...]) -> list[dict[str, float]]:
    return [dict(zip("xyz", (*corner, 0.0)[:3], strict=True)) for corner in corners]


def lane(number: int, left, right, marks: tuple[str, str], neighbors: tuple = (None, None)) -> dict:
    return {
        "id": number, "is_intersection": False, "lane_type": "VEHICLE", "left_lane_boundary": points(*left),
        "right_lane_boundary": points(*right), "left_lane_mark_type": marks[0], "right_lane_mark_type": marks[1],
        "successors": [], "predecessors": [], "left_neighbor_id": neighbors[0], "right_neighbor_id": neighbors[1],
    }


def write_log_map(folder: Path, lanes: list[dict], **changes) -> Path:
    """A road of 8 m by 20 m with these lanes."""
    area = points((0, -4), (20, -4), (20, 4), (0, 4))
    content = {
        "lane_segments": {str(entry["id"]): entry for entry in lanes},
        "drivable_areas": {"1": {"id": 1, "area_boundary": area}},
        "pedestrian_crossings": {"2": {"id": 2, "edge1": points((5, -4), (5, 4)), "edge2": points((8, -4), (8, 4))}},
    } | changes
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "log_map_archive_made-up____PIT_city_1.json"
    path.write_text(json.dumps(content))
    return path


def dividers(folder: Path) -> list[list[list[float]]]:
    """Sorted ends and corners of the dividers, seen from above."""
    return sorted(shapely.get_coordinates(line).tolist() for line in read_argoverse2_map(folder).layers.dividers)


def two_lanes(mark: str) -> list[dict]:
    """Oncoming lanes with a line of this mark between them and painted edges 0.2 m from those of the road."""
    middle, left, right = [(0, 0), (20, 0)], [(20, 3.8), (0, 3.8)], [(0, -3.8), (20, -3.8)]
    return [
        lane(1, middle, right, (mark, "SOLID_WHITE"), (2, None)),
        lane(2, middle[::-1], left, (mark, "SOLID_WHITE"), (1, None)),
    ]


@pytest.fixture
def dataset(shared_data, tmp_path) -> Argoverse2Dataset:
    root = shared_data / "argoverse2/sensor"
    index = build_argoverse2_index(root, "val", tmp_path / "index.parquet")
    return Argoverse2Dataset(root, split="val", index=index, num_sweeps=0, map={"region": REGION, "dim": 3})


def test_the_line_that_neighbours_share_is_one_divider_and_the_edges_are_none(tmp_path):
    write_log_map(tmp_path, two_lanes("DOUBLE_SOLID_YELLOW"))
    assert dividers(tmp_path) == [[[0, 0], [20, 0]]]


@pytest.mark.parametrize("mark", ["NONE", "UNKNOWN"])
def test_a_line_without_paint_is_no_divider(tmp_path, mark):
    write_log_map(tmp_path, two_lanes(mark))
    assert dividers(tmp_path) == []


def test_a_painted_line_beside_no_lane_is_a_divider_if_it_lies_within_the_road(tmp_path):
    write_log_map(tmp_path, [lane(1, [(0, 0), (20, 0)], [(0, -2), (20, -2)], ("SOLID_YELLOW", "SOLID_WHITE"))])
    assert dividers(tmp_path) == [[[0, -2], [20, -2]], [[0, 0], [20, 0]]]


def test_a_line_between_lanes_is_a_divider_however_near_the_edge_it_is(tmp_path):
    middle, shoulder, edge = [(0, 0), (20, 0)], [(0, -3.7), (20, -3.7)], [(0, -4), (20, -4)]
    main = lane(1, middle, shoulder, ("NONE", "SOLID_WHITE"), (None, 2))
    write_log_map(tmp_path, [main, lane(2, shoulder, edge, ("SOLID_WHITE", "NONE"), (1, None))])
    assert dividers(tmp_path) == [[[0, -3.7], [20, -3.7]]]


def test_lines_that_continue_each_other_are_one_divider(tmp_path):
    first = lane(1, [(0, 0), (9, 0)], [(0, -3.8), (9, -3.8)], ("DASHED_WHITE", "NONE"), (3, None))
    second = lane(2, [(9, 0), (20, 1)], [(9, -3.8), (20, -3.8)], ("SOLID_WHITE", "NONE"), (4, None))
    write_log_map(tmp_path, [first, second])
    assert dividers(tmp_path) == [[[0, 0], [9, 0], [20, 1]]]


def test_a_lane_that_ends_in_a_point_has_no_line_there(tmp_path):
    write_log_map(tmp_path, [lane(1, [(5, 0)], [(0, -2), (9, -2)], ("SOLID_WHITE", "SOLID_WHITE"))])
    assert dividers(tmp_path) == [[[0, -2], [9, -2]]]


def test_areas_and_crossings_are_those_of_the_file(tmp_path):
    write_log_map(tmp_path, two_lanes("NONE"))
    found = read_argoverse2_map(tmp_path).around(SE3.identity(), MapWindow(REGION))
    assert found.names() == ["ped_crossing", "boundary"]
    assert [shapely.Polygon(line.numpy()).area for line in found.lines] == [24.0, 160.0]


@pytest.mark.parametrize(("changes", "message"), [
    ({"lane_segments": {"1": {"id": 1}}}, r"layers: expected lane_segments, .* got KeyError"),
    ({"drivable_areas": {"1": {"id": 1, "area_boundary": points((0, 0), (float("nan"), 0), (1, 1))}}},
     r"layers: .*coordinates that are not finite: \[nan, 0.0, 0.0\]"),
])
def test_a_broken_map_is_refused(tmp_path, changes, message):
    path = write_log_map(tmp_path, two_lanes("NONE"), **changes)
    with pytest.raises(DataError, match=message) as caught:
        read_argoverse2_map(tmp_path)
    assert caught.value.path == str(path)


def test_a_map_that_is_not_there_or_no_json_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"map: expected one file log_map_archive_\*.json, got 0 of them"):
        read_argoverse2_map(tmp_path)
    write_log_map(tmp_path, []).write_text("{")
    with pytest.raises(DataError, match=r"layers: .*JSONDecodeError"):
        read_argoverse2_map(tmp_path)


def test_every_element_of_the_real_logs_lies_at_the_height_of_the_ground(dataset):
    for index in range(len(dataset)):
        frame, record = dataset.load(index), dataset.record(index)
        ground = GroundHeightLayer.from_file((dataset.root / record.lidar.path).parents[2] / "map")
        city = frame.global_from_ego.apply(frame.vector_map.lines.vertices.double()).numpy()
        apart = np.abs(city[:, 2] - ground.get_ground_height_at_xy(city))
        assert np.nanmax(apart) < 0.3                 # the map's own measure of "on the ground"
        assert np.isfinite(apart).mean() > 0.9
        assert set(frame.vector_map.labels.tolist()) == {0, 1, 2}


@pytest.mark.parametrize(("label", "most"), [(CROSSING, 0.1), (DIVIDER, 0.05), (BOUNDARY, 0.1)])
def test_the_drawn_truth_lies_on_the_ground_returns_of_the_sweep(dataset, label, most):
    apart = []
    for index in range(len(dataset)):
        frame = dataset.load(index)
        elements, points = frame.vector_map[frame.vector_map.labels == label], frame.points.xyz.numpy()
        places = elements.lines.resampled(40).flatten(0, 1).numpy()                # (40 P, 3)
        near = cKDTree(points[:, :2]).query_ball_point(places[:, :2], 0.3)
        apart += [np.abs(points[found, 2] - place[2]).min() for found, place in zip(near, places, strict=True) if found]
    assert len(apart) > 90
    assert np.median(apart) < most                    # some places show only foliage or a parked car above the line


def test_two_coordinates_are_those_of_the_map_with_heights(dataset):
    flat = Argoverse2Dataset(dataset.root, split="val", index=dataset.index_path, num_sweeps=0, map={"region": REGION})
    for index in range(len(dataset)):
        with_heights, without = dataset.load(index).vector_map, flat.load(index).vector_map
        assert without.lines.dim == 2
        assert torch.equal(without.labels, with_heights.labels)
        torch.testing.assert_close(without.lines.vertices, with_heights.lines.vertices[:, :2], atol=1e-5, rtol=0)


def test_dividers_of_the_real_logs_lie_on_the_road_and_none_twice(shared_data):
    for folder in sorted((shared_data / "argoverse2/sensor/val").glob("*/map")):
        layers = read_argoverse2_map(folder).layers
        road, lines = shapely.union_all(layers.areas), shapely.force_2d(layers.dividers)
        assert shapely.union_all(lines).length == pytest.approx(shapely.length(lines).sum(), abs=0.01)
        assert shapely.length(shapely.intersection(lines, road)).sum() > 0.95 * shapely.length(lines).sum()
