"""The tool that converts results: what it says and writes, and how it fails."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pandas as pd
import pytest
from box_files import box, write_results, write_root

from perception.engine.cli import run_tool

ROOT = Path(__file__).resolve().parents[2]
BOX = {
    "sample_token": "a", "translation": [110.0, 205.0, 1.0], "size": [2.0, 4.0, 1.5], "rotation": [1.0, 0.0, 0.0, 0.0],
    "velocity": [0.0, 0.0], "detection_score": 0.5, "attribute_name": "",
}
PLACES = {
    name: {"token": "a", "scene": "drive-1", "timestamp_ns": 100_000, "global_from_ego": [1, 0, 0, 0, 100, 200, 0]}
    for name in ("a", "drive-1/100000")
}


@pytest.fixture(scope="module")
def tool(load_tool: Callable[[str], ModuleType]) -> ModuleType:
    return load_tool("convert_results")


@pytest.fixture
def results(tmp_path: Path) -> Callable[..., Path]:
    """Writes a results file with a box of each class."""
    (tmp_path / "places.json").write_text(json.dumps(PLACES))

    def write(*names: str) -> Path:
        boxes = [{**BOX, "detection_name": name} for name in names]
        path = tmp_path / "results.json"
        path.write_text(json.dumps({"meta": {"use_lidar": True}, "results": {"a": boxes}}))
        return path

    return write


def words(path: Path, out: str, own: str, other: str) -> list[str]:
    folder = path.parent
    return [str(path), str(folder / out), "--from", own, "--to", other, "--places", str(folder / "places.json")]


def test_results_go_there_and_back(tool: ModuleType, results: Callable[..., Path], capsys: pytest.CaptureFixture[str]):
    path = results("car", "bus")
    assert tool.main(words(path, "detections.feather", "nuscenes", "argoverse2")) == 0
    out = path.with_name("detections.feather")
    told = capsys.readouterr().out.splitlines()
    assert told == [
        "note: velocities are left out: the file has no place for them", f"wrote 2 boxes of 1 frames to {out}",
    ]
    assert tool.main(words(out, "again.json", "argoverse2", "nuscenes")) == 0
    content = json.loads(path.with_name("again.json").read_text())
    (boxes,) = content["results"].values()
    assert [box["detection_name"] for box in boxes] == ["car", "bus"]
    assert boxes[0]["translation"] == pytest.approx([110.0, 205.0, 1.0], abs=1e-9)


def test_a_root_tells_drives_times_and_poses(tool: ModuleType, tmp_path: Path):
    root = write_root(tmp_path / "root", {"a": [box("a", 10.0)], "b": []})
    path = write_results(tmp_path / "results.json", {"b": [box("b", 7.0, detection_score=0.9)], "a": []})
    out = tmp_path / "detections.feather"
    assert tool.main([str(path), str(out), "--from", "nuscenes", "--to", "argoverse2", "--root", str(root)]) == 0
    (row,) = pd.read_feather(out).to_dict("records")
    assert (row["log_id"], row["timestamp_ns"], row["category"]) == ("scene-0003", 100_000, "REGULAR_VEHICLE")
    assert (row["tx_m"], row["length_m"], row["width_m"]) == pytest.approx((7.0, 4.0, 2.0), abs=1e-12)


def test_a_sample_that_the_root_does_not_have_is_told(
    tool: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    root = write_root(tmp_path / "root", {"a": []})
    path = write_results(tmp_path / "results.json", {"c": []})
    call = [str(path), str(tmp_path / "out"), "--from", "nuscenes", "--to", "kitti", "--root", str(root)]
    assert run_tool(tool.main, call) == 1
    assert "sample c: expected a sample with a keyframe of LIDAR_TOP, got none" in capsys.readouterr().err


def test_classes_without_a_partner_are_told(
    tool: ModuleType, results: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    call = words(results("car", "barrier", "bus"), "kitti", "nuscenes", "kitti")
    assert run_tool(tool.main, call) == 1
    error = capsys.readouterr().err
    assert "2 boxes have classes without a partner in kitti: barrier (1), bus (1)" in error
    assert tool.main([*call, "--drop-unmatched", "--classes", "bus=Tram", "--json", str(tmp_path / "told.json")]) == 0
    assert "dropped 1 boxes of class barrier: kitti has no partner for it" in capsys.readouterr().out
    told = json.loads((tmp_path / "told.json").read_text())
    assert (told["frames"], told["boxes"], told["dropped"]) == (1, 2, {"barrier": 1})
    assert len((tmp_path / "kitti/data/000000.txt").read_text().splitlines()) == 2


def test_a_table_of_classes_is_read_and_words_go_before_it(
    tool: ModuleType, results: Callable[..., Path], tmp_path: Path
):
    (tmp_path / "table.json").write_text('{"bus": "Truck", "car": "Van"}')
    call = words(results("car", "bus"), "kitti", "nuscenes", "kitti")
    tool.main([*call, "--class-table", str(tmp_path / "table.json"), "--classes", "bus=Tram"])
    lines = (tmp_path / "kitti/data/000000.txt").read_text().splitlines()
    assert [line.split()[0] for line in lines] == ["Van", "Tram"]


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--classes", "bus=Lorry"], 'kitti has no class "Lorry"'),
        (["--class-table", "gone.json"], "gone.json: file: expected a JSON object of classes by class"),
        (["--class-table", "numbers.json"], "numbers.json: bus: expected the name of a class, got 3"),
        (["--places", "numbers.json"], "numbers.json: frame bus: expected scene, timestamp_ns"),
    ],
)
def test_a_slip_is_told_in_one_line(
    tool: ModuleType, results: Callable[..., Path], tmp_path: Path, options: list[str], told: str,
    capsys: pytest.CaptureFixture[str],
):
    (tmp_path / "numbers.json").write_text('{"bus": 3}')
    own = [str(tmp_path / word) if word.endswith(".json") else word for word in options]
    assert run_tool(tool.main, [*words(results("car"), "kitti", "nuscenes", "kitti"), *own]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert told in line
    assert not (tmp_path / "kitti").exists()


@pytest.mark.parametrize(
    "options", [[], ["--from", "nuscenes"], ["--from", "lyft", "--to", "kitti"], ["--from", "kitti", "--to", "waymo",
                                                                                 "--classes", "Van"]],
)
def test_bad_usage_is_refused(tool: ModuleType, options: list[str]):
    with pytest.raises(SystemExit, match="2"):
        tool.main(["in", "out", *options])


def test_help_needs_no_torch():
    command = [sys.executable, "-X", "importtime", str(ROOT / "tools/convert_results.py"), "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "Examples:" in done.stdout
    assert " torch\n" not in done.stderr
