"""OpenLane-V2's subset A, on a small root of its form."""

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from openlanev2_root import CAMERAS, SEGMENTS, TIMES, annotation, info_path, write_json, write_openlanev2

from perception.datasets.openlanev2 import CAMERAS as KNOWN_CAMERAS
from perception.datasets.openlanev2 import OpenLaneV2Dataset
from perception.datasets.openlanev2_lanes import lane_graph_of
from perception.errors import ConfigError, DataError
from perception.registry import DATASETS
from perception.structures.vector_map import AREA_CLASSES, LINE_TYPES


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_openlanev2(tmp_path / "OpenLane-V2")


def change(path: Path, edit: Callable[[Any], Any]) -> None:
    content = json.loads(path.read_text())
    edit(content)
    write_json(path, content)


def test_frames_stand_in_the_order_of_segments_and_time(root):
    dataset = OpenLaneV2Dataset(root)
    assert dataset.frame_tokens == [f"{segment}/{time}" for segment in SEGMENTS["train"] for time in TIMES]
    assert dataset.scenes == ["00000", "00000", "00001", "00001"]
    assert dataset[1].token == f"00000/{TIMES[1]}"
    assert dataset[1].timestamp_ns == int(TIMES[1])
    assert dataset[1].scene == "00000"
    assert dataset[1].global_from_ego.translation.tolist() == [1000.0, 2004.0, 7.0]


def test_lines_are_resampled_to_ten_even_points(root):
    graph = OpenLaneV2Dataset(root)[0].lane_graph
    x = torch.tensor([[0.0], [9.0]]) + torch.arange(10.0)
    y = torch.full((2, 10), 1.75)
    for lines, sides in ((graph.lefts, y), (graph.centers, 0 * y), (graph.rights, -y)):
        torch.testing.assert_close(lines, torch.stack([x, sides, 0.1 * x], dim=2), atol=1e-6, rtol=0)
        assert lines.dtype == torch.float32


def test_types_topology_and_areas_are_those_of_the_annotation(root):
    graph = OpenLaneV2Dataset(root)[0].lane_graph
    assert [LINE_TYPES[row] for row in graph.left_types] == ["solid", "none"]
    assert [LINE_TYPES[row] for row in graph.right_types] == ["dashed", "solid"]
    assert graph.connections.tolist() == [[0.0, 1.0], [0.0, 0.0]]
    assert [AREA_CLASSES[row] for row in graph.area_labels] == ["ped_crossing", "road_boundary"]
    assert [area.tolist() for area in graph.areas] == [area["points"] for area in annotation()["area"]]


def test_a_frame_to_test_with_has_no_lane_graph_and_one_without_lanes_an_empty_one(root):
    assert OpenLaneV2Dataset(root, split="test")[0].lane_graph is None
    empty = {"lane_segment": [], "area": [], "topology_lsls": []}
    change(info_path(root, "train", "00000", 0), lambda content: content.update(annotation=empty))
    graph = OpenLaneV2Dataset(root, points=7)[0].lane_graph
    assert graph.centers.shape == (0, 7, 3)
    assert graph.connections.shape == (0, 0)


def test_cameras_look_where_the_file_says(root):
    cameras = OpenLaneV2Dataset(root, cameras=CAMERAS)[0].cameras
    assert list(cameras) == list(CAMERAS)
    assert KNOWN_CAMERAS == CAMERAS
    front, side = cameras["ring_front_center"], cameras["ring_side_left"]
    assert (front.calibration.width, front.calibration.height) == (12, 16)
    assert (side.calibration.width, side.calibration.height) == (16, 12)
    assert front.source == root / f"train/00000/image/ring_front_center/{TIMES[0]}.jpg"
    pixel = front.calibration.project(torch.tensor([11.5, -1.0, 1.4], dtype=torch.float64))    # 10 m ahead, 1 m right
    torch.testing.assert_close(pixel, torch.tensor([10.0, 6.0, 10.0], dtype=torch.float64))


def test_a_camera_that_the_frame_lacks_is_left_out(root):
    change(info_path(root, "train", "00000", 0), lambda content: content["sensor"].pop("ring_rear_left"))
    assert list(OpenLaneV2Dataset(root, cameras=CAMERAS[2:5])[0].cameras) == [CAMERAS[2], CAMERAS[4]]


@pytest.mark.parametrize(("options", "lanes"), [
    (None, [None, None]), ({}, [[0], None]), ({"modified": True}, [None, [3]]),
    ({"modified": True, "lanes_key": "lane_number"}, [None, [0]]),
])
def test_sd_maps_are_there_for_segments_that_have_a_usable_one(root, options, lanes):
    dataset = OpenLaneV2Dataset(root, sd_map=options)
    maps = [dataset[index].sd_map for index in (0, 2)]
    assert [None if around is None else around.lanes.tolist() for around in maps] == lanes


def test_the_sd_map_lies_in_the_ego_frame_and_is_cut_at_the_region(root):
    around = OpenLaneV2Dataset(root, sd_map={"region": (-30.0, -15.0, 30.0, 15.0)})[1].sd_map
    (road,) = around.lines                                                       # 2 m to the right of one going north
    torch.testing.assert_close(road, torch.tensor([[-30.0, -2.0], [30.0, -2.0]]), atol=1e-5, rtol=0)   # float32


def test_modified_sd_maps_may_lie_elsewhere(root, tmp_path):
    (root / "sdmap_train_modified").rename(tmp_path / "sdmap_train_modified")
    dataset = OpenLaneV2Dataset(root, sd_map={"root": tmp_path, "modified": True})
    assert dataset[2].sd_map.lanes.tolist() == [3]


