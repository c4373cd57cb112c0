"""MCAP recordings: the real sample, and small files written for one question each."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
import torch
from recordings import (
    boxes,
    calibration,
    cloud,
    deletion,
    jpeg,
    pose_in_map,
    position,
    raw_image,
    transform,
    write_mcap,
)

from perception.errors import ConfigError, DataError
from perception.replay.source import FrameSource, open_source
from perception.structures import Frame
from perception.transforms.load_images import LoadImages

POINT = [(10.0, 1.0, -1.0)]


def frames_of(path: Path, messages: list, **options) -> list[Frame]:
    return list(open_source(write_mcap(path / "log.mcap", messages), **options))


def only(path: Path, messages: list, **options) -> Frame:
    [frame] = frames_of(path, messages, **options)
    return frame


# The real sample.

@pytest.fixture
def sample(shared_data: Path) -> FrameSource:
    return open_source(shared_data / "mcap/kitti_3frames.mcap")


def test_points_of_the_sample_are_the_floats_of_the_bin_files(sample: FrameSource, shared_data: Path):
    sweeps = shared_data / "kitti/raw_2011_09_26_sequence/velodyne_points/data"
    for frame, path in zip(sample, sorted(sweeps.glob("*.bin")), strict=False):
        assert frame.points is not None
        assert frame.points.channels == ("x", "y", "z", "intensity")
        np.testing.assert_array_equal(frame.points.data.numpy(), np.fromfile(path, "<f4").reshape(-1, 4))


def test_the_sample_plays_as_the_drive_it_was_made_from(shared_data: Path):
    """The raw drive's ego frame is on the road, 1.73 m below the scanner; with that height the two agree."""
    mcap = open_source(shared_data / "mcap/kitti_3frames.mcap", ego_height=1.73)
    drive = open_source(shared_data / "kitti/raw_2011_09_26_sequence")
    origin = None
    for ours, theirs in zip(mcap, drive, strict=False):
        assert ours.global_from_ego is not None
        assert theirs.global_from_ego is not None
        origin = origin or ours.global_from_ego.inverse()
        pose = origin @ ours.global_from_ego               # the map frame is the first scanner's
        torch.testing.assert_close(pose.matrix(), theirs.global_from_ego.matrix(), atol=1e-6, rtol=0)
        torch.testing.assert_close(ours.points.data, theirs.points.data, atol=1e-5, rtol=0)
        left, right = ours.cameras["camera_rect"].calibration, theirs.cameras["image_02"].calibration
        assert left is not None
        assert right is not None
        torch.testing.assert_close(left.intrinsics, right.intrinsics)
        torch.testing.assert_close(left.ego_from_camera.matrix(), right.ego_from_camera.matrix(), atol=1e-6, rtol=0)


def test_pictures_and_boxes_of_the_sample(sample: FrameSource):
    frames = list(sample)
    decoded = LoadImages()(frames[0], np.random.default_rng(0))
    assert decoded.cameras["camera_rect"].image is not None
    assert decoded.cameras["camera_rect"].image.shape == (3, 375, 1242)
    for frame, x in zip(frames, (8.0, 7.95, 7.9), strict=True):
        assert frame.annotations is not None
        assert frame.annotations.names() == ["car"]
        assert frame.annotations.boxes.tensor[0, :6].tolist() == pytest.approx([x, 0.1, -0.9, 4.2, 1.8, 1.5])


def test_without_a_vehicle_frame_the_clouds_own_is_taken(sample: FrameSource, caplog: pytest.LogCaptureFixture):
    with caplog.at_level(logging.WARNING):
        list(sample)
    assert caplog.text.count("no vehicle frame among camera_rect, map, velodyne; the ego frame is 'velodyne'") == 1


# Frames and poses.

