import json
import math
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from nuscenes.nuscenes import NuScenes, NuScenesExplorer
from nuscenes.utils.data_classes import LidarPointCloud

from perception.datasets.nuscenes import CLASS_OF_CATEGORY, CLASSES, NuScenesDataset
from perception.datasets.nuscenes_index import CAMERAS, build_nuscenes_index
from perception.errors import ConfigError, DataError
from perception.structures import SE3


@pytest.fixture
def devkit_root(shared_data: Path) -> Path:
    return shared_data / "nuscenes/devkit_root"


@pytest.fixture
def keyframe(devkit_root: Path, tmp_path: Path) -> NuScenesDataset:
    index = build_nuscenes_index(devkit_root, "v1.0-mini", "mini_train", tmp_path / "index.parquet")
    return NuScenesDataset(devkit_root, version="v1.0-mini", split="mini_train", index=index, cameras=CAMERAS)


def points_in_float64(cls, path: str) -> LidarPointCloud:
    """The devkit moves float32 points through global coordinates, where their steps are 0.1 mm: a tenth of a pixel."""
    return cls(np.fromfile(path, np.float32).reshape(-1, 5)[:, :4].T.astype(np.float64))


def open_mini(root: Path, **options) -> NuScenesDataset:
    build_nuscenes_index(root, "v1.0-mini", "mini_train")
    return NuScenesDataset(root, version="v1.0-mini", split="mini_train", **options)


def test_points_in_every_box_are_those_that_the_devkit_counts(keyframe, devkit_root):
    expected = json.loads((devkit_root / "expected_queries.json").read_text())["boxes"]["points_inside"]
    frame = keyframe[0]
    points = frame.global_from_ego.apply(frame.points.xyz.double())                    # (N, 3), global frame
    counts = {}
    for entry in keyframe.record(0).objects:
        local = SE3.from_quaternion(entry.rotation, entry.translation).inverse().apply(points).abs()
        inside = (local <= torch.tensor(entry.size, dtype=torch.float64) / 2).all(dim=1)
        counts[entry.token] = [int(inside.sum()), entry.num_lidar_pts]
    assert counts == expected


def test_points_of_the_keyframe_are_the_files_points_in_the_ego_frame(keyframe, devkit_root):
    frame = keyframe[0]
    raw = np.fromfile(next(devkit_root.glob("samples/LIDAR_TOP/*.bin")), np.float32).reshape(-1, 5)
    assert frame.points.channels == ("x", "y", "z", "intensity", "ring")
    back = frame.ego_from_lidar.inverse().apply(frame.points.xyz)
    torch.testing.assert_close(back, torch.from_numpy(raw[:, :3]), atol=2e-5, rtol=0)  # float32 steps are 8e-6 at 100 m
    np.testing.assert_allclose(frame.points.channel("intensity"), raw[:, 3] / 255, atol=1e-7)
    np.testing.assert_array_equal(frame.points.channel("ring"), raw[:, 4])


@pytest.mark.parametrize("name", CAMERAS)
def test_projection_equals_the_devkits_map_pointcloud_to_image(keyframe, devkit_root, name, monkeypatch):
    monkeypatch.setattr(LidarPointCloud, "from_file", classmethod(points_in_float64))
    tables = NuScenes("v1.0-mini", str(devkit_root), verbose=False)
    data = tables.sample[0]["data"]
    pixels, depth, _ = NuScenesExplorer(tables).map_pointcloud_to_image(data["LIDAR_TOP"], data[name], min_dist=1.0)
    frame = keyframe[0]
    calibration = frame.cameras[name].calibration
    uvd = calibration.project(frame.points.xyz.double())                               # (N, 3)
    seen = (uvd[:, 2] > 1) & (uvd[:, 0] > 1) & (uvd[:, 0] < calibration.width - 1)
    seen &= (uvd[:, 1] > 1) & (uvd[:, 1] < calibration.height - 1)
    assert int(seen.sum()) == pixels.shape[1]
    np.testing.assert_allclose(uvd[seen, :2].numpy(), pixels[:2].T, atol=1e-3)
    np.testing.assert_allclose(uvd[seen, 2].numpy(), depth, atol=1e-5)