def test_the_data_set_survives_the_way_to_a_worker(root):
    dataset = OpenLaneV2Dataset(root, cameras=CAMERAS, sd_map={})
    before = dataset[0]
    after = pickle.loads(pickle.dumps(dataset))[0]
    assert torch.equal(after.lane_graph.centers, before.lane_graph.centers)
    assert torch.equal(after.sd_map.lines.vertices, before.sd_map.lines.vertices)


def test_it_is_built_from_a_config_with_transforms(root):
    config = {"type": "OpenLaneV2Dataset", "root": root, "only_scenes": ["00001"], "sd_map": {"modified": True},
              "transforms": [{"type": "DropSDMap", "prob": 1.0}]}
    dataset = DATASETS.build(config)
    assert len(dataset) == 2
    assert dataset[0].sd_map is None
    assert dataset.class_counts(0).tolist() == []


@pytest.mark.parametrize(("arguments", "message"), [
    ({"split": "trian"}, r'unknown split "trian" \(did you mean "train"\?\)'),
    ({"only_scenes": ["00002"]}, r'unknown segment "00002" .*; known: 00000, 00001'),
    ({"cameras": ["ring_front_centre"]}, r'unknown camera "ring_front_centre" \(did you mean "ring_front_center"'),
])
def test_an_unknown_name_is_refused_with_the_nearest_one(root, arguments, message):
    with pytest.raises(ConfigError, match=message):
        OpenLaneV2Dataset(root, **arguments)


def broken_lane(content: dict) -> None:
    content["annotation"]["lane_segment"][1]["left_laneline"] = [[0.0, 0.0]]


def broken_type(content: dict) -> None:
    content["annotation"]["lane_segment"][0]["right_laneline_type"] = 3


def broken_area(content: dict) -> None:
    content["annotation"]["area"][1]["category"] = 0


def broken_topology(content: dict) -> None:
    content["annotation"]["topology_lsls"] = [[0, 1, 0]]


def broken_rotation(content: dict) -> None:
    content["sensor"]["ring_side_left"]["extrinsic"]["rotation"][0] = [0.0, 0.0, 2.0]


def broken_intrinsics(content: dict) -> None:
    content["sensor"]["ring_side_left"]["intrinsic"] = {}


@pytest.mark.parametrize(("edit", "message"), [
    (broken_lane, r"annotation: .*left_laneline of lane segment 12 must be finite \(n, 3\), got \(1, 2\)"),
    (broken_type, "annotation: .*right_laneline_type of lane segment 11 must be 0, 1 or 2, got 3"),
    (broken_area, "annotation: .*category of area 2 must be 1 or 2, got 0"),
    (broken_topology, r"annotation: .*topology_lsls must be \(2, 2\), got \(1, 3\)"),
    (broken_rotation, "ring_side_left.extrinsic: expected a rotation .*not orthonormal"),
    (broken_intrinsics, "ring_side_left: expected image_path and intrinsic.K"),
    (lambda content: content.pop("pose"), "pose: expected an object, got NoneType"),
    (lambda content: content["annotation"].pop("area"), "annotation: .*KeyError.*area"),
])
def test_a_malformed_frame_is_refused_with_its_file_and_field(root, edit, message):
    path = info_path(root, "train", "00000", 0)
    change(path, edit)
    with pytest.raises(DataError, match=f"{path.name}: {message}"):
        OpenLaneV2Dataset(root, cameras=CAMERAS)[0]


def test_absent_files_are_refused_by_name(root):
    info_path(root, "train", "00000", 0).unlink()
    (root / f"train/00000/image/ring_side_left/{TIMES[1]}.jpg").unlink()
    dataset = OpenLaneV2Dataset(root, cameras=CAMERAS)
    with pytest.raises(DataError, match=r"-ls.json: file: expected a readable file"):
        dataset[0]
    with pytest.raises(DataError, match=r"ring_side_left/.*: picture of ring_side_left: expected a readable picture"):
        dataset[1]


@pytest.mark.parametrize(("content", "message"), [
    ([], "file: expected segments by split, got list"), ({"train": []}, "file: expected segments by split"),
    ({"train": {"00000": ["first.json"]}}, "train/00000: expected names TIMESTAMP.json, got first"),
])
def test_a_malformed_data_dictionary_is_refused(root, content, message):
    write_json(root / "data_dict_subset_A.json", content)
    with pytest.raises(DataError, match=message):
        OpenLaneV2Dataset(root)


def test_malformed_flags_and_a_usable_map_that_is_absent_are_refused(root):
    folder = root / "sdmap_train_modified"
    (folder / "00001/sdmap.json").unlink()
    with pytest.raises(DataError, match="00001: files: expected one JSON file, the map being marked as usable, got 0"):
        OpenLaneV2Dataset(root, sd_map={"modified": True})[2]
    write_json(folder / "info_train.json", {"00001": "yes"})
    with pytest.raises(DataError, match=r"info_train.json: 00001: expected true or false, got yes"):
        OpenLaneV2Dataset(root, sd_map={"modified": True})
    write_json(folder / "info_train.json", ["00001"])
    with pytest.raises(DataError, match=r"info_train.json: file: expected true or false by segment, got list"):
        OpenLaneV2Dataset(root, sd_map={"modified": True})


def test_lines_need_two_points(root):
    with pytest.raises(ValueError, match="points must be >= 2, got 1"):
        OpenLaneV2Dataset(root, points=1)


def test_a_line_that_is_not_finite_is_refused():
    broken = annotation()
    broken["area"][0]["points"][2][0] = float("nan")
    with pytest.raises(ValueError, match="points of area 1 must be finite"):
        lane_graph_of(broken)