def test_points_are_moved_into_the_vehicle_frame_and_the_pose_is_that_of_the_vehicle(tmp_path: Path):
    half = 0.5 ** 0.5
    frame = only(tmp_path, [
        ("/tf", 1.0, transform(1.0, "odom", "base_link", (100, 200, 0))),
        ("/tf", 1.0, transform(1.0, "base_link", "mast", (1, 0, 2))),
        ("/tf", 1.0, transform(1.0, "mast", "lidar", (0, 0, 0), (half, 0, 0, half))),    # its x points left
        ("points", 1.0, cloud(1.0, [(10.0, 0.0, 0.0)])),
    ])
    torch.testing.assert_close(frame.points.xyz, torch.tensor([[1.0, 10.0, 2.0]]))
    assert frame.global_from_ego is not None
    assert frame.global_from_ego.translation.tolist() == [100, 200, 0]
    assert frame.ego_from_lidar is not None
    assert frame.ego_from_lidar.translation.tolist() == [1, 0, 2]


@pytest.mark.parametrize("name", ["ego_vehicle", "robot/base_link", "/Vehicle"])
def test_vehicle_frames_go_by_several_names(tmp_path: Path, name: str):
    frame = only(tmp_path, [
        ("tf", 1.0, transform(1.0, name, "lidar", (0, 0, 2))), ("points", 1.0, cloud(1.0, POINT)),
    ])
    assert frame.points.xyz[0, 2] == 1.0


def test_the_vehicle_frame_can_be_given(tmp_path: Path):
    messages = [("tf", 1.0, transform(1.0, "chassis", "lidar", (0, 0, 5))), ("points", 1.0, cloud(1.0, POINT))]
    assert only(tmp_path, messages, base_frame="chassis").points.xyz[0, 2] == 4.0
    with pytest.raises(ConfigError, match=r'"chasis" is not connected with "lidar" \(did you mean "chassis"\?\)'):
        only(tmp_path, messages, base_frame="chasis")


def test_a_transform_that_is_logged_after_its_cloud_still_counts(tmp_path: Path):
    frames = frames_of(tmp_path, [
        ("points", 1.0, cloud(1.0, POINT)),
        ("tf", 1.01, transform(1.0, "map", "base_link", (7, 0, 0))),
        ("tf", 1.01, transform(1.0, "base_link", "lidar", (0, 0, 1))),
        ("points", 2.0, cloud(2.0, POINT)),
        ("tf", 2.01, transform(2.0, "map", "base_link", (8, 0, 0))),
    ])
    assert [frame.global_from_ego.translation[0].item() for frame in frames] == [7, 8]


def test_a_pose_message_serves_where_no_transform_leads_to_a_map(tmp_path: Path):
    messages = [
        ("pose", 1.0, pose_in_map(1.0, 3.0)), ("points", 1.0, cloud(1.0, POINT)),
        ("pose", 2.0, pose_in_map(2.0, 4.0)), ("points", 2.0, cloud(2.0, POINT)),
    ]
    assert [frame.global_from_ego.translation[0].item() for frame in frames_of(tmp_path, messages)] == [3, 4]


def test_without_any_pose_there_is_none(tmp_path: Path):
    assert only(tmp_path, [("points", 1.0, cloud(1.0, POINT))]).global_from_ego is None


def test_the_position_on_earth_comes_along(tmp_path: Path):
    frame = only(tmp_path, [("gps", 1.0, position(1.0, 48.1, 11.5, 520.0)), ("points", 1.0, cloud(1.0, POINT))])
    assert frame.wgs84 == (48.1, 11.5, 520.0)


def test_transforms_in_a_circle_are_refused(tmp_path: Path):
    with pytest.raises(DataError, match="a tree of frames, got a circle through 'a'"):
        frames_of(tmp_path, [
            ("tf", 1.0, transform(1.0, "a", "b", (0, 0, 0))), ("tf", 1.0, transform(1.0, "b", "a", (0, 0, 0))),
            ("points", 1.0, cloud(1.0, POINT)),
        ])


# Point clouds.

