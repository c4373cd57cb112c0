"""What is no results file of its data set, or cannot be placed in another's, is refused and nothing is written."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from result_cases import DRIVE, one_frame

from perception.errors import ConfigError, DataError
from perception.evaluation.result_formats import argoverse2, kitti, nuscenes, waymo
from perception.evaluation.result_formats.conversion import convert_results, result_format
from perception.evaluation.result_formats.frame_results import FramePlace, FrameSource, read_places, write_places
from perception.structures import SE3


def test_a_pose_that_nobody_knows_is_asked_for(tmp_path: Path):
    path = tmp_path / "objects.bin"
    waymo.write([one_frame([[1.0, 2, 0, 4, 2, 1, 0]], ["VEHICLE"], waymo.CLASSES, None)], path)
    with pytest.raises(ConfigError, match="have no global_from_ego; nuScenes results are in global coordinates"):
        convert_results(path, tmp_path / "results.json", "waymo", "nuscenes")
    convert_results(path, tmp_path / "results.json", "waymo", "nuscenes", ego_is_global=True)
    content = json.loads((tmp_path / "results.json").read_text())
    assert content["results"][f"{DRIVE}/100"][0]["translation"] == [1.0, 2.0, 0.0]


def test_results_in_a_frame_that_nobody_knows_are_refused(tmp_path: Path):
    (tmp_path / "results.json").write_text('{"meta": {}, "results": {"a": []}}')
    with pytest.raises(ConfigError, match="give the root or a file of places"):
        nuscenes.read(tmp_path / "results.json", FrameSource())
    places = write_places(tmp_path / "places.json", {"b": FramePlace("b", DRIVE, 0, SE3.identity())})
    with pytest.raises(DataError, match=r"places.json: a: expected a frame with its global_from_ego, got none"):
        nuscenes.read(tmp_path / "results.json", FrameSource(places=places))
    (tmp_path / "kitti").mkdir()
    (tmp_path / "kitti/000000.txt").write_text("")
    with pytest.raises(ConfigError, match="KITTI results are in the camera's frame: give the root"):
        kitti.read(tmp_path / "kitti", FrameSource())


def test_a_folder_that_holds_something_is_not_written_to(tmp_path: Path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/notes.txt").touch()
    with pytest.raises(ConfigError, match="out: exists already"):
        kitti.write([], tmp_path / "out")


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"category": "CAR"}, "category: expected a category of Argoverse 2, got CAR"),
        ({"tx_m": math.nan}, "row 0: expected finite numbers and sizes >= 0"),
        ({"length_m": -1.0}, "row 0: expected finite numbers and sizes >= 0"),
        ({"qw": 0.0, "qz": 0.0}, f"{DRIVE}/100000: expected boxes with unit quaternions"),
    ],
)
def test_a_row_of_argoverse2_that_is_no_box_is_refused(tmp_path: Path, change: dict[str, Any], match: str):
    path = tmp_path / "detections.feather"
    frame = one_frame([[1.0, 2, 0, 4, 2, 1, 0]], ["BUS"], argoverse2.CLASSES, None)
    argoverse2.write([frame], path)
    pd.read_feather(path).assign(**change).to_feather(path)
    with pytest.raises(DataError, match=match):
        argoverse2.read(path, FrameSource())


@pytest.mark.parametrize(
    ("line", "match"),
    [
        ("Car 0 0 0 0 0 0 0 1 1 1 0 0 9 0", "score in the 16th column"),
        ("Car 0 0 0 0 0 0 0 1 1 1 0 nan 9 0 0.5", "expected finite numbers"),
        ("Lorry 0 0 0 0 0 0 0 1 1 1 0 0 9 0 0.5", "type: expected one of Car, Van"),
        ("Car 0 0", "expected 15 columns, or 16 with a score"),
    ],
)
def test_a_line_of_kitti_that_is_no_result_is_refused(tmp_path: Path, line: str, match: str):
    kitti.write([one_frame([[1.0, 2, 0, 4, 2, 1, 0]], ["Car"], kitti.CLASSES, None)], tmp_path / "out")
    (tmp_path / "out/data/000000.txt").write_text(line)
    with pytest.raises(DataError, match=match):
        kitti.read(tmp_path / "out", FrameSource())


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("", "expected a JSON object of frames by name, got nothing"),
        ("[1]", "got '\\[1\\]'"),
        ('{"a": {}, "a": {}}', "the name 'a' comes twice"),
        ('{"a": 3}', "frame a: expected scene, timestamp_ns and a pose"),
        ('{"a": {"global_from_ego": [1, 0]}}', "frame a: expected scene, timestamp_ns and a pose"),
    ],
)
def test_a_malformed_file_of_places_is_refused(tmp_path: Path, text: str, match: str):
    (tmp_path / "places.json").write_text(text)
    with pytest.raises(DataError, match=match):
        read_places(tmp_path / "places.json")


@pytest.mark.parametrize("size", [0, 2**31], ids=["empty", "two GiB of nothing"])
@pytest.mark.parametrize("name", ["nuscenes", "argoverse2", "waymo"])
def test_a_file_of_nothing_is_refused_at_once(tmp_path: Path, name: str, size: int):
    path = tmp_path / "results"
    with open(path, "wb") as file:
        file.truncate(size)                                # takes no room on the disk
    with pytest.raises(DataError, match=path.name):
        result_format(name).read(path, FrameSource())