def test_category_table_is_the_official_one(devkit_root):
    from nuscenes.eval.detection.utils import category_to_detection_name

    tables = NuScenes("v1.0-mini", str(devkit_root), verbose=False)
    assert len(tables.category) == 32
    for category in tables.category:
        assert CLASS_OF_CATEGORY.get(category["name"]) == category_to_detection_name(category["name"])


def test_labels_attributes_and_tracks_of_the_keyframe(keyframe):
    annotations = keyframe[0].annotations
    names = annotations.names()
    assert {name: names.count(name) for name in set(names)} == {
        "pedestrian": 30, "barrier": 22, "car": 8, "traffic_cone": 3, "truck": 2, "bus": 1, "bicycle": 1,
        "construction_vehicle": 1, "ignore": 1,
    }
    assert sum(name != "" for name in annotations.attributes) == 43
    assert len(set(annotations.instance_ids)) == 69
    assert torch.isnan(annotations.boxes.velocities).all()
    assert torch.isnan(annotations.visibility).all()


def test_three_sweeps_aggregate_as_the_devkit_does(mini_nuscenes):
    root = mini_nuscenes.write()
    aggregate = {"type": "AggregateSweeps", "num_sweeps": 2, "pad_empty": False}
    dataset = open_mini(root, num_sweeps=2, transforms=[aggregate])
    tables = NuScenes("v1.0-mini", str(root), verbose=False)
    cloud, times = LidarPointCloud.from_file_multisweep(
        tables, tables.get("sample", "sample2"), "LIDAR_TOP", "LIDAR_TOP", nsweeps=3, min_distance=1.0
    )
    frame = dataset[dataset.index_of("sample2")]
    ours = frame.ego_from_lidar.inverse().apply(frame.points.xyz.double())              # (N, 3), sensor frame
    np.testing.assert_allclose(ours.numpy(), cloud.points[:3].T, atol=1e-4)
    np.testing.assert_allclose(frame.points.channel("intensity").numpy() * 255, cloud.points[3], atol=1e-4)
    np.testing.assert_allclose(frame.points.channel("time").numpy(), times[0], atol=1e-6)


def test_sweeps_are_newest_first_and_never_older_than_the_drive(mini_nuscenes):
    dataset = open_mini(mini_nuscenes.write(), num_sweeps=9)
    assert [len(dataset[index].sweeps) for index in range(3)] == [0, 2, 4]
    last = dataset[2]
    ages = [(last.timestamp_ns - sweep.timestamp_ns) * 1e-9 for sweep in last.sweeps]
    assert ages == pytest.approx([0.25, 0.5, 0.75, 1.0])


def test_velocities_equal_the_devkits_turned_into_the_ego_frame(mini_nuscenes):
    dataset = open_mini(mini_nuscenes.write())
    tables = NuScenes("v1.0-mini", str(dataset.root), verbose=False)
    for index in range(3):
        frame = dataset[index]
        rows = frame.annotations.boxes.to_nuscenes(frame.global_from_ego)
        np.testing.assert_allclose(rows.velocity[0], tables.box_velocity(f"car{index}")[:2], atol=1e-5)
        np.testing.assert_allclose(rows.velocity[0], [5.0, -2.0], atol=1e-5)    # 2.5 m and -1 m in half a second
    assert torch.isnan(dataset[1].annotations.boxes.velocities[1]).all()                 # the dog is seen once


def test_boxes_come_back_in_global_coordinates(mini_nuscenes):
    dataset = open_mini(mini_nuscenes.write())
    frame = dataset[1]
    rows = frame.annotations.boxes.to_nuscenes(frame.global_from_ego)
    np.testing.assert_allclose(rows.translation[0], [1222.5, 904.0, 0.9], atol=1e-4)
    np.testing.assert_allclose(rows.size_wlh[0], [1.9, 4.5, 1.6], atol=1e-6)
    yaw = 2 * math.atan2(rows.rotation[0, 3], rows.rotation[0, 0])
    assert yaw == pytest.approx(-0.4, abs=2e-3)  # the vehicle's pitch tilts the box