@pytest.mark.parametrize(
    ("kind", "value", "intensity"),
    [("u1", 255, 1.0), ("u1", 51, 0.2), ("u2", 65535, 1.0), ("f4", 0.25, 0.25), ("f4", 51.0, 0.2), ("f8", 0.5, 0.5)],
)
def test_intensities_end_up_between_0_and_1(tmp_path: Path, kind: str, value: float, intensity: float):
    frame = only(tmp_path, [("points", 1.0, cloud(1.0, [(1, 2, 3, value)], intensity=kind))])
    assert float(frame.points.channel("intensity")[0]) == pytest.approx(intensity)


def test_the_scale_of_floating_intensities_is_judged_once(tmp_path: Path):
    messages = [
        ("points", time, cloud(time, [(1, 2, 3, value)], intensity="f4")) for time, value in ((1.0, 102.0), (2.0, 0.51))
    ]
    values = [float(frame.points.channel("intensity")[0]) for frame in frames_of(tmp_path, messages)]
    assert values == pytest.approx([0.4, 0.002])


def test_beams_are_kept_and_points_that_are_not_finite_are_dropped(tmp_path: Path):
    rows = [(1, 2, 3, 7), (np.nan, 0, 0, 8), (4, 5, np.inf, 9)]
    frame = only(tmp_path, [("points", 1.0, cloud(1.0, rows, ring="u2"))])
    assert frame.points.select(("x", "ring")).tolist() == [[1.0, 7.0]]


def test_an_empty_cloud_is_an_empty_frame(tmp_path: Path):
    assert len(only(tmp_path, [("points", 1.0, cloud(1.0, []))]).points) == 0


def test_the_pose_of_the_cloud_itself_is_applied(tmp_path: Path):
    message = cloud(1.0, POINT)
    message.pose.position.z, message.pose.orientation.w = 3.0, 1.0
    assert only(tmp_path, [("points", 1.0, message)]).points.xyz[0, 2] == 2.0


def test_the_cloud_with_most_messages_is_played_or_the_one_asked_for(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    messages = [("left", 1.0, cloud(1.0, POINT))]
    messages += [("top", float(time), cloud(time, POINT * 3)) for time in (1, 2)]
    assert len(frames_of(tmp_path, messages)) == 2
    assert "playing the point clouds of top, not those of left" in caplog.text
    assert len(frames_of(tmp_path, messages, topic="left")) == 1
    with pytest.raises(ConfigError, match=r'no point clouds on "topp" \(did you mean "top"\?\); it has left, top'):
        frames_of(tmp_path, messages, topic="topp")


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"data": b"\0" * 13}, "data: expected whole points of 12 bytes, got 13 bytes"),
        ({"point_stride": 8}, r"field 'z': expected a known type within 8 bytes, got <f4 at 8"),
    ],
)
def test_a_malformed_cloud_is_refused(tmp_path: Path, change: dict, match: str):
    message = cloud(1.0, POINT)
    for name, value in change.items():
        setattr(message, name, value)
    with pytest.raises(DataError, match=match):
        only(tmp_path, [("points", 1.0, message)])


def test_a_cloud_without_a_coordinate_is_refused(tmp_path: Path):
    message = cloud(1.0, POINT)
    del message.fields[2]
    with pytest.raises(DataError, match="fields: expected a field 'z', got x, y"):
        only(tmp_path, [("points", 1.0, message)])


# Pictures.

def test_a_frame_has_the_picture_nearest_to_it_and_none_that_is_far(tmp_path: Path):
    frames = frames_of(tmp_path, [
        ("points", 1.0, cloud(1.0, POINT)), ("image", 1.02, jpeg(1.02)), ("image", 1.07, jpeg(1.07)),
        ("points", 1.1, cloud(1.1, POINT)), ("points", 2.0, cloud(2.0, POINT)),
    ])
    assert [[camera.timestamp_ns for camera in frame.cameras.values()] for frame in frames] == [
        [1_020_000_000], [1_070_000_000], [],
    ]


