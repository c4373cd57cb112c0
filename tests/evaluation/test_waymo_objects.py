"""Columns of Waymo objects, and the official files they come from and go to."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from waymo_cases import SIGN, box, crowd, objects

from perception.datasets.waymo.schema import Objects
from perception.errors import DataError
from perception.evaluation.waymo import WaymoObjects, read_waymo_objects, write_waymo_objects
from perception.evaluation.waymo.objects import COLUMNS, frame_numbers


def assert_same(got: WaymoObjects, wanted: WaymoObjects) -> None:
    assert [got.context_names[row] for row in got.context] == [wanted.context_names[row] for row in wanted.context]
    for name in set(COLUMNS) - {"context"}:
        np.testing.assert_array_equal(getattr(got, name), getattr(wanted, name), err_msg=name)


def test_what_is_written_is_read_back_whatever_the_size_of_the_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    wanted = WaymoObjects.concatenate([*crowd(2), objects(box(3), types=SIGN, camera=4)])
    path = write_waymo_objects(tmp_path / "objects.bin", wanted)
    assert_same(read_waymo_objects(path), wanted)
    monkeypatch.setattr("perception.evaluation.waymo.objects_file._PIECE_BYTES", 1000)
    monkeypatch.setattr("perception.evaluation.waymo.objects_file._PIECE_OBJECTS", 11)
    assert path.read_bytes() == write_waymo_objects(tmp_path / "pieces.bin", wanted).read_bytes()
    assert_same(read_waymo_objects(path), wanted)


def test_the_file_is_one_official_message(tmp_path: Path):
    path = write_waymo_objects(tmp_path / "objects.bin", objects(box(1, 2, 0.5), scores=[0.25], difficulty=[2]))
    (entry,) = Objects.FromString(path.read_bytes()).objects
    label = entry.object
    assert (entry.context_name, entry.frame_timestamp_micros, entry.score) == ("drive", 0, 0.25)
    assert (label.box.center_x, label.box.center_y, label.box.heading) == (1, 2, 0.5)
    assert (label.box.length, label.box.width, label.box.height) == (4, 2, 1.5)
    assert (label.type, label.detection_difficulty_level, label.num_lidar_points_in_box) == (1, 2, 10)
    assert not label.metadata.HasField("accel_x")


def test_unset_fields_read_as_the_official_defaults(tmp_path: Path):
    message = Objects()
    entry = message.objects.add()
    entry.object.type = 1
    entry.object.box.center_x = 3.0
    message.no_label_zone_objects.add(context_name="left out")
    (tmp_path / "objects.bin").write_bytes(message.SerializeToString())
    read = read_waymo_objects(tmp_path / "objects.bin")
    assert (len(read), read.context_names) == (1, ("",))
    assert (read.scores[0], read.num_points[0], read.difficulty[0], read.camera[0]) == (1.0, 0, 0, 0)


def test_objects_beyond_two_gibibytes_are_read(tmp_path: Path):
    """The middle of the file is a hole of the file system, a no-label zone of 2 GiB, which nobody reads."""
    path = write_waymo_objects(tmp_path / "objects.bin", objects(box(1)))
    content, zone = path.read_bytes(), 1 << 31
    length = bytes(zone >> 7 * place & 127 | (128 if place < 4 else 0) for place in range(5))
    with open(path, "wb") as file:
        file.write(content + b"\x12" + length)
        file.seek(zone, 1)
        file.write(content)
    assert path.stat().st_size > zone
    assert read_waymo_objects(path).boxes[:, 0].tolist() == [1, 1]


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (None, "file: expected a readable file, got No such file"),
        (b"", "expected a serialized waymo.open_dataset.Objects message, got an empty file"),
        (b'{"meta": {}}', "byte 0: expected the start of an object in an Objects message, got the key 123"),
        (b"\x0a\x80", "byte 1: expected a whole number, got the end of the file"),
        (b"\x0a\x02\xff\xff", "message: expected a serialized Objects"),
        (b"\x0a\x02\x10\x01", "object 0: expected a box, got none"),
    ],
    ids=["absent", "empty", "json", "cut in a length", "damaged", "no box"],
)
def test_bad_files_are_told(tmp_path: Path, content: bytes | None, text: str):
    path = tmp_path / "objects.bin"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError, match=text):
        read_waymo_objects(path)


def test_a_file_that_is_cut_off_names_the_byte(tmp_path: Path):
    path = write_waymo_objects(tmp_path / "objects.bin", objects(box(1), box(2)))
    content = path.read_bytes()
    path.write_bytes(content[:-3])
    half = len(content) // 2                               # both objects take as much
    with pytest.raises(DataError, match=rf"byte {half}: expected an object of {half - 2} bytes, got the end"):
        read_waymo_objects(path)


@pytest.mark.parametrize(
    ("columns", "text"),
    [
        ({"scores": [0.5, math.nan]}, "scores must be a number, row 1 is nan"),
        ({"types": [1, 0]}, r"types must be in 1 to 4, .*, row 1 is 0"),
        ({"difficulty": [3, 1]}, "difficulty must be 0, 1 or 2, row 0 is 3"),
        ({"speed": [[0, math.inf], [0, 0]]}, "speed must be finite, row 0 is"),
        ({"num_points": [1, 2, 3]}, r"num_points must be \(2,\), got \(3,\)"),
        ({"types": [1, 257]}, "types must be whole numbers that int8 holds"),
        ({"camera": [-1, 0]}, "camera must be a number >= 0, row 0 is -1"),
    ],
)
def test_columns_that_cannot_be_scored_are_refused(columns: dict[str, Any], text: str):
    with pytest.raises(ValueError, match=text):
        objects(box(1), box(2), **columns)


@pytest.mark.parametrize(("row", "text"), [(box(math.nan), "boxes must be finite"), (box(1, size=(-1, 1, 1)), "sizes")])
def test_boxes_that_cannot_be_scored_are_refused(row: list[float], text: str):
    with pytest.raises(ValueError, match=text):
        objects(row)


def test_a_score_that_is_no_number_is_told_with_the_file(tmp_path: Path):
    message = Objects()
    entry = message.objects.add(score=math.nan)
    entry.object.type = 1
    entry.object.box.center_x = 3.0
    path = tmp_path / "objects.bin"
    path.write_bytes(message.SerializeToString())
    with pytest.raises(DataError, match=r"objects.bin: objects: .* scores must be a number, row 0 is nan"):
        read_waymo_objects(path)


def test_frames_are_numbered_over_both_sets_by_name_and_time():
    def of(names: list[str], times: list[int]) -> WaymoObjects:
        return WaymoObjects.from_columns(names, times, np.zeros((len(names), 7)), [1] * len(names))

    (first, second), count = frame_numbers(of(["b", "a"], [5, 9]), of(["a", "c", "a"], [9, 1, 3]))
    assert first.tolist() == [2, 1]
    assert second.tolist() == [1, 3, 0]
    assert count == 4


def test_some_of_the_objects_and_all_together():
    first, second = crowd(3)
    both = WaymoObjects.concatenate([first, second])
    assert_same(both[:len(first)], first)
    assert_same(both[np.arange(len(both)) >= len(first)], second)
    assert len(WaymoObjects.concatenate([])) == 0
