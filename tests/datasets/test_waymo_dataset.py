"""Waymo frames: worked by hand, against the golden points, then odd ones."""

from __future__ import annotations

import io
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from small_waymo import SEGMENT, ZONE, frame, mount, opened, packed, pose_at, write_v1, write_v2

from perception.datasets.waymo.frames import frame_of, read_frames
from perception.datasets.waymo.matrices import float_matrix
from perception.datasets.waymo.points import POINT_CLASSES, POINT_COLUMNS, point_cloud
from perception.datasets.waymo.records import write_records
from perception.datasets.waymo.schema import MatrixFloat
from perception.structures.segmentation import IGNORE_LABEL


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Three frames as a TFRecord."""
    write_v1(tmp_path, [frame(step) for step in range(3)])
    return tmp_path


def test_points_have_the_channels_of_both_returns(root):
    points = opened(root)[0].points
    assert points.channels == POINT_COLUMNS
    images = [image for laser in frame(0).lasers for image in (laser.ri_return1, laser.ri_return2)]
    assert len(images) == 10
    assert set(points.channel("return_number").tolist()) == {1.0, 2.0}
    assert set(points.channel("laser").tolist()) == {1.0, 2.0, 3.0, 4.0, 5.0}
    assert set(points.channel("no_label_zone").tolist()) == {0.0, 1.0}
    assert 0.0 <= points.channel("intensity").min() <= points.channel("intensity").max() <= 1.0


def test_one_return_gives_its_rows_of_both(root):
    both, first = opened(root)[1].points, opened(root, returns=(1,))[1].points
    assert torch.equal(first.data, both.data[both.channel("return_number") == 1])


def test_a_point_lies_where_its_beam_ends():
    message = frame(0)
    side = next(laser for laser in message.lasers if laser.name == 2)
    ranges = float_matrix(side.ri_return1.range_image_compressed, "here", "ranges")[..., 0]
    row, column = np.argwhere(ranges > 0)[0]
    inclination = -1.5 + (3 - 1 - row + 0.5) / 3 * 2.0                            # rows run from the highest beam down
    azimuth = ((5 - column - 0.5) / 5 * 2 - 1) * math.pi - 0.1                    # mounted at a yaw of 0.1
    level = ranges[row, column] * math.cos(inclination)
    place = [level * math.cos(azimuth), level * math.sin(azimuth), ranges[row, column] * math.sin(inclination), 1.0]
    returns = [part for part in frame_of(message.SerializeToString(), "here").returns((1,)) if part.laser == "FRONT"]
    wanted = (mount(4.1, 0.0, 0.7, 0.1) @ place)[:3]
    np.testing.assert_allclose(point_cloud(returns).xyz[0], wanted, atol=1e-5)    # float32 of a few metres


@pytest.mark.parametrize("kind", ["records", "parquet"])
def test_golden_points_come_out_of_the_data_set(kind, golden, tmp_path):
    path = golden("data_formats") / "waymo_synthetic_frame.tfrecord"
    [moment] = read_frames(path)
    if kind == "records":
        (tmp_path / "training").mkdir()
        (tmp_path / "training/segment.tfrecord").write_bytes(path.read_bytes())
    else:
        write_v2(tmp_path, [moment.message])
    points = opened(tmp_path, returns=(1, 2))[0].points
    with np.load(path.with_name("waymo_synthetic_frame_points.npz")) as arrays:
        wanted = np.concatenate([
            arrays[f"return{number}.{laser}.range_intensity_elongation_xyz"]
            for number in (1, 2) for laser in ("TOP", "FRONT", "SIDE_LEFT", "SIDE_RIGHT", "REAR")
        ])
    np.testing.assert_allclose(points.xyz, wanted[:, 3:], atol=2e-2)              # the official decoder uses float32
    np.testing.assert_allclose(points.channel("intensity"), np.tanh(wanted[:, 1]), rtol=1e-6)
    np.testing.assert_array_equal(points.channel("elongation"), wanted[:, 2])


def test_boxes_lie_where_they_stand_in_the_world(root):
    for step, entry in enumerate(opened(root, classes=None)):
        assert entry.annotations.names() == ["Vehicle", "Pedestrian", "Sign", "Cyclist"]
        places = entry.global_from_ego.apply(entry.annotations.boxes.centers.double())
        # Boxes are float32 at 20 m from the vehicle; in the world they are 5,800 m away, in float64.
        np.testing.assert_allclose(places[0], [5020.0 + 0.8 * step, -2995.0, 22.0], atol=1e-5)
        np.testing.assert_allclose(places[1], [5012.0, -3004.0, 22.0], atol=1e-5)
        np.testing.assert_allclose(entry.annotations.boxes.sizes[1], [6.0, 1.7, 1.6], rtol=1e-6)
        np.testing.assert_allclose(entry.annotations.boxes.yaws, -0.6 - 0.02 * (step + 0.5), atol=1e-6)


def test_velocities_are_over_ground_in_the_ego_frame(root):
    entry = opened(root)[2]
    turned = np.linalg.inv(pose_at(2.5)[:2, :2]) @ [8.0, 0.0]                    # as all data sets turn them
    np.testing.assert_allclose(entry.annotations.boxes.velocities[0], turned, atol=1e-6)
    assert entry.annotations.boxes.velocities[1].tolist() == [0.0, 0.0]


def test_real_speeds_point_along_the_headings_of_what_moves(shared_data, tmp_path):
    (tmp_path / "training").mkdir()
    sample = shared_data / "waymo/perception_v1/pvps_data_one_frame.tfrecord"
    (tmp_path / "training/segment.tfrecord").write_bytes(sample.read_bytes())
    entry = opened(tmp_path, cameras=("FRONT", "SIDE_LEFT"), point_labels=True)[0]
    boxes = entry.annotations.boxes
    fast = boxes.velocities.norm(dim=1) > 4.0
    assert fast.sum() == 2
    drift = torch.atan2(boxes.velocities[:, 1], boxes.velocities[:, 0]) - boxes.yaws
    assert torch.sin(drift[fast]).abs().max() < 0.02                              # measured 0.002 rad
    assert (len(boxes), len(entry.points), entry.point_labels) == (75, 0, None)
    assert entry.cameras["FRONT"].labels.classes.shape == (1280, 1920)
    assert entry.annotations.names().count("ignore") == 25                        # signs


def test_labels_keep_counts_tracks_and_difficulties(root):
    annotations = opened(root)[1].annotations
    assert annotations.classes == ("Vehicle", "Pedestrian", "Cyclist")
    assert annotations.labels.tolist() == [0, 1, -1, 2]
    assert annotations.num_lidar_pts.tolist() == [4, 7, 10, 13]
    assert annotations.instance_ids == ("car-id", "walker-id", "sign-id", "rider-id")
    assert annotations.attributes == ("", "LEVEL_2", "", "")


def test_objects_are_counted_from_the_index(root):
    assert opened(root).class_counts(0).tolist() == [1, 1, 1]
    assert opened(root, classes=("Sign",)).class_counts(0).tolist() == [1]


def test_sweeps_are_the_frames_before(root):
    dataset = opened(root, num_sweeps=2)
    last = dataset[2]
    assert [sweep.timestamp_ns for sweep in last.sweeps] == [dataset[1].timestamp_ns, dataset[0].timestamp_ns]
    assert torch.equal(last.sweeps[1].load().data, dataset[0].points.data)
    wanted = torch.tensor(np.linalg.inv(pose_at(2.5)) @ pose_at(1.5))
    torch.testing.assert_close(last.sweeps[0].ego_from_sweep.matrix(), wanted, atol=1e-9, rtol=0)  # 1e-12 of 6 km


def test_a_camera_looks_along_its_axis_from_where_it_was(root):
    entry = opened(root, cameras=("FRONT", "FRONT_LEFT"))[1]
    assert list(entry.cameras) == ["FRONT", "FRONT_LEFT"]
    camera = entry.cameras["FRONT_LEFT"]
    ego_from_camera = np.linalg.inv(pose_at(1.5)) @ pose_at(1.4) @ mount(1.5, 0.1, 2.1, 0.8)     # Waymo's axes
    ahead, left, above = (torch.tensor((ego_from_camera @ [10.0, *beside, 1.0])[:3])
                          for beside in ((0.0, 0.0), (1.0, 0.0), (0.0, 1.0)))
    for place, pixel in ((ahead, (6.0, 4.0)), (left, (4.0, 4.0)), (above, (6.0, 1.9))):
        torch.testing.assert_close(
            camera.calibration.project(place), torch.tensor([*pixel, 10.0], dtype=torch.float64), atol=1e-6, rtol=0
        )
    assert (camera.calibration.width, camera.calibration.height) == (12, 8)
    assert camera.timestamp_ns == pytest.approx(entry.timestamp_ns + 40_000_000, abs=1000)       # float64 seconds
    assert Image.open(io.BytesIO(camera.source)).size == (12, 8)


def test_the_pose_of_the_main_laser_is_that_of_its_calibration(root):
    torch.testing.assert_close(opened(root)[0].ego_from_lidar.matrix(), torch.tensor(mount(1.4, 0.0, 2.2, 2.6)))


def test_labels_of_points_stand_beside_the_points_of_the_top_laser(root):
    entry = opened(root, point_labels=True)[0]
    labels, top = entry.point_labels, entry.points.channel("laser") == 1
    assert labels.names == POINT_CLASSES
    assert len(POINT_CLASSES) == 22
    assert (labels.classes[~top] == IGNORE_LABEL).all()
    assert (labels.classes[top] < 22).any()
    assert (labels.instances[labels.classes == IGNORE_LABEL] == 0).all()
    numbers = labels.instances.unique().tolist()
    assert numbers == list(range(len(numbers)))
    for number in numbers[1:]:
        assert len(labels.classes[labels.instances == number].unique()) == 1


def test_frames_without_labels_of_points_have_none(tmp_path):
    write_v1(tmp_path, [frame(0, labelled_points=False)])
    assert opened(tmp_path, point_labels=True)[0].point_labels is None


def test_no_label_zones_are_kept(root):
    [zone] = opened(root).no_label_zones(1)
    assert zone.tolist() == [list(corner) for corner in ZONE]


def test_the_map_of_the_first_frame_serves_all(root):
    for entry in opened(root, map={"region": (-60, -60, 60, 60), "dim": 3, "tolerance": 0.0}):
        found = entry.vector_map
        assert sorted(found.names()) == ["boundary", "boundary", "divider", "ped_crossing"]
        moved = found.lines.moved_by(entry.global_from_ego)                       # float32: half a millimetre here
        for line, name in zip(moved, found.names(), strict=True):
            if name == "divider":
                np.testing.assert_allclose(line[:, 1:], np.broadcast_to([-3000.0, 20.0], (len(line), 2)), atol=2e-3)
            if name == "boundary":
                assert (line[-1, 0] - line[0, 0]) * (line[0, 1] + 3000.0) > 0     # the road lies to its right


def test_frames_are_named_by_segment_and_time_and_stand_in_order(tmp_path):
    write_v1(tmp_path, [frame(2), frame(0), frame(1, "other_segment"), frame(1)])
    dataset = opened(tmp_path, num_sweeps=3)
    times = [1510593600000000 + 100_000 * step for step in (0, 1, 2, 1)]
    scenes = [SEGMENT] * 3 + ["other_segment"]
    assert list(dataset.frame_tokens) == [f"{scene}/{time}" for scene, time in zip(scenes, times, strict=True)]
    assert [len(dataset.record(index).sweeps) for index in range(4)] == [0, 1, 2, 0]
    assert len(opened(tmp_path, segments=("other_segment",))) == 1


@pytest.mark.parametrize("write", [write_v1, write_v2])
def test_the_test_split_is_not_annotated(tmp_path, write):
    write(tmp_path, [frame(0)], split="testing")
    for path in tmp_path.glob("testing/lidar_box/*"):
        path.unlink()
    dataset = opened(tmp_path, split="test")
    assert dataset[0].annotations is None
    assert dataset.class_counts(0).tolist() == [0, 0, 0]


def test_gzipped_records_are_read(tmp_path):
    (tmp_path / "training").mkdir()
    path = tmp_path / "training/segment.tfrecord.gz"
    write_records(path, [frame(step).SerializeToString() for step in range(2)], compress=True)
    write_v1(tmp_path / "plain", [frame(step) for step in range(2)])
    assert torch.equal(opened(tmp_path)[1].points.data, opened(tmp_path / "plain")[1].points.data)


def test_a_box_of_no_size_gets_no_label(tmp_path):
    message = frame(0)
    message.laser_labels[0].box.width = 0.0
    write_v1(tmp_path, [message])
    assert opened(tmp_path)[0].annotations.labels.tolist() == [-1, 1, -1, 2]


def test_an_unmeasured_intensity_is_none_and_no_point_is_lost(tmp_path):
    message = frame(0)
    image = message.lasers[0].ri_return1
    values = float_matrix(image.range_image_compressed, "here", "ranges").copy()
    values[..., 0], values[..., 1] = 5.0, np.nan
    image.range_image_compressed = packed(MatrixFloat, values)
    write_v1(tmp_path, [message])
    points = opened(tmp_path, returns=(1,))[0].points
    rows = points.channel("laser") == message.lasers[0].name
    assert rows.sum() == values[..., 0].size
    assert (points.channel("intensity")[rows] == 0.0).all()


def test_poses_in_an_index_keep_float64(root):
    pose = opened(root)[0].global_from_ego
    torch.testing.assert_close(pose.matrix(), torch.tensor(pose_at(0.5)), atol=1e-11, rtol=0)    # of 5,000 m