def test_a_picture_without_calibration_comes_without(tmp_path: Path):
    frame = only(tmp_path, [("image", 1.0, jpeg(1.0)), ("points", 1.0, cloud(1.0, POINT))])
    assert frame.cameras["camera"].calibration is None
    assert LoadImages()(frame, np.random.default_rng(0)).cameras["camera"].image.shape == (3, 6, 8)


def test_the_motion_between_cloud_and_picture_is_part_of_the_cameras_pose(tmp_path: Path):
    """The vehicle drives 10 m/s; the picture is 50 ms later, so its camera stands half a metre further on."""
    frame = only(tmp_path, [
        ("tf", 1.0, transform(1.0, "map", "base_link", (0, 0, 0))),
        ("tf", 1.0, transform(1.0, "base_link", "lidar", (0, 0, 2))),
        ("tf", 1.0, transform(1.0, "base_link", "camera", (1, 0, 1))),
        ("calibration", 1.0, calibration(1.0)),
        ("points", 1.0, cloud(1.0, POINT)),
        ("tf", 1.05, transform(1.05, "map", "base_link", (0.5, 0, 0))),
        ("image", 1.05, jpeg(1.05)),
    ])
    assert frame.cameras["camera"].calibration.ego_from_camera.translation.tolist() == pytest.approx([1.5, 0, 1])


def test_the_baseline_in_p_moves_the_rectified_camera_and_distortion_falls_back_to_k(tmp_path: Path):
    matrix = [20.0, 0, 4, 10, 0, 20, 3, 0, 0, 0, 1, 0]     # half a metre beside the frame that is named
    messages = [
        ("tf", 1.0, transform(1.0, "lidar", "camera", (0, 0, 0))), ("image", 1.0, jpeg(1.0)),
        ("calibration", 1.0, calibration(1.0, P=matrix)), ("points", 1.0, cloud(1.0, POINT)),
    ]
    rectified = only(tmp_path, messages).cameras["camera"].calibration
    assert rectified.intrinsics[0, 0] == 20.0
    assert rectified.ego_from_camera.translation.tolist() == [-0.5, 0.0, 0.0]
    messages[2] = ("calibration", 1.0, calibration(1.0, P=matrix, D=[0.1, 0, 0, 0, 0]))
    assert only(tmp_path, messages).cameras["camera"].calibration.intrinsics[0, 0] == 10.0


@pytest.mark.parametrize(
    ("encoding", "data", "step"),
    [
        ("rgb8", bytes([1, 2, 3, 4, 5, 6]), 6), ("bgr8", bytes([3, 2, 1, 6, 5, 4]), 6),
        ("rgba8", bytes([1, 2, 3, 0, 4, 5, 6, 0]), 8), ("rgb8", bytes([1, 2, 3, 4, 5, 6, 9, 9]), 8),
    ],
    ids=["rgb8", "bgr8", "rgba8", "padded rows"],
)
def test_raw_pictures_become_rgb(tmp_path: Path, encoding: str, data: bytes, step: int):
    frame = only(tmp_path, [("image", 1.0, raw_image(1.0, data, encoding, step)), ("points", 1.0, cloud(1.0, POINT))])
    assert frame.cameras["camera"].image[:, 0].T.tolist() == [[1, 2, 3], [4, 5, 6]]


@pytest.mark.parametrize(
    ("encoding", "data", "match"),
    [
        ("yuv422", b"\0" * 4, r"encoding: expected one of rgb8.*got 'yuv422'"),
        ("rgb8", b"\0" * 5, "data: expected 1 rows of 6"),
    ],
)
def test_raw_pictures_that_cannot_be_read_are_refused(tmp_path: Path, encoding: str, data: bytes, match: str):
    with pytest.raises(DataError, match=match):
        only(tmp_path, [("image", 1.0, raw_image(1.0, data, encoding, 6)), ("points", 1.0, cloud(1.0, POINT))])


