"""Waymo's second format: the same frames as of the first, whatever the types of its columns, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from small_waymo import SEGMENT, START_MICROS, components_of, frame, opened, write_v1, write_v2

from perception.datasets.waymo.component_files import ComponentFile
from perception.datasets.waymo.frames import frame_of_message
from perception.datasets.waymo.parquet import read_parquet_frame
from perception.datasets.waymo_open import CAMERAS, build_waymo_index
from perception.errors import DataError
from perception.structures import Frame

EVERYTHING: dict[str, Any] = {
    "cameras": ("FRONT", "FRONT_LEFT", "SIDE_RIGHT"), "num_sweeps": 2, "classes": None, "point_labels": True,
}


@pytest.mark.parametrize("rows_per_group", [1, 7, 1000])
def test_both_formats_give_the_same_frames(tmp_path, rows_per_group):
    frames = [frame(step) for step in range(3)]
    write_v1(tmp_path / "v1", frames)
    write_v2(tmp_path / "v2", frames, rows_per_group=rows_per_group)
    ours, theirs = opened(tmp_path / "v1", **EVERYTHING), opened(tmp_path / "v2", **EVERYTHING)
    assert list(ours.frame_tokens) == list(theirs.frame_tokens)
    for one, other in zip(ours, theirs, strict=True):
        assert_same_frames(one, other)


def assert_same_frames(one: Frame, other: Frame) -> None:
    assert (one.token, one.timestamp_ns, one.scene) == (other.token, other.timestamp_ns, other.scene)
    for name in ("global_from_ego", "ego_from_lidar"):
        assert torch.equal(getattr(one, name).matrix(), getattr(other, name).matrix())
    assert torch.equal(one.points.data, other.points.data)
    assert torch.equal(one.point_labels.classes, other.point_labels.classes)
    assert torch.equal(one.point_labels.instances, other.point_labels.instances)
    for ours, theirs in zip(one.sweeps, other.sweeps, strict=True):
        assert torch.equal(ours.load().data, theirs.load().data)
    ours, theirs = one.annotations, other.annotations
    assert torch.equal(ours.boxes.tensor, theirs.boxes.tensor)
    assert torch.equal(ours.num_lidar_pts, theirs.num_lidar_pts)
    assert (ours.names(), ours.instance_ids, ours.attributes) == (
        theirs.names(), theirs.instance_ids, theirs.attributes)
    assert list(one.cameras) == list(other.cameras)
    for mine, yours in zip(one.cameras.values(), other.cameras.values(), strict=True):
        assert (mine.source, mine.timestamp_ns) == (yours.source, yours.timestamp_ns)
        assert torch.equal(mine.calibration.intrinsics, yours.calibration.intrinsics)
        assert torch.equal(mine.calibration.ego_from_camera.matrix(), yours.calibration.ego_from_camera.matrix())


def rewritten(path: Path, change: Callable[[pa.Table], pa.Table]) -> None:
    """Replace a component by a changed one."""
    pq.write_table(change(pq.read_table(path)), path)


def cast(table: pa.Table, **kinds: pa.DataType) -> pa.Table:
    """Columns whose names end so, in other types."""
    for ending, kind in kinds.items():
        for place, name in enumerate(table.column_names):
            if name.split(".")[-1] == ending:
                table = table.set_column(place, name, pa.array(table[name].to_pylist(), kind))
    return table


def test_labels_and_pictures_of_a_frame_are_those_of_its_message(tmp_path):
    message = frame(1)
    folder = write_v2(tmp_path, [frame(0), message])
    ours, theirs = read_parquet_frame(folder, SEGMENT, message.timestamp_micros), frame_of_message(message, "here")
    for name in ("types", "detection_levels", "tracking_levels", "num_points", "num_top_points"):
        assert torch.equal(getattr(ours.labels, name), getattr(theirs.labels, name))
    assert ours.labels.ids == theirs.labels.ids
    assert ours.cameras["FRONT"].intrinsic == theirs.cameras["FRONT"].intrinsic
    assert ours.cameras["FRONT"].shutter_direction == "left_to_right"
    assert ours.pictures["SIDE_RIGHT"].jpeg == theirs.pictures["SIDE_RIGHT"].jpeg
    for ours_part, theirs_part in zip(ours.returns(projections=True), theirs.returns(projections=True), strict=True):
        np.testing.assert_array_equal(ours_part.projections, theirs_part.projections)


def test_boxes_in_pictures_name_the_object_in_space(tmp_path):
    folder = write_v2(tmp_path, [frame(0)])
    key = {"key.segment_context_name": SEGMENT, "key.frame_timestamp_micros": START_MICROS}
    box = {"box.center.x": 5.0, "box.center.y": 4.0, "box.size.x": 3.0, "box.size.y": 2.0, "type": 1}
    rows = {
        "camera_box": {**key, "key.camera_name": 1, "key.camera_object_id": "drawn",
                       **{f"[CameraBoxComponent].{name}": value for name, value in box.items()}},
        "projected_lidar_box": {**key, "key.camera_name": 2, "key.laser_object_id": "car-id",
                                **{f"[ProjectedLiDARBoxComponent].{name}": value for name, value in box.items()}},
        "camera_to_lidar_box_association": {**key, "key.camera_object_id": "drawn", "key.laser_object_id": "car-id"},
    }
    for component, row in rows.items():
        (folder / component).mkdir()
        pq.write_table(pa.Table.from_pylist([row]), folder / component / f"{SEGMENT}.parquet")
    found = read_parquet_frame(folder, SEGMENT, START_MICROS)
    assert found.camera_labels["FRONT"].boxes.tolist() == [[5.0, 4.0, 3.0, 2.0]]
    assert found.camera_labels["FRONT"].laser_object_ids == ("car-id",)
    assert found.projected_labels["FRONT_LEFT"].ids == ("car-id",)


def test_pictures_have_the_panoptic_labels_of_their_component(tmp_path, shared_data):
    folder = write_v2(tmp_path, [frame(0)])
    (folder / "camera_segmentation").mkdir()
    png = (shared_data / "waymo/camera_segmentation/FRONT_panoptic.png").read_bytes()
    pq.write_table(pa.Table.from_pylist([{
        "key.segment_context_name": SEGMENT, "key.frame_timestamp_micros": START_MICROS, "key.camera_name": 2,
        "[CameraSegmentationLabelComponent].panoptic_label": png,
        "[CameraSegmentationLabelComponent].panoptic_label_divisor": 1000,
    }]), folder / f"camera_segmentation/{SEGMENT}.parquet")
    pictures = read_parquet_frame(folder, SEGMENT, START_MICROS).pictures
    assert pictures["FRONT"].panoptic is None
    assert pictures["FRONT_LEFT"].panoptic.codes().shape == (1280, 1920)


def test_other_types_of_columns_give_the_same_frame(tmp_path):
    """Cameras and lasers by name, float32 poses and whole numbers of 64 bits, as in files of other releases."""
    write_v2(tmp_path / "now", [frame(0)])
    folder = write_v2(tmp_path / "then", [frame(0)])
    cameras = {1: "FRONT", 2: "FRONT_LEFT", 5: "SIDE_RIGHT"}
    lasers = {1: "TOP", 2: "FRONT", 3: "SIDE_LEFT", 4: "SIDE_RIGHT", 5: "REAR"}
    for path in folder.glob("*/*.parquet"):
        table = pq.read_table(path)
        for key, names in (("key.camera_name", cameras), ("key.laser_name", lasers)):
            if key in table.column_names:
                words = pa.array([names[number] for number in table[key].to_pylist()])
                table = table.set_column(table.column_names.index(key), key, words)
        pq.write_table(cast(table, f_u=pa.float32(), width=pa.int64(), type=pa.int8(), values=pa.list_(pa.float64()),
                            shape=pa.list_(pa.int64()), heading=pa.float32()), path)
    now, then = (opened(tmp_path / name, **EVERYTHING)[0] for name in ("now", "then"))
    assert torch.equal(then.points.data, now.points.data)
    assert list(then.cameras) == list(now.cameras)
    torch.testing.assert_close(then.annotations.boxes.tensor, now.annotations.boxes.tensor, atol=1e-6, rtol=0)


def test_the_poses_of_a_real_file_are_read_by_name(shared_data):
    [path] = (shared_data / "waymo/perception_v2/vehicle_pose").glob("*.parquet")
    file = ComponentFile(path, path.stem)
    rows = file.read({"world_from_vehicle.transform": list})
    assert len(rows) == len(file.timestamps) == 199
    assert len(rows[0]["world_from_vehicle.transform"]) == 16
    assert file.timestamps[0] == 1552440195362591
    assert len(ComponentFile(path, "other_segment").rows) == 0


def test_real_keypoints_of_one_frame_are_found_among_all(shared_data):
    [path] = (shared_data / "waymo/perception_v2/camera_hkp").glob("*.parquet")
    file = ComponentFile(path, path.stem)
    time = int(file.timestamps[len(file.timestamps) // 2])
    found = file.frame_rows(time, ("key.camera_name", "key.camera_object_id"))
    assert found.num_rows == (file.timestamps == time).sum() > 0
    assert set(found["key.camera_name"].to_pylist()) <= set(CAMERAS)


@pytest.mark.parametrize("rows_per_group", [1, 3, 20, 100])
@pytest.mark.parametrize("grouped", [False, True])
def test_rows_of_a_frame_are_found_in_any_row_group_and_order(tmp_path, rows_per_group, grouped):
    times = [place // 5 if grouped else place % 10 for place in range(45)]
    rows = [{"key.segment_context_name": "s", "key.frame_timestamp_micros": time, "[X].value": float(place)}
            for place, time in enumerate(times)]
    (tmp_path / "x").mkdir()
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "x/s.parquet", row_group_size=rows_per_group)
    file = ComponentFile(tmp_path / "x/s.parquet", "s")
    for step in (0, 1, 2, 8, 3, 3, 0, 7, 99):
        found = file.frame_rows(step, ("value",))
        assert found["value"].to_pylist() == [float(place) for place, time in enumerate(times) if time == step]


# What is refused.

@pytest.mark.parametrize("component", ["vehicle_pose", "lidar", "lidar_pose", "lidar_calibration", "lidar_box"])
def test_a_component_that_is_not_there_is_named(tmp_path, component):
    folder = write_v2(tmp_path, [frame(0)])
    (folder / component / f"{SEGMENT}.parquet").unlink()
    with pytest.raises(DataError, match=rf"{component}/{SEGMENT}.parquet: component {component}: .* got no such file"):
        build_waymo_index(tmp_path, "train")


def test_the_real_sample_of_two_components_is_told_what_it_lacks(shared_data, tmp_path):
    (tmp_path / "training").symlink_to(shared_data / "waymo/perception_v2")
    with pytest.raises(DataError, match=r"component lidar: expected a Parquet file, got no such file"):
        build_waymo_index(tmp_path, "train")


@pytest.mark.parametrize(
    ("component", "column"),
    [
        ("vehicle_pose", "world_from_vehicle.transform"), ("lidar_calibration", "beam_inclination.min"),
        ("lidar_box", "box.heading"), ("camera_calibration", "intrinsic.k1"), ("camera_image", "pose.transform"),
        ("lidar_box", "key.segment_context_name"),
    ],
)
def test_a_column_that_is_not_there_is_named(tmp_path, component, column):
    folder = write_v2(tmp_path, [frame(0)])

    def without(table: pa.Table) -> pa.Table:
        return table.drop_columns([name for name in table.column_names if name.endswith(column)])

    rewritten(folder / component / f"{SEGMENT}.parquet", without)
    with pytest.raises(DataError, match=rf"{component}/.*: {column}: expected a column of this name, got the columns"):
        build_waymo_index(tmp_path, "train")


def test_a_range_image_that_is_not_there_is_named(tmp_path):
    folder = write_v2(tmp_path, [frame(0)])
    rewritten(folder / f"lidar/{SEGMENT}.parquet",
              lambda table: table.drop_columns(["[LiDARComponent].range_image_return2.shape"]))
    with pytest.raises(DataError, match=r"range_image_return2.shape: expected a column of this name"):
        opened(tmp_path)[0]


def test_a_segment_without_calibration_is_refused(tmp_path):
    folder = write_v2(tmp_path, [frame(0)])
    rewritten(folder / f"lidar_calibration/{SEGMENT}.parquet", lambda table: table.slice(1))      # TOP stands first
    with pytest.raises(DataError, match=r"laser calibrations: expected that of the laser TOP, got those of FRONT, S"):
        build_waymo_index(tmp_path, "train")


@pytest.mark.parametrize(
    ("component", "column", "value", "message"),
    [
        ("lidar", "range_image_return1.shape", [2, 2, 4], r"expected numbers of the shape \(2, 2, 4\), got 192"),
        ("lidar", "key.laser_name", "ROOF", "key.laser_name: expected a number or one of UNKNOWN, TOP, .*, got ROOF"),
        ("lidar", "key.laser_name", "FRONT", "laser FRONT: expected one row of lidar, got two"),
    ],
)
def test_a_malformed_value_is_named(tmp_path, component, column, value, message):
    folder = write_v2(tmp_path, [frame(0)])

    def changed(table: pa.Table) -> pa.Table:
        [name] = [name for name in table.column_names if name.endswith(column)]
        values = table[name].to_pylist()
        if isinstance(value, str):
            values = [{1: "TOP", 2: "FRONT", 3: "SIDE_LEFT", 4: "SIDE_RIGHT", 5: "REAR"}[entry] for entry in values]
        top = table["key.laser_name"].to_pylist().index(1)
        values[top] = value
        return table.set_column(table.column_names.index(name), name, pa.array(values))

    rewritten(folder / component / f"{SEGMENT}.parquet", changed)
    with pytest.raises(DataError, match=message):
        opened(tmp_path)[0]


def test_a_type_that_is_no_number_is_named(tmp_path):
    folder = write_v2(tmp_path, [frame(0)])
    rewritten(folder / f"lidar_box/{SEGMENT}.parquet", lambda table: table.set_column(
        table.column_names.index("[LiDARBoxComponent].type"), "[LiDARBoxComponent].type", pa.array(["car"] * 4)))
    with pytest.raises(DataError, match=r"type: expected values that int takes, got invalid literal"):
        build_waymo_index(tmp_path, "train")


def test_a_file_that_is_no_parquet_is_refused(tmp_path):
    folder = write_v2(tmp_path, [frame(0)])
    (folder / f"lidar/{SEGMENT}.parquet").write_bytes(b"PAR1 and then nothing")
    with pytest.raises(DataError, match=r"component lidar: expected a Parquet file"):
        build_waymo_index(tmp_path, "train")


def test_a_frame_without_pose_is_refused(tmp_path):
    folder = write_v2(tmp_path, [frame(0)])
    with pytest.raises(DataError, match=r"frame 5: vehicle_pose: expected one row of the frame, got 0"):
        read_parquet_frame(folder, SEGMENT, 5)


def test_maps_are_refused_where_there_are_none(tmp_path):
    write_v2(tmp_path, [frame(0)])
    with pytest.raises(DataError, match=r"map: expected a TFRecord, since Waymo's second format has no maps"):
        opened(tmp_path, map={})[0]


def test_the_components_of_a_small_segment_are_those_of_a_real_one():
    assert set(components_of([frame(0)])) == {
        "vehicle_pose", "camera_calibration", "lidar_calibration", "lidar_box", "camera_image", "lidar",
        "lidar_camera_projection", "lidar_pose", "lidar_segmentation",
    }
