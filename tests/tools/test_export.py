"""The command line of tools/export.py, and the replay of what it wrote."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from perception.deployment.onnx_graph import OnnxGraph
from perception.engine.inference import load_model
from perception.errors import CheckpointError, ConfigError, DataError

TOOL = Path(__file__).resolve().parents[2] / "tools/export.py"
CONFIG = TOOL.parents[1] / "configs/flatformer/flatformer_synthetic.py"
DRIVE = "kitti/raw_2011_09_26_sequence"


@pytest.fixture(scope="module")
def tool(load_tool: Callable[[str], ModuleType]) -> ModuleType:
    return load_tool("export")


@pytest.fixture(scope="module")
def replay(load_tool: Callable[[str], ModuleType]) -> ModuleType:
    return load_tool("replay")


@pytest.fixture(scope="module")
def checkpoint(untrained_detector: Callable[[Path], Path]) -> Path:
    return untrained_detector(CONFIG)


@pytest.fixture(scope="module")
def graph(tool: ModuleType, checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The detector as ONNX, compared on one street."""
    pytest.importorskip("onnxruntime", reason="needs the extra [deploy]")
    pytest.importorskip("onnxscript", reason="needs the extra [deploy]")
    path = tmp_path_factory.mktemp("graphs") / "net.onnx"
    assert tool.main([str(CONFIG), str(checkpoint), "--out", str(path), "--count", "1"]) == 0
    return path


def test_a_graph_is_written_with_its_names(graph: Path):
    run = OnnxGraph(graph)
    assert run.input_names == ("points",)
    assert run.output_names == ("0.reg", "0.height", "0.dim", "0.rot", "0.axis", "0.vel", "0.heatmap")


def test_the_differences_on_a_recording_are_told(
    tool: ModuleType, checkpoint: Path, shared_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    out, figures = tmp_path / "net.pt2", tmp_path / "figures.json"
    words = ["--format", "torch-export", "--out", str(out), "--samples", str(shared_data / DRIVE), "--count", "2"]
    assert tool.main([str(CONFIG), str(checkpoint), *words, "--json", str(figures), "--fuse"]) == 0
    told, last = capsys.readouterr().out.splitlines()[-2:]
    differences = json.loads(figures.read_text())
    worst = max(one["difference"] for one in differences)
    assert told == f"largest difference from the model over 2 frames: {worst:.3g}"
    assert worst < 1e-4
    assert [one["output"] for one in differences][-1] == "0.heatmap"
    assert last.startswith(f"wrote {out} (")


def found(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "predictions.jsonl").read_bytes().splitlines()]


def test_an_exported_detector_finds_in_a_replay_what_the_model_finds(
    replay: ModuleType, checkpoint: Path, graph: Path, shared_data: Path, tmp_path: Path
):
    words = [str(CONFIG), str(checkpoint), str(shared_data / DRIVE), "--rate", "0", "--max-frames", "2"]
    assert replay.main([*words, "--backend", "onnx", "--model", str(graph), "--out", str(tmp_path / "onnx")]) == 0
    assert replay.main([*words, "--device", "cpu", "--out", str(tmp_path / "torch")]) == 0
    ours, expected = found(tmp_path / "onnx"), found(tmp_path / "torch")
    assert [len(line["boxes"]) for line in ours] == [len(line["boxes"]) for line in expected]
    assert min(len(line["boxes"]) for line in ours) > 10
    for got, wanted in zip(ours, expected, strict=True):
        assert got["names"] == wanted["names"]
        torch.testing.assert_close(torch.tensor(got["boxes"]), torch.tensor(wanted["boxes"]), atol=1e-3, rtol=0)


def test_a_graph_of_another_model_is_refused(replay: ModuleType, graph: Path, shared_data: Path, tmp_path: Path):
    other = CONFIG.parents[1] / "centerpoint_pillar/centerpoint_pillar_synthetic.py"
    path = tmp_path / "centerpoint.pth"
    torch.save({"state_dict": load_model(other, None).model.state_dict()}, path)
    words = [str(other), str(path), str(shared_data / DRIVE), "--rate", "0", "--out", str(tmp_path)]
    with pytest.raises(CheckpointError, match=r"net\.onnx: exported from another model: its outputs are 0\.reg, "):
        replay.main([*words, "--backend", "onnx", "--model", str(graph)])


def test_a_missing_graph_is_told(replay: ModuleType, checkpoint: Path, shared_data: Path, tmp_path: Path):
    pytest.importorskip("onnxruntime", reason="needs the extra [deploy]")
    words = [str(CONFIG), str(checkpoint), str(shared_data / DRIVE), "--backend", "onnx", "--model", "none.onnx"]
    with pytest.raises(CheckpointError, match=r"none\.onnx: no such file"):
        replay.main([*words, "--out", str(tmp_path)])


def test_a_missing_recording_is_told_before_the_model_is_loaded(tool: ModuleType, tmp_path: Path):
    with pytest.raises(DataError, match="nowhere: path: expected a recording"):
        tool.main(["none.py", "none.pth", "--out", "net.onnx", "--samples", str(tmp_path / "nowhere")])


def test_a_model_with_a_memory_is_refused(tool: ModuleType, tmp_path: Path):
    config = CONFIG.with_name("flatformer_synthetic_memory.py")
    path = tmp_path / "memory.pth"
    torch.save({"state_dict": load_model(config, None).model.state_dict()}, path)
    with pytest.raises(ConfigError, match=r"with a memory \(model\.memory\) is not exported"):
        tool.main([str(config), str(path), "--format", "torch-export", "--out", str(tmp_path / "net.pt2")])


@pytest.mark.parametrize(
    ("words", "match"),
    [
        (["--out", "net.pt2"], r"--out must end in .onnx for onnx, got net.pt2"),
        (["--format", "aoti", "--out", "net.onnx"], "--out must end in .pt2 for aoti"),
        (["--out", "net.onnx", "--count", "0"], "--count must be >= 1, got 0"),
        (["--out", "net.onnx", "--tolerance", "0"], "--tolerance must be positive, got 0"),
    ],
)
def test_words_that_make_no_sense_are_bad_usage(
    tool: ModuleType, words: list[str], match: str, capsys: pytest.CaptureFixture[str]
):
    with pytest.raises(SystemExit, match="2"):
        tool.main(["config.py", "weights.pth", *words])
    assert match in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "match"),
    [
        (["--backend", "onnx"], "--backend onnx and --model FILE go together"),
        (["--model", "net.onnx"], "--backend onnx and --model FILE go together"),
        (["--backend", "onnx", "--model", "net.onnx", "--compile"], "leave --device and --compile"),
        (["--backend", "onnx", "--model", "net.onnx", "--device", "cuda"], "leave --device and --compile"),
    ],
)
def test_a_backend_that_makes_no_sense_is_bad_usage(
    replay: ModuleType, words: list[str], match: str, capsys: pytest.CaptureFixture[str]
):
    with pytest.raises(SystemExit, match="2"):
        replay.main(["config.py", "weights.pth", "log.mcap", *words])
    assert match in capsys.readouterr().err


def test_help_shows_commands_and_needs_no_torch():
    command = [sys.executable, "-X", "importtime", str(TOOL), "--help"]
    ended = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "python tools/export.py CONFIG CHECKPOINT --format onnx --out work_dirs/model.onnx" in ended.stdout
    assert "| torch" not in ended.stderr
