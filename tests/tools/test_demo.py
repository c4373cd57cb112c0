"""The demo, from the making of a city to the report."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from perception.errors import PerceptionError

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("demo_tool", ROOT / "tools/demo.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_step_that_fails_ends_the_demo_by_name(tool: ModuleType):
    steps = tool.Steps()
    steps.run("goes well", "-c", "pass")
    with pytest.raises(PerceptionError, match="the step 'goes wrong' ended with status 3"):
        steps.run("goes wrong", "-c", "raise SystemExit(3)")
    assert list(steps.seconds) == ["goes well", "goes wrong"]


@pytest.mark.slow
def test_a_small_demo_goes_all_the_way_and_uses_its_city_again(tmp_path: Path):
    command = [
        sys.executable, "tools/demo.py", "--out", str(tmp_path), "--train-scenes", "1", "--val-scenes", "1",
        "--cfg-options", "max_iters=6",
    ]
    first = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=900)
    assert first.returncode == 0, first.stderr[-3000:]
    assert "nuScenes detection, scenes not trained on" in first.stdout
    assert first.stdout.splitlines()[-1] == f"report  {tmp_path}/report.html"
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert 0.0 <= summary["metrics"]["NDS"] <= 1.0
    assert summary["classes"].keys() >= {"car", "pedestrian", "traffic_cone"}
    assert summary["seconds"].keys() >= {"create data", "train", "evaluate", "replay", "pictures"}
    assert summary["replay"]["frames"] + summary["replay"]["dropped"] == 100             # ten seconds at 10 Hz
    assert len((tmp_path / "replay/predictions.jsonl").read_text().splitlines()) == summary["replay"]["frames"]
    page = (tmp_path / "report.html").read_text()
    assert "<table" in page
    assert 'src="http' not in page                                                       # self-contained
    assert len(list((tmp_path / "pictures").glob("*.png"))) == 12

    again = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=900)
    assert again.returncode == 0, again.stderr[-3000:]
    assert "=== create data" not in again.stdout
    scores = json.loads((tmp_path / "summary.json").read_text())["metrics"]
    assert scores == pytest.approx(summary["metrics"], nan_ok=True)        # the same seed, the same detector