@pytest.mark.parametrize(
    ("matrices", "match"),
    [({"K": [0.0] * 9}, "K or P: expected a pinhole camera"), ({"P": [1.0] * 11}, "P: expected 12 numbers, got 11")],
)
def test_a_broken_calibration_is_refused(tmp_path: Path, matrices: dict, match: str):
    with pytest.raises(DataError, match=match):
        only(tmp_path, [
            ("tf", 1.0, transform(1.0, "lidar", "camera", (0, 0, 0))), ("image", 1.0, jpeg(1.0)),
            ("calibration", 1.0, calibration(1.0, **matrices)), ("points", 1.0, cloud(1.0, POINT)),
        ])


# Boxes.

def places(frames: list[Frame]) -> list[list[float]]:
    return [frame.annotations.boxes.centers[:, 0].tolist() for frame in frames]


def test_a_box_replaces_the_one_of_its_name_and_ends_with_its_lifetime(tmp_path: Path):
    frames = frames_of(tmp_path, [
        ("boxes", 1.0, boxes(1.0, ["a"], x=5.0)), ("points", 1.0, cloud(1.0, POINT)),
        ("boxes", 2.0, boxes(2.0, ["a"], x=6.0)), ("boxes", 2.0, boxes(2.0, ["b"], lifetime=0.5, x=9.0)),
        ("points", 2.0, cloud(2.0, POINT)), ("points", 3.0, cloud(3.0, POINT)),
    ])
    assert places(frames) == [[5.0], [6.0, 9.0], [6.0]]


def test_boxes_that_are_logged_after_their_cloud_belong_to_it_by_their_own_time(tmp_path: Path):
    frames = frames_of(tmp_path, [
        ("points", 1.0, cloud(1.0, POINT)), ("boxes", 1.3, boxes(1.0, ["a"])), ("boxes", 1.3, boxes(1.2, ["b"], x=6.0)),
        ("points", 2.0, cloud(2.0, POINT)),
    ])
    assert places(frames) == [[5.0], [5.0, 6.0]]


@pytest.mark.parametrize(("name", "left"), [("a", [[5.0]]), (None, [[]])])
def test_boxes_can_be_deleted_by_name_or_all_at_once(tmp_path: Path, name: str | None, left: list[list[float]]):
    frames = frames_of(tmp_path, [
        ("boxes", 1.0, boxes(1.0, ["a", "b"])), ("boxes", 1.5, deletion(1.5, name)), ("points", 2.0, cloud(2.0, POINT)),
    ])
    assert places(frames) == left


def test_boxes_in_the_map_are_seen_from_the_vehicle(tmp_path: Path):
    frame = only(tmp_path, [
        ("tf", 1.0, transform(1.0, "map", "base_link", (2, 0, 0))),
        ("tf", 1.0, transform(1.0, "base_link", "lidar", (0, 0, 2))),
        ("boxes", 1.0, boxes(1.0, ["a"], frame="map")), ("points", 1.0, cloud(1.0, POINT)),
    ])
    assert places([frame]) == [[3.0]]
    assert frame.annotations.instance_ids == ("a",)


def test_a_recording_without_boxes_is_not_annotated(tmp_path: Path):
    assert only(tmp_path, [("points", 1.0, cloud(1.0, POINT))]).annotations is None


# Broken files.

def test_a_file_without_point_clouds_is_refused_and_says_what_it_has(tmp_path: Path):
    with pytest.raises(DataError, match=r"expected messages of foxglove.PointCloud .*got foxglove.CompressedImage"):
        frames_of(tmp_path, [("image", 1.0, jpeg(1.0))])


def test_a_file_without_messages_is_refused(tmp_path: Path):
    with pytest.raises(DataError, match=r"expected messages of foxglove.PointCloud \(protobuf\), got no message"):
        frames_of(tmp_path, [])


