"""The scoring tool: its table, its files, and how it fails."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import pytest
import torch

ROOT = Path(__file__).resolve().parents[2]
TOY = ROOT / "tests/engine/toy_config.py"


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("test_tool", ROOT / "tools/test.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(autouse=True)
def toy_task_can_be_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(TOY.parent))


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    from perception.engine.build import build_model
    from perception.engine.checkpoint import save_checkpoint
    from perception.engine.config import load_config

    torch.manual_seed(0)
    path = tmp_path / "weights.pth"
    save_checkpoint({"state_dict": build_model(load_config(TOY).model).state_dict()}, path)
    return path


def test_the_table_and_the_files_agree(
    tool: ModuleType, checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    outputs = ["--json", str(tmp_path / "m.json"), "--out", str(tmp_path / "p.jsonl")]
    assert tool.main([str(TOY), str(checkpoint), "--work-dir", str(tmp_path / "log"), *outputs]) == 0
    table = dict(line.split() for line in capsys.readouterr().out.splitlines() if line.startswith("toy/"))
    metrics = json.loads((tmp_path / "m.json").read_text())
    assert metrics.keys() == {"toy/accuracy", "toy/score", "toy/frames"}
    assert {name: float(value) for name, value in table.items()} == pytest.approx(metrics, abs=1e-4)

    rows = [json.loads(line) for line in (tmp_path / "p.jsonl").read_text().splitlines()]
    assert [row["token"] for row in rows] == [f"frame-{index}" for index in range(7)]
    right = [row["names"][0] == ("left", "right", "front")[row["timestamp_ns"] % 3] for row in rows]
    assert sum(right) / 7 == pytest.approx(metrics["toy/accuracy"])
    assert sum(row["scores"][0] for row in rows) / 7 == pytest.approx(metrics["toy/score"], abs=1e-5)


def test_a_folder_gets_predictions_jsonl(tool: ModuleType, checkpoint: Path, tmp_path: Path):
    tool.main([str(TOY), str(checkpoint), "--work-dir", str(tmp_path / "log"), "--out", str(tmp_path / "out")])
    assert len((tmp_path / "out/predictions.jsonl").read_text().splitlines()) == 7


def test_metrics_that_are_no_numbers_are_written_as_they_are(tool: ModuleType, capsys: pytest.CaptureFixture[str]):
    tool.report({"nds": 0.25, "frames": 7}, None)
    assert capsys.readouterr().out == "nds     0.2500\nframes  7\n"


class Hostile:
    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self):
        return Path.mkdir, (self.trace,)


def test_a_hostile_checkpoint_is_refused_and_not_run(
    tool: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    from perception.engine.cli import run_tool

    torch.save({"state_dict": {}, "meta": Hostile(tmp_path / "ran")}, tmp_path / "hostile.pth")
    arguments = [str(TOY), str(tmp_path / "hostile.pth"), "--work-dir", str(tmp_path / "log")]
    assert run_tool(tool.main, arguments) == 1
    assert "hostile.pth: refused, since loading it would run code" in capsys.readouterr().err
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["CHECKPOINT", "--cfg-options", "test_dataloader=None"], "toy_config.py: has no test_dataloader"),
        (["gone.pth"], "gone.pth: no such checkpoint"),
        (["CHECKPOINT", "--cfg-options", "model.width=9"], "weights.pth: made for another architecture than ToyModel"),
        (["CHECKPOINT", "--json", "/proc/metrics.json"], "/proc/metrics.json: cannot be written"),
    ],
)
def test_a_slip_is_told_in_one_line(
    tool: ModuleType, checkpoint: Path, tmp_path: Path, arguments: list[str], told: str,
    capsys: pytest.CaptureFixture[str],
):
    from perception.engine.cli import run_tool

    words = [word.replace("CHECKPOINT", str(checkpoint)) for word in arguments]
    assert run_tool(tool.main, [str(TOY), *words, "--work-dir", str(tmp_path / "log")]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert told in line
