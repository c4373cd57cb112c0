"""A Waymo segment as a recording, in either format."""

from pathlib import Path

import pytest
import torch
from small_waymo import SEGMENT, frame, write_v1, write_v2

from perception.errors import ConfigError, DataError
from perception.replay.history import with_history
from perception.replay.source import FrameSource, open_source


@pytest.fixture(params=["records", "parquet"])
def segment(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Three frames."""
    frames = [frame(step) for step in range(3)]
    if request.param == "records":
        return write_v1(tmp_path, frames)
    return write_v2(tmp_path, frames) / f"lidar/{SEGMENT}.parquet"


def opened(path: Path, **options: object) -> FrameSource:
    source = open_source(path, **options)
    assert source.NAME == "waymo"
    return source


def test_frames_are_played_in_order_with_what_is_known_before_reading(segment):
    source = opened(segment)
    entries = list(source.pending())
    assert len(source) == len(entries) == 3
    for step, entry in enumerate(entries):
        played = entry.load()
        assert played.timestamp_ns == entry.timestamp_ns == 1_510_593_600_000_000_000 + 100_000_000 * step
        assert played.scene == SEGMENT
        assert entry.cameras == tuple(played.cameras) == ("FRONT", "FRONT_LEFT", "SIDE_RIGHT")
        assert torch.equal(entry.global_from_ego.matrix(), played.global_from_ego.matrix())
        assert played.annotations.names() == ["Vehicle", "Pedestrian", "ignore", "Cyclist"]
        assert len(played.points) > 0


def test_past_frames_serve_as_sweeps(segment):
    *_, last = (entry.load() for entry in with_history(opened(segment).pending(), length=10))
    assert [sweep.timestamp_ns for sweep in last.sweeps] == [1_510_593_600_100_000_000, 1_510_593_600_000_000_000]


def test_a_segment_without_objects_is_not_annotated(tmp_path):
    message = frame(0)
    message.ClearField("laser_labels")
    records, components = write_v1(tmp_path / "v1", [message]), write_v2(tmp_path / "v2", [message])
    for path in (records, components / f"lidar/{SEGMENT}.parquet"):
        assert [played.annotations for played in opened(path)] == [None]


def test_the_map_of_the_first_frame_is_shown(tmp_path):
    source = opened(write_v1(tmp_path, [frame(0), frame(1)]), map_region=(-60, -60, 60, 60))
    assert ["divider" in played.vector_map.names() for played in source] == [True, True]


def test_one_of_several_segments_is_named(tmp_path):
    path = write_v1(tmp_path, [frame(0), frame(0, "another"), frame(1, "another")])
    assert len(opened(path, scene="another")) == 2
    with pytest.raises(ConfigError, match=rf"needs a scene; it has {SEGMENT}, another"):
        opened(path)
    with pytest.raises(ConfigError, match=r'has no segment "anoter" \(did you mean "another"\?\); it has'):
        opened(path, scene="anoter")


def test_a_file_of_no_frames_is_refused(tmp_path):
    (tmp_path / "empty.tfrecord").write_bytes(b"")
    with pytest.raises(DataError, match=r"empty.tfrecord: frames: expected at least one, got none"):
        opened(tmp_path / "empty.tfrecord")


def test_a_file_of_scenarios_is_refused(shared_data):
    with pytest.raises(DataError, match=r"motion_data_one_scenario.tfrecord: record 0 at byte 0"):
        opened(shared_data / "waymo/motion/motion_data_one_scenario.tfrecord")


def test_the_labels_of_a_real_frame_are_played(shared_data):
    [played] = opened(shared_data / "waymo/mmdet3d_tests/waymo_format/validation/val.tfrecord")
    assert len(played.annotations) == 18
