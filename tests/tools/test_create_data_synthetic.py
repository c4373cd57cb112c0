"""The command that generates a synthetic city."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType

import pytest

from perception.engine.cli import run_tool
from perception.synthetic.statistics import CityStatistics, measure
from perception.synthetic.taxonomy import DETECTION_CLASSES

TOOL = Path(__file__).resolve().parents[2] / "tools/create_data.py"


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("create_data_tool", TOOL)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_city_is_written_described_and_counted(tool, tmp_path, capsys):
    arguments = ["--train-scenes", "1", "--val-scenes", "0", "--duration", "0.5", "--cameras", "none",
                 "--columns", "90", "--workers", "1", "--density", "0.3", "--json", str(tmp_path / "counts.json")]
    assert tool.main(["synthetic", str(tmp_path / "city"), *arguments]) == 0
    printed, told = capsys.readouterr()
    assert printed.splitlines()[-1].startswith(f"wrote {tmp_path / 'city'} in ")
    assert "objects in range, median" in printed
    assert "1/1 scenes, 0 s left (scene-0001)" in told
    counts = json.loads((tmp_path / "counts.json").read_text())
    assert (counts["scenes"], counts["keyframes"], counts["sweeps"], counts["images"]) == (1, 1, 5, 0)


@pytest.mark.parametrize(("arguments", "message"), [
    (["--train-scenes", "701"], r"train_scenes must lie in [0, 700], got 701"),
    (["--duration", "0.3"], "duration_s must be a multiple of 0.5 s"),
    (["--workers", "0"], "workers must be at least 1, got 0"),
    (["--towns", "9"], "train_scenes must be 0 or enough for each of 9 towns, got 6"),
    (["--channels", "CAM_FRNT"], "got 'CAM_FRNT' (did you mean \"CAM_FRONT\"?)"),
    (["--look", "nigth"], "got 'nigth' (did you mean \"night\"?)")])
def test_a_wrong_argument_is_one_line_and_status_1(tool, tmp_path, capsys, arguments, message):
    assert run_tool(tool.main, ["synthetic", str(tmp_path / "city"), *arguments]) == 1
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_help_tells_how_the_splits_differ_and_loads_nothing_heavy(tool, capsys):
    before = set(sys.modules)
    with pytest.raises(SystemExit) as end:
        tool.main(["synthetic", "--help"])
    assert end.value.code == 0
    assert "validation scenes in ring and old-town" in " ".join(capsys.readouterr().out.split())
    assert not {"open3d", "torch"} & (set(sys.modules) - before)


def test_help_names_every_look(tool, capsys):
    from perception.synthetic.looks import LOOKS

    with pytest.raises(SystemExit):
        tool.main(["synthetic", "--help"])
    told = " ".join(capsys.readouterr().out.split())
    *others, last = LOOKS
    assert f"{', '.join(others)} or {last} (day)" in told


def test_the_description_has_a_line_for_every_class(tool):
    boxes = {split: dict.fromkeys(DETECTION_CLASSES, 3) for split in ("train", "val")}
    lines = tool.describe(CityStatistics(2, 40, 200, 240, 31.0, 0.34, boxes, {"scene-0001": 10.0, "scene-0003": 12.0}))
    assert "time                               11.0 s a scene" in lines
    assert sum(line.strip().startswith(tuple(DETECTION_CLASSES)) for line in lines) == 10


def tables(distance: float, points: int, visibility: str, category: str = "vehicle.car") -> dict:
    """One keyframe of scene-0003 (validation) with one box."""
    return {
        "scene": [{"token": "scene", "name": "scene-0003"}],
        "sample": [{"token": "sample", "scene_token": "scene"}],
        "sample_data": [{"sample_token": "sample", "ego_pose_token": "ego", "is_key_frame": True, "fileformat": "pcd"}],
        "ego_pose": [{"token": "ego", "translation": [100.0, 50.0, 0.0]}],
        "category": [{"token": "category", "name": category}],
        "instance": [{"token": "instance", "category_token": "category"}],
        "sample_annotation": [{"sample_token": "sample", "instance_token": "instance", "num_lidar_pts": points,
                               "visibility_token": visibility, "translation": [100.0 + distance, 50.0, 1.0]}],
    }


@pytest.mark.parametrize(("distance", "points", "category", "counted"), [
    (49.9, 1, "vehicle.car", 1), (50.1, 1, "vehicle.car", 0), (10.0, 0, "vehicle.car", 0),
    (39.0, 1, "human.pedestrian.adult", 1), (41.0, 1, "human.pedestrian.adult", 0),
    (10.0, 9, "static_object.bicycle_rack", 0)])
def test_boxes_are_counted_as_nuscenes_scores_them(distance, points, category, counted):
    statistics = measure(tables(distance, points, "4", category), {})
    assert sum(statistics.boxes["val"].values()) == statistics.median_objects == counted
    assert sum(statistics.boxes["train"].values()) == 0


@pytest.mark.parametrize(("visibility", "share"), [("1", 1.0), ("3", 1.0), ("4", 0.0)])
def test_a_box_less_than_80_percent_visible_counts_as_occluded(visibility, share):
    assert measure(tables(10.0, 5, visibility), {}).occluded_share == share