def test_visibility_attributes_and_point_counts_reach_the_annotations(mini_nuscenes):
    annotations = open_mini(mini_nuscenes.write())[1].annotations
    assert annotations.attributes == ("vehicle.moving", "")
    assert annotations.visibility[0] == pytest.approx(0.9)
    assert math.isnan(annotations.visibility[1])
    assert annotations.num_lidar_pts.tolist() == [8, 8]
    assert annotations.labels.tolist() == [CLASSES.index("car"), -1]


def test_a_pictures_pose_holds_the_motion_since_its_time(mini_nuscenes):
    frame = open_mini(mini_nuscenes.write(), cameras=("CAM_FRONT",))[1]
    camera = frame.cameras["CAM_FRONT"]
    assert frame.timestamp_ns - camera.timestamp_ns == 20_000_000
    forward = 8.0 * math.cos(0.8) + 1.0 * math.sin(0.8)                                  # m/s at a yaw of 0.8 rad
    assert camera.calibration.ego_from_camera.translation[0] == pytest.approx(1.7 - 0.02 * forward, abs=1e-3)


def test_an_object_without_size_gets_no_class(mini_nuscenes, caplog):
    mini_nuscenes.tables["sample_annotation"][1]["size"] = [0.0, 4.5, 1.6]
    dataset = open_mini(mini_nuscenes.write())
    assert dataset[1].annotations.labels.tolist() == [-1, -1]
    assert "sample1: 1 objects without a positive size get label -1" in caplog.text


def test_a_class_subset_renumbers_the_labels(keyframe, devkit_root):
    dataset = NuScenesDataset(
        devkit_root, version="v1.0-mini", split="mini_train", index=keyframe.index_path, classes=("pedestrian", "car")
    )
    assert dataset.class_counts(0).tolist() == [30, 8]
    assert dataset[0].annotations.names().count("ignore") == 31
    assert dataset.metainfo["classes"] == ("pedestrian", "car")


def test_class_counts_equal_those_of_the_loaded_frame(mini_nuscenes):
    dataset = open_mini(mini_nuscenes.write())
    for index in range(3):
        labels = dataset.load(index).annotations.labels
        assert dataset.class_counts(index).tolist() == np.bincount(labels[labels >= 0], minlength=10).tolist()


def test_the_test_split_is_not_annotated(mini_nuscenes):
    mini_nuscenes.version = "v1.0-test"
    mini_nuscenes.tables["scene"][0]["name"] = "scene-0077"
    mini_nuscenes.tables |= {"sample_annotation": [], "instance": []}
    root = mini_nuscenes.write()
    build_nuscenes_index(root, "v1.0-test", "test")
    dataset = NuScenesDataset(root, version="v1.0-test", split="test")
    assert dataset[0].annotations is None
    assert dataset.class_counts(0).tolist() == [0] * 10


def test_only_scenes_keeps_some_drives(mini_nuscenes):
    root = mini_nuscenes.write()
    assert len(open_mini(root, only_scenes=("scene-0061",))) == 3
    assert open_mini(root).scene_indices("scene-0061") == [0, 1, 2]


def test_a_dataset_pickles_without_its_table(mini_nuscenes):
    dataset = open_mini(mini_nuscenes.write())
    dataset.class_counts(0)
    packed = pickle.dumps(dataset)
    assert len(packed) < 4000
    again = pickle.loads(packed)
    torch.testing.assert_close(again[1].points.data, dataset[1].points.data)


