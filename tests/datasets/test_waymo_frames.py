"""What Waymo's frames tell but for their points, on messages that the tests make and on real ones."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from waymo_messages import frame_message, rigid, with_map

from perception.datasets.waymo.frames import WaymoFrame, frame_of, read_frames
from perception.datasets.waymo.names import CAMERAS, OBJECT_TYPES, name_of
from perception.datasets.waymo.records import write_records
from perception.datasets.waymo.schema import Frame, Object, Objects
from perception.errors import DataError
from perception.structures.segmentation import IGNORE_LABEL


def made(message: Any) -> WaymoFrame:
    return frame_of(message.SerializeToString(), "made")


def with_camera(message: Any, codes: list[list[int]] | None = None) -> Any:
    """The frame with a FRONT camera that looks ahead, whose picture was taken 0.5 m further on."""
    calibration = message.context.camera_calibrations.add(name=1, width=20, height=10, rolling_shutter_direction=2)
    calibration.intrinsic.extend([8.0, 9.0, 10.0, 5.0, 0.1, 0.2, 0.3, 0.4, 0.5])
    calibration.extrinsic.transform.extend(rigid(0, 0, 0, (1.5, 0.0, 2.0)).ravel())
    ahead = np.array(message.pose.transform).reshape(4, 4) @ rigid(0, 0, 0, (0.5, 0.0, 0.0))
    picture = message.images.add(name=1, image=b"jpeg", pose_timestamp=1_553_735_853.5)
    picture.pose.transform.extend(ahead.ravel())
    if codes is not None:
        label = picture.camera_segmentation_label
        label.panoptic_label_divisor, label.panoptic_label = 1000, png(np.array(codes, np.uint16))
        label.instance_id_to_global_id_mapping.add(local_instance_id=1, global_instance_id=11, is_tracked=True)
        label.instance_id_to_global_id_mapping.add(local_instance_id=3, global_instance_id=12)
    return message


def png(pixels: np.ndarray) -> bytes:
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, "PNG")
    return content.getvalue()


def test_unset_fields_read_their_defaults_and_unknown_ones_are_kept():
    assert Object().score == 1.0
    assert not Object().HasField("score")
    extended = Object(context_name="a").SerializeToString() + b"\xa2\x06\x03abc"                # field 100
    assert Object.FromString(extended).SerializeToString() == extended
    assert [Objects.FromString(b"").objects[:], Frame().timestamp_micros] == [[], 0]


def test_boxes_have_length_before_width_and_velocities():
    message = frame_message()
    label = message.laser_labels.add(type=1, id="car")
    for name, value in zip("xyz", (10.0, 2.0, 1.0), strict=True):
        setattr(label.box, f"center_{name}", value)
    label.box.width, label.box.length, label.box.height, label.box.heading = 1.8, 4.5, 1.5, 0.3
    motion = label.metadata
    motion.speed_x, motion.speed_y, motion.accel_x, motion.accel_y = 3.0, -1.0, 0.5, 0.25
    label.num_lidar_points_in_box = 7
    label.camera_synced_box.CopyFrom(label.box)
    message.laser_labels.add(type=4, id="bare")
    labels = made(message).labels
    assert labels.boxes.tensor[0].tolist() == [10.0, 2.0, 1.0, 4.5, 1.8, 1.5, 0.3, 3.0, -1.0]
    assert labels.accelerations[0].tolist() == [0.5, 0.25, 0.0]
    assert labels.vertical_speeds[0] == 0.0
    assert [OBJECT_TYPES[number] for number in labels.types.tolist()] == ["vehicle", "cyclist"]
    assert labels.num_points.tolist() == [7, -1]
    assert labels.num_top_points.tolist() == [-1, -1]
    assert labels.camera_synced_boxes.tensor[0].tolist() == labels.boxes.tensor[0, :7].tolist()
    for unknown in (labels.boxes.velocities[1], labels.accelerations[1], labels.camera_synced_boxes.tensor[1]):
        assert torch.isnan(unknown).all()


def test_a_frame_without_labels_has_none():
    frame = made(frame_message())
    assert (len(frame.labels), frame.camera_labels, frame.pictures, frame.no_label_zones) == (0, {}, {}, ())
    assert frame.labels.boxes.tensor.shape == (0, 9)
    assert frame.hd_map is None


def test_boxes_of_pictures_are_told_by_camera():
    message = frame_message()
    drawn = message.camera_labels.add(name=2)
    label = drawn.labels.add(id="a", type=2)
    label.box.center_x, label.box.center_y, label.box.length, label.box.width = 100.0, 50.0, 20.0, 60.0
    label.association.laser_object_id = "in space"
    message.projected_lidar_labels.add(name=9)
    frame = made(message)
    found = frame.camera_labels["FRONT_LEFT"]
    assert found.corners().tolist() == [[90.0, 20.0, 110.0, 80.0]]
    assert (found.ids, found.laser_object_ids) == (("a",), ("in space",))
    assert len(frame.projected_labels["number 9"]) == 0


def test_a_camera_looks_along_its_own_axes_from_where_its_picture_was_taken():
    camera = made(with_camera(frame_message())).camera("FRONT")
    assert camera.calibration is not None
    ahead, left_above = torch.tensor([[12.0, 0.0, 2.0], [12.0, 1.0, 4.0]], dtype=torch.float64)     # 10 m from the lens
    torch.testing.assert_close(camera.calibration.project(ahead), torch.tensor([10.0, 5.0, 10.0], dtype=torch.float64))
    seen = camera.calibration.project(left_above).tolist()
    assert seen == pytest.approx([10 - 8 * 0.1, 5 - 9 * 0.2, 10.0])
    assert (camera.source, camera.timestamp_ns) == (b"jpeg", 1_553_735_853_500_000_000)
    assert (camera.calibration.width, camera.calibration.height, camera.labels) == (20, 10, None)


def test_panoptic_labels_tell_classes_and_instances():
    frame = made(with_camera(frame_message(), [[0, 2_001, 9_003], [20_000, 28_000, 2_000]]))
    panoptic = frame.pictures["FRONT"].panoptic
    assert panoptic is not None
    assert (panoptic.global_ids, panoptic.tracked, panoptic.coverage()) == ({1: 11, 3: 12}, {1}, None)
    labels = frame.camera("FRONT").labels
    assert labels is not None
    names = [["" if label == IGNORE_LABEL else labels.names[label] for label in row] for row in labels.classes.tolist()]
    assert names == [["", "car", "pedestrian"], ["road", "static", "car"]]
    assert labels.instances is not None
    assert labels.instances.tolist() == [[0, 2_001, 9_003], [0, 0, 0]]


def test_the_count_of_cameras_is_a_picture_of_its_own():
    message = with_camera(frame_message(), [[0, 0]])
    message.images[0].camera_segmentation_label.num_cameras_covered = png(np.array([[1, 2]], np.uint8))
    panoptic = made(message).pictures["FRONT"].panoptic
    assert panoptic is not None
    coverage = panoptic.coverage()
    assert coverage is not None
    assert coverage.tolist() == [[1, 2]]


def test_zones_without_labels_are_outlines():
    message = frame_message()
    message.no_label_zones.add(x=[1.0, 2.0, 3.0], y=[4.0, 5.0, 6.0], id="zone")
    (zone,) = made(message).no_label_zones
    assert (zone.id, zone.outline.tolist()) == ("zone", [[1.0, 4.0], [2.0, 5.0], [3.0, 6.0]])


def again(messages: Any) -> None:
    messages.append(messages[0])


def two_lists(message: Any) -> None:
    for _ in range(2):
        message.camera_labels.add(name=1)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda m: m.context.ClearField("name"), "made: context.name: expected name of a segment"),
        (lambda m: m.pose.transform.pop(), "made: pose: expected 16 numbers, got 15"),
        (lambda m: m.pose.transform.__setitem__(0, 2.0), "made: pose: expected a rigid transform"),
        (lambda m: m.context.camera_calibrations[0].intrinsic.pop(), "intrinsic of camera FRONT: expected 9 finite"),
        (lambda m: again(m.context.camera_calibrations), "calibration of camera FRONT: expected one, got two"),
        (lambda m: m.context.laser_calibrations[0].ClearField("beam_inclination_max"), "inclinations of laser FRONT"),
        (lambda m: m.context.laser_calibrations[0].ClearField("extrinsic"), "extrinsic of laser FRONT: expected 16"),
        (lambda m: again(m.context.laser_calibrations), "calibration of laser FRONT: expected one, got two"),
        (lambda m: again(m.images), "picture of camera FRONT: expected one, got two"),
        (lambda m: m.images[0].camera_segmentation_label.ClearField("panoptic_label_divisor"), "number >= 1, got 0"),
        (two_lists, "camera_labels: expected one list a camera, got two of FRONT"),
        (lambda m: m.no_label_zones.add(x=[1.0], id="z"), "no-label zone 'z': expected as many x as y, got 1 and 0"),
        (lambda m: m.map_features.add(id=9), "map feature 9: expected one of lane, .*, driveway, got none"),
        (lambda m: again(m.map_features), "map feature 1: expected one, got two"),
    ],
)
def test_malformed_frames_are_told(change: Callable[[Any], object], match: str):
    with pytest.raises(DataError, match=match):
        made(damaged(change))


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda m: m.context.camera_calibrations.pop(), "made: camera FRONT: expected a calibration, got none"),
        (lambda m: m.images.pop(), "made: camera FRONT: expected a picture, got none"),
        (lambda m: m.context.camera_calibrations[0].intrinsic.__setitem__(0, 0.0), "focal lengths must be positive"),
        (lambda m: set_label(m, b"no png"), "made: camera FRONT: panoptic_label: expected a whole PNG picture"),
        (lambda m: set_label(m, png(np.zeros((2, 2, 3), np.uint8))), r"one channel of numbers, got .* \(2, 2, 3\)"),
        (lambda m: set_label(m, png(np.array([[29_000]], np.uint16))), "expected classes below 29, got 29"),
    ],
)
def test_malformed_pictures_are_told(change: Callable[[Any], object], match: str):
    frame = made(damaged(change))
    with pytest.raises(DataError, match=match):
        frame.camera("FRONT")


def damaged(change: Callable[[Any], object]) -> Any:
    message = with_map(with_camera(frame_message(), [[0, 0]]))
    change(message)
    return message


def set_label(message: Any, content: bytes) -> None:
    message.images[0].camera_segmentation_label.panoptic_label = content


def test_a_record_that_is_no_frame_is_named(tmp_path: Path):
    path = write_records(tmp_path / "a.tfrecord", [frame_message().SerializeToString(), b"\xff\xff\xff"])
    frames = read_frames(path)
    assert next(frames).segment == "made_segment_1"
    with pytest.raises(DataError, match=r"a.tfrecord: record 1 at byte \d+: message: expected a serialized Frame"):
        next(frames)


def test_numbers_without_a_name_are_told_as_they_are():
    assert [name_of(number, CAMERAS) for number in (1, 8, 9, -1)] == ["FRONT", "REAR_RIGHT", "number 9", "number -1"]


def sample(shared_data: Path, name: str) -> Path:
    path = shared_data / "waymo" / name
    if not path.is_file():
        pytest.skip(f"no {path}")
    return path


def test_the_real_frame_projects_its_boxes_where_waymo_does(shared_data: Path):
    (frame,) = read_frames(sample(shared_data, "perception_v1/pvps_data_one_frame.tfrecord"))
    assert set(frame.pictures) == set(CAMERAS[1:6])
    assert len(frame.labels) == 75
    assert frame.returns() == []                       # its lasers are there, but empty
    camera = frame.camera("FRONT")
    assert camera.calibration is not None
    projected = frame.projected_labels["FRONT"]
    rows = {name: row for row, name in enumerate(frame.labels.ids)}
    own = [rows[name.removesuffix("_FRONT")] for name in projected.ids]
    corners = camera.calibration.project(frame.labels.boxes[torch.tensor(own)].corners())      # (K, 8, 3)
    middles = (corners[..., :2].amin(1) + corners[..., :2].amax(1)) / 2
    near = (middles - projected.boxes[:, :2]).norm(dim=1)
    assert near.median() < 12.0                        # [pixels]; the lens is not modelled, and objects move meanwhile


def test_a_frame_stripped_to_labels_is_read(shared_data: Path):
    path = sample(shared_data, "mmdet3d_tests/waymo_format/validation/val.tfrecord")
    (frame,) = read_frames(path)
    assert len(frame.labels) == 18
    assert frame.returns() == []
