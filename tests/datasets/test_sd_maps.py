"""Navigation maps: what lies around a pose, the errors real ones have, and the map of another place."""

import json
import math
import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from map_root import VERSION, Drive, drawn_town, street_town, write_drives, write_maps

from perception.datasets.maps.sd_lines import SDLines, SDMapErrors, read_sd_elements, read_sd_geojson
from perception.datasets.maps.sd_maps import SDMaps
from perception.errors import ConfigError, DataError
from perception.structures import SE3
from perception.structures.vector_map import SD_CATEGORIES

REGION = (-50.0, -25.0, 50.0, 25.0)
EAST = SE3.about_z(0.0, [100.0, 98.0, 0.0])
DRIVES = (
    Drive("scene-0001", "boston-seaport", EAST),
    Drive("scene-0002", "boston-seaport", SE3.about_z(0.5, [120.0, 98.0, 0.0])),
    Drive("scene-0003", "singapore-onenorth", SE3.about_z(math.pi / 2, [500.0, 480.0, 0.0])),
    Drive("scene-0004", "singapore-queenstown", EAST),
)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A street in Boston, a drawn town in one-north, and no SD map of Queenstown."""
    path = tmp_path_factory.mktemp("maps")
    write_drives(path, DRIVES)
    write_maps(path, {"boston-seaport": street_town(), "singapore-onenorth": drawn_town("grid")})
    return path


def straight_roads(count: int, seed: int = 0) -> SDLines:
    starts = np.random.default_rng(seed).uniform(0, 1000, (count, 1, 2))
    lines = tuple(starts + np.array([[0.0, 0.0], [59.0, 0.0]]))
    names = tuple(f"road{number}" for number in range(count))
    return SDLines(names, lines, np.zeros(count, np.int64), np.full(count, 2))


def assert_same(ours, theirs, atol: float = 0.0) -> None:
    assert ours.lines.counts.tolist() == theirs.lines.counts.tolist()
    assert ours.categories.tolist() == theirs.categories.tolist()
    assert ours.lanes.tolist() == theirs.lanes.tolist()
    torch.testing.assert_close(ours.lines.vertices, theirs.lines.vertices, atol=atol, rtol=0)


def test_the_street_around_a_pose_by_hand(root):
    around = SDMaps(root, VERSION, REGION).local("scene-0001", EAST)
    road, crossing, path = around.lines
    assert road.tolist() == [[-50.0, 2.0], [50.0, 2.0]]
    assert crossing.tolist() == [[32.0, -2.0], [32.0, 6.0]]
    assert path.tolist() == [[-50.0, -4.0], [50.0, -4.0]]
    assert [SD_CATEGORIES[row] for row in around.categories] == ["road", "cross_walk", "side_walk"]
    assert around.lanes.tolist() == [2, 0, 0]
    assert around.right_hand


def test_a_pose_to_the_north_sees_the_street_across(root):
    pose = SE3.about_z(math.pi / 2, [100.0, 98.0, 0.0])
    road = next(iter(SDMaps(root, VERSION, REGION).local("scene-0001", pose).lines))
    torch.testing.assert_close(road, torch.tensor([[2.0, 25.0], [2.0, -25.0]]), atol=1e-5, rtol=0)  # float32 at 25 m


def test_a_place_that_the_map_does_not_cover_is_empty_and_one_without_a_map_is_none(root):
    maps = SDMaps(root, VERSION, REGION)
    empty = maps.local("scene-0001", SE3.about_z(0.0, [-900.0, 0.0, 0.0]))
    assert len(empty) == 0
    assert empty.lines.vertices.shape == (0, 2)
    assert maps.local("scene-0004", EAST) is None


@given(yaw=st.floats(-3.1, 3.1), x=st.floats(-2e5, 2e5), y=st.floats(-2e5, 2e5), heading=st.floats(-3.1, 3.1))
def test_a_moved_world_looks_the_same_from_a_moved_pose(yaw, x, y, heading):
    lines, move = straight_roads(40), SE3.about_z(yaw, [x, y, 0.0])
    rotation, shift = move.rotation[:2, :2].numpy(), move.translation[:2].numpy()
    elsewhere = replace(lines, lines=tuple(line @ rotation.T + shift for line in lines.lines))
    pose = SE3.about_z(heading, [500.0, 500.0, 0.0])
    assert_same(elsewhere.around(move @ pose, REGION), lines.around(pose, REGION), atol=1e-4)   # 2e5 m in float64


@pytest.mark.parametrize("seed", range(3))
def test_nothing_of_a_town_lies_outside_the_region(root, seed):
    rng = np.random.default_rng(seed)
    pose = SE3.about_z(rng.uniform(-3, 3), [*rng.uniform(450, 550, 2), 0.0])
    vertices = SDMaps(root, VERSION, REGION, errors={}).local("scene-0003", pose).lines.vertices
    assert len(vertices)
    assert bool((vertices.abs() <= torch.tensor([50.0, 25.0])).all())


def test_errors_are_of_two_metres_and_lose_a_fifth_of_the_roads_and_all_lane_counts():
    truth = straight_roads(4000)
    degraded = SDMapErrors(seed=1).applied_to(truth)
    assert len(degraded) / len(truth) == pytest.approx(0.8, abs=0.02)              # three sigma of 4,000 draws
    start = {name: line[0] for name, line in zip(truth.names, truth.lines, strict=True)}
    along = np.linspace([0.0, 0.0], [59.0, 0.0], 5)                                # a vertex at most every 15 m
    errors = np.stack([line - start[name] - along for name, line in zip(degraded.names, degraded.lines, strict=True)])
    assert errors.std() == pytest.approx(2.0, rel=0.02)
    assert errors.mean(axis=1).std() == pytest.approx(2.0 * math.sqrt(0.75 + 0.25 / 5), rel=0.03)
    assert not degraded.lanes.any()


def test_a_road_has_the_same_error_whatever_lies_beside_it():
    truth = straight_roads(50)
    backwards = SDLines(truth.names[::-1], truth.lines[::-1], truth.categories, truth.lanes)
    first, second = (SDMapErrors(seed=4).applied_to(lines) for lines in (truth, backwards))
    assert first.names == second.names[::-1]
    for one, other in zip(first.lines, second.lines[::-1], strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_road_has_the_same_error_in_every_frame_and_another_one_with_another_seed(root):
    pose, step = EAST, SE3.about_z(0.0, [4.0, 0.0, 0.0])
    def look(seed, where):
        return SDMaps(root, VERSION, REGION, errors={"seed": seed, "drop": 0.0}).local("scene-0001", where)

    now, then = look(0, pose), look(0, pose @ step)
    crossing = torch.tensor([SD_CATEGORIES.index("cross_walk")])
    here, there = (around.lines[around.categories == crossing].vertices for around in (now, then))
    torch.testing.assert_close(there, here - torch.tensor([4.0, 0.0]), atol=1e-5, rtol=0)     # float32 at 50 m
    other = look(1, pose)
    assert not torch.equal(other.lines[other.categories == crossing].vertices, here)


def test_no_error_leaves_the_map_as_it_is_and_keeps_lane_counts_on_demand(root):
    exact = SDMaps(root, VERSION, REGION).local("scene-0003", DRIVES[2].start)
    same = SDMaps(root, VERSION, REGION, errors={"sigma_m": 0.0, "drop": 0.0, "keep_lane_counts": True})
    same = same.local("scene-0003", DRIVES[2].start)
    torch.testing.assert_close(same.lines.lengths(), exact.lines.lengths(), atol=0.5, rtol=0)   # chords of 15 m
    assert same.lanes.tolist() == exact.lanes.tolist()
    assert exact.lanes.max() >= 2


def test_the_map_of_another_place_is_what_the_other_drive_sees_at_its_start(root):
    maps, wrong = SDMaps(root, VERSION, REGION), SDMaps(root, VERSION, REGION, elsewhere=True)
    for mine, other in ((DRIVES[0], DRIVES[2]), (DRIVES[2], DRIVES[3]), (DRIVES[3], DRIVES[0])):
        seen, expected = wrong.local(mine.name, mine.start), maps.local(other.name, other.start)
        if expected is None:
            assert seen is None
        else:
            assert_same(seen, expected, atol=1e-4)                                 # poses are multiplied in float64


def test_the_other_place_is_on_the_same_map_if_it_can_be(tmp_path):
    far = Drive("scene-0009", "boston-seaport", SE3.about_z(1.0, [400.0, 98.0, 0.0]))
    write_drives(tmp_path, (*DRIVES, far))
    write_maps(tmp_path, {"boston-seaport": street_town()})
    assert SDMaps(tmp_path, VERSION, REGION, elsewhere=True).elsewhere["scene-0001"][0] == "scene-0009"


def test_there_is_no_other_place_for_drives_side_by_side(tmp_path):
    write_drives(tmp_path, DRIVES[:2])
    write_maps(tmp_path, {"boston-seaport": street_town()})
    with pytest.raises(ConfigError, match='no other place for scene "scene-0001": 2 drives'):
        SDMaps(tmp_path, VERSION, REGION, elsewhere=True)


def test_maps_survive_the_way_to_a_worker(root):
    maps = SDMaps(root, VERSION, REGION, errors={})
    before = maps.local("scene-0003", DRIVES[2].start)
    assert_same(pickle.loads(pickle.dumps(maps)).local("scene-0003", DRIVES[2].start), before)


def test_a_root_without_sd_maps_and_an_unknown_drive_are_refused(root, tmp_path):
    with pytest.raises(DataError, match=r"sd_map: folder: expected SD maps"):
        SDMaps(tmp_path, VERSION, REGION)
    with pytest.raises(ConfigError, match=r'no scene "scene-0005" .*did you mean "scene-000[1-4]"'):
        SDMaps(root, VERSION, REGION).local("scene-0005", EAST)


@pytest.mark.parametrize("table", ["scene", "log"])
def test_a_missing_table_is_refused_by_name(table, tmp_path):
    write_drives(tmp_path, DRIVES)
    write_maps(tmp_path, {})
    (tmp_path / VERSION / f"{table}.json").unlink()
    with pytest.raises(DataError, match=rf"{table}.json: file: expected a readable file"):
        SDMaps(tmp_path, VERSION, REGION)


@pytest.mark.parametrize("arguments", [{"sigma_m": -1.0}, {"sigma_m": math.inf}, {"drop": 1.1}, {"seed": -1}])
def test_errors_out_of_range_are_refused(arguments):
    with pytest.raises(ValueError, match=f"{next(iter(arguments))} must"):
        SDMapErrors(**arguments)


def feature(**changes: object) -> dict:
    geometry = {"type": changes.pop("type", "LineString"), "coordinates": changes.pop("points", [[0, 0], [1, 0]])}
    return {"type": "Feature", "geometry": geometry, "properties": {"category": "road", "lanes": 2, **changes}}


@pytest.mark.parametrize(("content", "message"), [
    ("{", "file: expected JSON"),
    ("[]", "features: expected a GeoJSON FeatureCollection, got list"),
    ({"features": [], "driving_side": "middle"}, 'driving_side: expected "right" or "left", got middle'),
    ({"features": [feature(), feature(category="river")]}, r"features\[1\]: .*got 'river'"),
    ({"features": [feature(points=[[0, 0]])]}, r"features\[0\]: .*n >= 2"),
    ({"features": [feature(points=[[0, 0], [float("nan"), 0]])]}, r"features\[0\]: .*finite"),
    ({"features": [feature(type="Point")]}, r"features\[0\]: .*LineString, got Point"),
    ({"features": [feature(lanes=-2)]}, r"features\[0\]: .*lanes >= 0, got -2"),
    ({"features": [{}]}, r"features\[0\]: .*geometry"),
])
def test_a_malformed_map_is_refused_with_its_place(content, message, tmp_path):
    path = tmp_path / "map.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    with pytest.raises(DataError, match=message):
        read_sd_geojson(path)


def test_openlane_elements_are_read_with_and_without_lane_counts(tmp_path):
    path = tmp_path / "sdmap.json"
    line = [[0.0, 0.0], [10.0, 0.0]]
    path.write_text(json.dumps([
        {"points": line, "category": "road", "lanes": 3}, {"points": line[:1], "category": "road"},
        {"points": line, "category": "side_walk"}]))
    lines = read_sd_elements(path)
    assert lines.lanes.tolist() == [3, 0]
    assert lines.categories.tolist() == [0, 2]


@pytest.mark.parametrize("content", [{}, [{"points": [[0, 0], [1, 1]]}], [{"points": 3, "category": "road"}], [7]])
def test_malformed_openlane_elements_are_refused(content, tmp_path):
    path = tmp_path / "sdmap.json"
    path.write_text(json.dumps(content))
    with pytest.raises(DataError, match=r"sdmap.json: (file|\[0\]): expected"):
        read_sd_elements(path)