def test_split_all_takes_scenes_outside_the_official_lists(mini_nuscenes):
    mini_nuscenes.tables["scene"][0]["name"] = "my-drive"
    root = mini_nuscenes.write()
    with pytest.raises(DataError, match=r'scene\.json: name: expected a scene of split "mini_train" \(or use split'):
        build_nuscenes_index(root, "v1.0-mini", "mini_train")
    build_nuscenes_index(root, "v1.0-mini", "all")
    assert NuScenesDataset(root, version="v1.0-mini", split="all").scenes == ["my-drive"] * 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"version": "v1.0-minni"}, r'unknown nuScenes version "v1.0-minni" \(did you mean "v1.0-mini"\?\)'),
        ({"version": "v1.0-mini", "split": "mini_trian"}, r'no split "mini_trian" \(did you mean "mini_train"\?\)'),
        ({"version": "v1.0-mini", "split": "val"}, 'v1.0-mini has no split "val"'),
        ({"cameras": ("CAM_FRNT",)}, r'unknown camera "CAM_FRNT" \(did you mean "CAM_FRONT"\?\)'),
        ({"classes": ("cars",)}, r'unknown class "cars" \(did you mean "car"\?\)'),
        ({"num_sweeps": 11}, r"num_sweeps must lie in \[0, 10\]"),
        ({"num_sweeps": -1}, r"num_sweeps must lie in \[0, 10\]"),
        ({"only_scenes": ("scene-0062",)}, r'no scene "scene-0062" \(did you mean "scene-0061"\?\)'),
    ],
)
def test_an_option_that_names_nothing_is_refused(mini_nuscenes, options, message):
    root = mini_nuscenes.write()
    build_nuscenes_index(root, "v1.0-mini", "mini_train")
    with pytest.raises(ConfigError, match=message):
        NuScenesDataset(root, **{"version": "v1.0-mini", "split": "mini_train", **options})


def test_a_truncated_sweep_is_refused_by_name(mini_nuscenes):
    dataset = open_mini(mini_nuscenes.write())
    path = dataset.root / "samples/LIDAR_TOP/2.pcd.bin"
    path.write_bytes(path.read_bytes()[:-6])
    with pytest.raises(DataError, match=r"LIDAR_TOP/2.pcd.bin: points: expected a multiple of 20 bytes .* got 3994"):
        dataset[1]


def test_a_missing_earlier_sweep_is_told_when_it_is_read(mini_nuscenes):
    dataset = open_mini(mini_nuscenes.write(), transforms=[{"type": "AggregateSweeps", "num_sweeps": 2}])
    (dataset.root / "sweeps/LIDAR_TOP/1.pcd.bin").unlink()
    with pytest.raises(DataError, match=r"sweeps/LIDAR_TOP/1.pcd.bin: file: .* No such file"):
        dataset[1]


def test_a_missing_picture_is_refused_by_name(mini_nuscenes):
    dataset = open_mini(mini_nuscenes.write(), cameras=("CAM_FRONT",))
    (dataset.root / "samples/CAM_FRONT/0.jpg").unlink()
    with pytest.raises(DataError, match=r"CAM_FRONT/0.jpg: picture of CAM_FRONT: expected a file, got no such file"):
        dataset[0]


def test_a_zero_quaternion_is_refused_by_frame(mini_nuscenes):
    mini_nuscenes.tables["sample_annotation"][0]["rotation"] = [0.0, 0.0, 0.0, 0.0]
    with pytest.raises(DataError, match="objects of frame sample0: expected unit quaternions"):
        open_mini(mini_nuscenes.write())[0]


@pytest.mark.parametrize("table", ["sample_data", "calibrated_sensor"])
def test_a_broken_table_is_told_by_its_folder(mini_nuscenes, table):
    root = mini_nuscenes.write()
    (root / f"v1.0-mini/{table}.json").write_text('[{"token": ')
    with pytest.raises(DataError, match=r"v1.0-mini: tables: expected tables that nuscenes-devkit opens"):
        build_nuscenes_index(root, "v1.0-mini", "mini_train")


def test_absent_tables_are_told_by_their_folder(tmp_path):
    with pytest.raises(DataError, match=r"v1.0-mini: tables: expected a folder of nuScenes tables"):
        build_nuscenes_index(tmp_path, "v1.0-mini", "all")


def test_a_sample_without_a_sweep_is_refused(mini_nuscenes):
    mini_nuscenes.tables["sample_data"][2]["is_key_frame"] = False
    with pytest.raises(DataError, match="expected a LIDAR_TOP keyframe of each sample, got none of sample sample1"):
        build_nuscenes_index(mini_nuscenes.write(), "v1.0-mini", "mini_train")