@pytest.mark.parametrize("share", [0.99, 0.5, 0.001])
def test_a_file_that_is_cut_off_is_refused(tmp_path: Path, shared_data: Path, share: float):
    content = (shared_data / "mcap/kitti_3frames.mcap").read_bytes()
    (tmp_path / "cut.mcap").write_bytes(content[: int(len(content) * share)])
    with pytest.raises(DataError, match=r"cut.mcap: last bytes: expected MCAP's magic, got .* \(cut off after"):
        open_source(tmp_path / "cut.mcap")


@pytest.mark.parametrize(("content", "got"), [(b"", "an empty file"), (b"hello, world", "68 65 6c")])
def test_another_file_of_that_suffix_is_refused(tmp_path: Path, content: bytes, got: str):
    (tmp_path / "other.mcap").write_bytes(content)
    with pytest.raises(DataError, match=f"first bytes: expected MCAP's magic, got {got}"):
        open_source(tmp_path / "other.mcap")


def test_damage_in_the_middle_is_told_when_it_is_reached(tmp_path: Path, shared_data: Path):
    content = bytearray((shared_data / "mcap/kitti_3frames.mcap").read_bytes())
    content[len(content) // 2] ^= 0xFF
    (tmp_path / "damaged.mcap").write_bytes(content)
    with pytest.raises(DataError, match=r"damaged.mcap: records: expected an undamaged MCAP file, got"):
        list(open_source(tmp_path / "damaged.mcap"))


# Other ways to write the same.

def rewritten(path: Path, source: Path, **settings) -> Path:
    """The messages of a file, written again by the official writer with other settings."""
    from mcap.reader import make_reader
    from mcap.writer import Writer

    with open(source, "rb") as file, open(path, "wb") as out:
        writer, schemas, channels = Writer(out, **settings), {}, {}
        writer.start()
        for schema, channel, message in make_reader(file).iter_messages():
            assert schema is not None
            if channel.id not in channels:
                schemas[schema.id] = writer.register_schema(schema.name, schema.encoding, schema.data)
                channels[channel.id] = writer.register_channel(channel.topic, "protobuf", schemas[schema.id])
            writer.add_message(channels[channel.id], message.log_time, message.data, message.publish_time)
        writer.finish()
    return path


@pytest.mark.parametrize(
    "settings",
    [
        {"use_chunking": False},
        {"use_statistics": False},
        {"use_summary_offsets": False, "repeat_channels": False, "repeat_schemas": False},
        {"compression": "lz4"},
        {"compression": "none"},
    ],
    ids=["no chunks", "no statistics", "no summary", "lz4", "not compressed"],
)
def test_chunks_summary_and_compression_make_no_difference(tmp_path: Path, settings: dict):
    from mcap.writer import CompressionType

    if "compression" in settings:
        settings = {"compression": CompressionType[settings["compression"].upper()]}
    messages = [("points", time, cloud(time, POINT)) for time in (1.0, 1.1)]
    plain = write_mcap(tmp_path / "plain.mcap", [*messages, ("boxes", 1.1, boxes(1.1, ["a"]))])
    source = open_source(rewritten(tmp_path / "other.mcap", plain, **settings))
    assert len(source) == 2
    frames = list(source)
    assert [frame.timestamp_ns for frame in frames] == [1_000_000_000, 1_100_000_000]
    assert frames[1].annotations is not None
    assert len(frames[1].annotations) == 1


def test_damage_under_lz4_is_told_too(tmp_path: Path):
    from mcap.writer import CompressionType

    plain = write_mcap(tmp_path / "plain.mcap", [("points", 1.0, cloud(1.0, POINT * 500))])
    path = rewritten(tmp_path / "damaged.mcap", plain, compression=CompressionType.LZ4, enable_crcs=False)
    content = bytearray(path.read_bytes())
    content[300:330] = b"\xff" * 30
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"damaged.mcap: records: expected an undamaged MCAP file"):
        list(open_source(path))
