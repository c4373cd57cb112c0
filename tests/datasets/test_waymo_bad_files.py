"""Waymo files that are broken, incomplete or not there: what is named, and what can be skipped."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest
import torch
from small_waymo import SEGMENT, frame, opened, write_v1, write_v2

from perception.datasets.commands import add_index_arguments, make_index
from perception.datasets.waymo.records import write_records
from perception.datasets.waymo_open import WaymoDataset, build_waymo_index
from perception.errors import ConfigError, DataError


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Three frames as a TFRecord."""
    write_v1(tmp_path, [frame(step) for step in range(3)])
    return tmp_path


def run_index(*words: object) -> str:
    parser = argparse.ArgumentParser()
    add_index_arguments(parser)
    return make_index(parser.parse_args([str(word) for word in words]))


def test_a_truncated_record_is_named_and_skipped_only_if_asked(root):
    [path] = (root / "training").glob("*.tfrecord")
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(DataError, match=rf"{path.name}: record 2 at byte \d+: expected \d+ bytes at \d+, got \d+"):
        build_waymo_index(root, "train")
    out = root / "perception-waymo-train.parquet"
    words = ("waymo", root, "--split", "train", "--skip-corrupt")
    assert run_index(*words) == f"wrote {out}, skipped 1 corrupt records"
    assert len(WaymoDataset(root)) == 2


def test_a_corrupt_record_in_the_middle_is_left_out(root):
    [path] = (root / "training").glob("*.tfrecord")
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"record 1 at byte \d+: expected the checksum"):
        build_waymo_index(root, "train")
    assert build_waymo_index(root, "train", skip_corrupt=True)[1] == 1
    dataset = WaymoDataset(root, num_sweeps=1)
    assert [token[-6:] for token in dataset.frame_tokens] == ["000000", "200000"]
    assert torch.equal(dataset[1].sweeps[0].load().data, dataset[0].points.data)


def test_an_index_says_how_many_it_skipped_even_if_none(root):
    assert run_index("waymo", root, "--split", "train", "--skip-corrupt").endswith(", skipped 0 corrupt records")
    assert run_index("waymo", root, "--split", "train") == f"wrote {root / 'perception-waymo-train.parquet'}"


def test_other_data_sets_have_no_records_to_skip(tmp_path):
    with pytest.raises(ConfigError, match="--skip-corrupt is for records, which nuscenes has none of"):
        run_index("nuscenes", tmp_path, "--skip-corrupt")


def test_a_record_that_broke_after_it_was_indexed_is_named(root):
    dataset = opened(root)
    [path] = (root / "training").glob("*.tfrecord")
    content = bytearray(path.read_bytes())
    content[-50] ^= 1
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"\.tfrecord: record at byte \d+: expected the checksum"):
        dataset[2]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda entry: entry.context.ClearField("laser_calibrations"),
         r"record 0 at byte 0: laser calibrations: expected that of the laser TOP, got those of no laser"),
        (lambda entry: entry.context.ClearField("camera_calibrations"), "camera FRONT: expected a calibration, got no"),
        (lambda entry: entry.pose.ClearField("transform"), "pose: expected 16 numbers, got 0"),
        (lambda entry: entry.context.ClearField("name"), r"context.name: expected name of a segment, got none"),
    ],
)
def test_a_frame_without_calibration_pose_or_name_is_refused(tmp_path, change, message):
    broken = frame(0)
    change(broken)
    (tmp_path / "training").mkdir()
    write_records(tmp_path / "training/segment.tfrecord", [broken.SerializeToString()])
    with pytest.raises(DataError, match=message):
        build_waymo_index(tmp_path, "train")


def test_two_frames_at_one_time_are_refused(tmp_path):
    write_v1(tmp_path, [frame(1), frame(1)])
    with pytest.raises(DataError, match=rf"segment {SEGMENT}: expected frames of different times, got two of"):
        build_waymo_index(tmp_path, "train")


def test_a_segment_in_two_files_is_refused(root):
    [path] = (root / "training").glob("*.tfrecord")
    path.with_name("again.tfrecord").write_bytes(path.read_bytes())
    with pytest.raises(DataError, match=rf"segment: expected one that no other file has, got {SEGMENT} as in .*again"):
        build_waymo_index(root, "train")


def test_an_empty_split_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"training: segments: expected files \*.tfrecord, or folders .*, got none"):
        build_waymo_index(tmp_path, "train")
    (tmp_path / "training").mkdir()
    (tmp_path / "training/segment.tfrecord").write_bytes(b"")
    with pytest.raises(DataError, match="training: frames: expected at least one that is whole, got none in 1 files"):
        build_waymo_index(tmp_path, "train")
    assert not list(tmp_path.glob("*.parquet"))


def test_a_split_in_both_formats_is_refused(root):
    write_v2(root, [frame(0)])
    with pytest.raises(DataError, match=r"segments: expected .*, got both"):
        build_waymo_index(root, "train")


def test_a_segment_without_map_is_refused_where_one_is_asked_for(tmp_path):
    write_v1(tmp_path, [frame(1), frame(2)])
    with pytest.raises(DataError, match="map_features: expected the map of the segment, which its first frame has"):
        opened(tmp_path, map={})[0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"split": "training"}, r'no split "training" \(did you mean "train"\?\)'),
        ({"segments": ("100",)}, 'no scene "100"'),
        ({"cameras": ("FRONT_LEF",)}, r'"FRONT_LEF" \(did you mean "FRONT_LEFT"\?\)'),
        ({"classes": ("Car",)}, 'unknown class "Car"'),
        ({"returns": (3,)}, r"returns must be some of \(1, 2\), got \(3,\)"),
        ({"returns": ()}, "returns must be some of"),
    ],
)
def test_an_option_that_names_nothing_is_refused(root, options, message):
    build_waymo_index(root, "train")
    with pytest.raises(ConfigError, match=message):
        WaymoDataset(root, **options)


def test_an_absent_index_names_the_command(root):
    with pytest.raises(DataError, match=r"no such file; make it with: python tools/create_data.py index waymo "):
        WaymoDataset(root)
