"""A handmade scene written as a nuScenes root and read back by the official devkit."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from handmade import street_scene, street_town
from handmade_root import devkit_points, write_root
from nuscenes import NuScenes
from nuscenes.map_expansion.map_api import NuScenesMap
from nuscenes.utils.geometry_utils import points_in_box
from PIL import Image

from perception.synthetic.map_writer import MapExpansion, lane_edges, straight_pieces
from perception.synthetic.nuscenes_writer import is_keyframe, link, token
from perception.synthetic.town import Area, Lane


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("street")
    write_root(path)
    return path


@pytest.fixture(scope="module")
def nusc(root: Path) -> NuScenes:
    return NuScenes("v1.0-trainval", str(root), verbose=False)


@pytest.fixture(scope="module")
def street_map(root: Path) -> NuScenesMap:
    return NuScenesMap(str(root), "singapore-onenorth")


def annotation_points(nusc: NuScenes) -> Iterator[tuple[dict, np.ndarray, int]]:
    """Every annotation with the devkit's inside mask of its keyframe's points."""
    for sample in nusc.sample:
        for name in sample["anns"]:
            _, boxes, _ = nusc.get_sample_data(sample["data"]["LIDAR_TOP"], selected_anntokens=[name])
            points = devkit_points(nusc, sample["data"]["LIDAR_TOP"])[:, :3]
            yield nusc.get("sample_annotation", name), points_in_box(boxes[0], points.T), len(points)


def test_num_lidar_pts_is_what_the_devkit_counts(nusc):
    counted = [(row["num_lidar_pts"], int(inside.sum())) for row, inside, _ in annotation_points(nusc)]
    assert len(counted) == 16
    assert all(stored == devkit for stored, devkit in counted)
    assert max(counted) > (1000, 1000)


def test_sweeps_are_chained_at_10_hz_and_every_fifth_is_a_keyframe(nusc):
    row = nusc.get("sample_data", nusc.sample[0]["data"]["LIDAR_TOP"])
    while row["prev"]:
        row = nusc.get("sample_data", row["prev"])
    chain = [row]
    while row["next"]:
        row = nusc.get("sample_data", row["next"])
        chain.append(row)
    assert len(chain) == 20
    assert set(np.diff([row["timestamp"] for row in chain])) == {100_000}
    assert [row["is_key_frame"] for row in chain] == [False, False, False, False, True] * 4
    assert all(nusc.get("sample", row["sample_token"])["timestamp"] >= row["timestamp"] for row in chain)


def test_samples_are_chained_at_2_hz_at_the_lidars_time(nusc):
    assert [sample["next"] for sample in nusc.sample] == [*(sample["token"] for sample in nusc.sample[1:]), ""]
    assert [sample["prev"] for sample in nusc.sample] == ["", *(sample["token"] for sample in nusc.sample[:-1])]
    assert set(np.diff([sample["timestamp"] for sample in nusc.sample])) == {500_000}
    for sample in nusc.sample:
        assert nusc.get("sample_data", sample["data"]["LIDAR_TOP"])["timestamp"] == sample["timestamp"]


def test_every_sensor_data_has_its_own_ego_pose_at_its_own_time(nusc):
    for row in nusc.sample_data:
        pose = nusc.get("ego_pose", row["ego_pose_token"])
        seconds = (row["timestamp"] - nusc.sample[0]["timestamp"]) / 1e6
        assert pose["timestamp"] == row["timestamp"]
        np.testing.assert_allclose(pose["translation"], [60.0 + 8.0 * (0.45 + seconds), 98.0, 0.0], atol=1e-5)


def test_annotation_chains_run_over_the_samples_of_an_instance(nusc):
    assert len(nusc.instance) == 4
    for instance in nusc.instance:
        row, length = nusc.get("sample_annotation", instance["first_annotation_token"]), 1
        assert row["prev"] == ""
        while row["next"]:
            following = nusc.get("sample_annotation", row["next"])
            assert following["prev"] == row["token"]
            row, length = following, length + 1
        assert row["token"] == instance["last_annotation_token"]
        assert length == instance["nbr_annotations"] == 4


def test_velocities_of_the_devkit_are_those_of_the_cars(nusc):
    """A box stands where the beam met it, which shifts with its bearing: 5 % is what a near car may gain or lose."""
    velocities = {nusc.get("instance", row["instance_token"])["token"]: nusc.box_velocity(row["token"])
                  for row in nusc.sample_annotation}
    along = sorted(round(float(v[0])) for v in velocities.values())
    assert along == [-9, 0, 0, 8]
    assert all(abs(v[1]) < 0.05 and abs(v[2]) < 1e-6 for v in velocities.values())


def test_lidarseg_and_panoptic_have_one_label_a_point(nusc, root):
    for row in nusc.lidarseg:
        count = len(devkit_points(nusc, row["sample_data_token"]))
        semantic = np.fromfile(root / row["filename"], np.uint8)
        codes = np.load(root / nusc.get("panoptic", row["token"])["filename"])["data"]
        assert len(semantic) == len(codes) == count
        assert codes.dtype == np.uint16
        np.testing.assert_array_equal(codes // 1000, semantic)
        np.testing.assert_array_equal(codes % 1000 > 0, semantic == 17)


def test_the_devkits_own_lidarseg_statistics_run(nusc, capsys):
    nusc.get_sample_lidarseg_stats(nusc.sample[0]["token"], gt_from="panoptic")
    assert "vehicle.car" in capsys.readouterr().out


def test_images_have_the_size_of_the_table_and_labels_beside(nusc, root):
    images = [row for row in nusc.sample_data if row["fileformat"] == "jpg"]
    assert len(images) == 24
    for row in images:
        with Image.open(root / row["filename"]) as image:
            assert image.size == (row["width"], row["height"]) == (400, 224)
        labels = Path(row["filename"].replace("samples/", "image_panoptic/")).with_suffix(".png")
        with Image.open(root / labels) as image:
            assert image.size == (400, 224)
            assert set(np.unique(np.asarray(image)) // 1000) <= {0, 17, 24, 28}


def test_boxes_of_the_devkit_lie_on_the_cars_of_the_images(nusc, root):
    """Cameras fire as the beam passes, so a box fits the picture although cars move."""
    hits = 0
    for sample in nusc.sample:
        for channel in ("CAM_FRONT", "CAM_FRONT_LEFT"):
            path, boxes, intrinsics = nusc.get_sample_data(sample["data"][channel])
            codes = np.asarray(Image.open(path.replace("samples/", "image_panoptic/").replace(".jpg", ".png")))
            for box in boxes:
                u, v, w = intrinsics @ box.center
                if 0 <= u / w < 400 and 0 <= v / w < 224 and w < 25:
                    hits += codes[int(v / w), int(u / w)] // 1000 == 17
    assert hits >= 4


@pytest.mark.parametrize(("layer", "count"), [("lane", 2), ("road_segment", 1), ("ped_crossing", 1), ("walkway", 2),
                                              ("stop_line", 1), ("road_divider", 1), ("drivable_area", 1)])
def test_map_layers_come_back(street_map, layer, count):
    assert len(street_map.get_records_in_patch((0, 0, 200, 200), [layer])[layer]) == count


def test_map_masks_show_road_and_crossing(street_map):
    mask = street_map.get_map_mask((100, 100, 40, 80), 0.0, ["drivable_area", "ped_crossing"], (40, 80))
    assert mask[0].sum() == pytest.approx(80 * 8, rel=0.15)
    assert mask[1].sum() == pytest.approx(4 * 8, rel=0.5)


def test_lanes_lead_where_the_traffic_goes(street_map):
    east = street_map.get_closest_lane(100.0, 98.2, 5.0)
    poses = np.array(street_map.discretize_lanes([east], 10.0)[east])
    np.testing.assert_allclose(poses[[0, -1], :2], [[20.0, 98.0], [180.0, 98.0]], atol=1e-6)
    assert np.abs(poses[:, 2]).max() < 1e-9


def test_the_location_mask_is_white_on_road_and_walkway_only(nusc):
    mask = nusc.map[0]["mask"]
    on = mask.is_on_mask(np.array([60.0, 60.0, 60.0, 10.0]), np.array([98.0, 105.5, 109.0, 98.0]))
    np.testing.assert_array_equal(on, [True, True, False, False])


def test_tables_are_those_that_nuscenes_has(root):
    names = {path.stem for path in (root / "v1.0-trainval").iterdir()}
    assert names == {"category", "attribute", "visibility", "instance", "sensor", "calibrated_sensor", "ego_pose",
                     "log", "scene", "sample", "sample_data", "sample_annotation", "map", "lidarseg", "panoptic"}


def test_writing_twice_gives_the_same_bytes(root, tmp_path):
    write_root(tmp_path)
    first = {path.relative_to(root): path.read_bytes() for path in root.rglob("*") if path.is_file()}
    again = {path.relative_to(tmp_path): path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert first.keys() == again.keys()
    assert [name for name in first if first[name] != again[name]] == []


def test_a_scene_without_actors_is_still_a_root_that_opens(tmp_path):
    tables = write_root(tmp_path, street_scene("scene-0003", actors=(), duration_s=0.5), cameras=False, columns=90)
    nusc = NuScenes("v1.0-trainval", str(tmp_path), verbose=False)
    assert nusc.sample[0]["anns"] == []
    assert [row["fileformat"] for row in tables["sample_data"]] == ["pcd"] * 5


def test_towns_of_one_location_share_a_map_file():
    expansion = MapExpansion("boston-seaport", (400.0, 200.0))
    expansion.add(street_town("boston-seaport"), "first")
    expansion.add(street_town("boston-seaport"), "second", shift=(200.0, 0.0))
    content = json.loads(expansion.to_json())
    tokens = [row["token"] for layer in content.values() if isinstance(layer, list) for row in layer
              if isinstance(row, dict)]
    assert len(tokens) == len(set(tokens))
    assert content["version"] == "1.3"
    assert max(node["x"] for node in content["node"]) == 380.0


def test_stop_lines_name_crossings_that_exist(street_map):
    stop = street_map.stop_line[0]
    assert stop["cue"] == [street_map.get("ped_crossing", stop["ped_crossing_tokens"][0])]


def test_holes_are_kept():
    block = np.array([[40.0, 97.0], [50.0, 97.0], [50.0, 99.0], [40.0, 99.0]])
    town = street_town()
    town = replace(town, drivable=(Area("road", town.roads[0].exterior, holes=(block,)),))
    expansion = MapExpansion("boston-seaport", (200.0, 200.0))
    expansion.add(town, "holed")
    polygons = {row["token"]: row for row in expansion.layers["polygon"]}
    hole = polygons[expansion.layers["drivable_area"][0]["polygon_tokens"][0]]["holes"][0]["node_tokens"]
    nodes = {row["token"]: (row["x"], row["y"]) for row in expansion.layers["node"]}
    np.testing.assert_array_equal([nodes[name] for name in hole], block)


def test_lane_edges_lie_half_a_width_beside_the_centre():
    lane = Lane("bend", np.array([[0.0, 0.0], [10.0, 0.0], [10.0, 10.0]]), 3.0, False, "road")
    left, right = lane_edges(lane)
    np.testing.assert_allclose(left[[0, 2]], [[0.0, 1.5], [8.5, 10.0]], atol=1e-12)
    np.testing.assert_allclose(right[[0, 2]], [[0.0, -1.5], [11.5, 10.0]], atol=1e-12)


def test_pieces_of_a_path_join_up():
    angles = np.linspace(0, np.pi / 2, 30)
    pieces = straight_pieces(20 * np.column_stack([np.sin(angles), 1 - np.cos(angles)]))
    ends = np.array([[piece["start_pose"][:2], piece["end_pose"][:2]] for piece in pieces])
    np.testing.assert_array_equal(ends[1:, 0], ends[:-1, 1])
    assert 3 < len(pieces) < 30


@pytest.mark.parametrize(("sweep", "keyframe"), [(0, False), (4, True), (5, False), (99, True)])
def test_the_fifth_sweep_is_the_first_keyframe(sweep, keyframe):
    assert is_keyframe(sweep) is keyframe


def test_tokens_depend_on_every_name():
    assert token("a", 1) == token("a", 1) != token("a", 2)
    assert len(token("a")) == 32


def test_a_single_row_has_neither_neighbour():
    rows = [{"token": "only"}]
    link(rows)
    assert rows == [{"token": "only", "prev": "", "next": ""}]
