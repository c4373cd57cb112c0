"""The compression tool from end to end on a small detector: files, figures, a sweep, and how it fails."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from perception.engine.cli import run_tool

ROOT = Path(__file__).resolve().parents[2]
DETECTOR = ROOT / "tests/engine/toy_detector.py"


@pytest.fixture(scope="module")
def tool(load_tool: Callable[[str], ModuleType]) -> ModuleType:
    return load_tool("compress")


@pytest.fixture(autouse=True)
def quick_and_findable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(DETECTOR.parent))
    monkeypatch.setattr("perception.engine.compress.measure.WARM_UP", 1)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from perception.engine.build import build_model
    from perception.engine.checkpoint import save_checkpoint
    from perception.engine.config import load_config

    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("source") / "weights.pth"
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(DETECTOR.parent))
        save_checkpoint({"state_dict": build_model(load_config(DETECTOR).model).state_dict()}, path)
    return path


def _compress(tool: ModuleType, out: Path, method: str, checkpoint: Path, *options: str) -> Any:
    arguments = [method, str(DETECTOR), str(checkpoint), "--out", str(out), "--json", str(out / "figures.json")]
    assert run_tool(tool.main, [*arguments, "--calibration", "2", "--repeats", "3", *options]) == 0
    return json.loads((out / "figures.json").read_text())


@pytest.mark.parametrize(
    ("method", "options"),
    [
        ("Int8Weights", ()),
        ("SmoothScale+Int8Dynamic", ("--set", "smallest=32", "SmoothScale.alpha=0.6")),
        ("BCT", ("--set", "bits=4", "parts=nonlinear")),
        ("PruneHidden", ("--set", "share=0.25")),
    ],
)
def test_what_is_written_runs_in_the_test_tool_and_scores_what_was_told(
    tool: ModuleType, load_tool: Callable[[str], ModuleType], checkpoint: Path, tmp_path: Path, method: str,
    options: tuple[str, ...], capsys: pytest.CaptureFixture[str],
):
    figures = _compress(tool, tmp_path, method, checkpoint, *options)
    printed = capsys.readouterr().out
    assert "left in float: " in printed
    assert printed.splitlines()[-1] == f"wrote {tmp_path}"
    before, after = figures["before"], figures["after"]
    assert after["num_bytes"] < before["num_bytes"]
    assert before["flops"] >= after["flops"] > 0
    assert 0 < after["p50_ms"] <= after["p99_ms"]
    assert figures["metric"] == "objects"

    test = [str(tmp_path / "config.py"), str(tmp_path / "weights.pth"), "--json", str(tmp_path / "scores.json")]
    assert load_tool("test").main([*test, "--work-dir", str(tmp_path / "log")]) == 0
    assert json.loads((tmp_path / "scores.json").read_text()) == after["metrics"]


def test_a_compressed_model_is_loaded_for_inference_and_compressed_again(
    tool: ModuleType, checkpoint: Path, tmp_path: Path
):
    from perception.engine.inference import load_model

    _compress(tool, tmp_path / "a", "PruneHidden", checkpoint, "--samples", "0")
    arguments = ["Int8Weights", str(tmp_path / "a/config.py"), str(tmp_path / "a/weights.pth")]
    assert tool.main([*arguments, "--out", str(tmp_path / "b"), "--samples", "0", "--repeats", "3"]) == 0
    loaded = load_model(tmp_path / "b/config.py", tmp_path / "b/weights.pth")
    assert type(loaded.model).__name__ == "Detector"
    assert [step["type"] for step in loaded.cfg.model.steps] == ["PruneHidden", "FoldBatchNorm", "Int8Weights"]


def test_few_samples_are_the_first_of_the_test(tool: ModuleType, checkpoint: Path, tmp_path: Path):
    whole = _compress(tool, tmp_path / "whole", "TwoOfFour", checkpoint)["before"]["metrics"]["objects"]
    one = _compress(tool, tmp_path / "one", "TwoOfFour", checkpoint, "--samples", "1")["before"]["metrics"]["objects"]
    none = _compress(tool, tmp_path / "none", "TwoOfFour", checkpoint, "--samples", "0")
    assert one == int(one)                             # of one frame a mean is a whole number
    assert one != whole
    assert none["before"]["metrics"] == {}


def test_a_sweep_is_drawn(
    tool: ModuleType, checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    figures = _compress(tool, tmp_path, "PruneHidden", checkpoint, "--sweep", "share=0.25,0.75")
    assert [run["methods"][0]["share"] for run in figures] == [0.25, 0.75]
    assert (tmp_path / "pareto.png").read_bytes()[:4] == b"\x89PNG"
    assert (tmp_path / "share=0.75/config.py").is_file()
    assert "not beaten in objects and bytes: share=0.25" in capsys.readouterr().out


def test_a_compressor_may_ask_for_the_score_of_a_model(tool: ModuleType, checkpoint: Path, tmp_path: Path):
    from perception.compression.compressor import Calibration, Compression, CompressionReport, Compressor, ConfigChanges
    from perception.registry import COMPRESSORS

    class Scored(Compressor):
        """Changes nothing, and tells what the model reaches."""

        def apply(self, model: torch.nn.Module, calibration: Calibration) -> Compression:
            assert calibration.score is not None
            notes = {"whole": calibration.score(model)}
            torch.nn.init.zeros_(model.get_submodule("head.task_heads.0.heatmap.1").weight)
            notes["broken"] = calibration.score(model)
            return Compression(model, ConfigChanges(), CompressionReport(notes=notes))

    COMPRESSORS.register_module(module=Scored)
    try:
        figures = _compress(tool, tmp_path, "Scored", checkpoint)
    finally:
        del COMPRESSORS.module_dict["Scored"]
    assert figures["notes"]["Scored"]["whole"] == figures["before"]["metrics"]["objects"]
    assert figures["notes"]["Scored"]["broken"] == figures["after"]["metrics"]["objects"]


def test_settings_are_sought(tool: ModuleType, checkpoint: Path, tmp_path: Path):
    pytest.importorskip("optuna")
    options = ["--search", "share=0.3:0.8", "--trials", "2", "--samples", "1"]
    figures = _compress(tool, tmp_path, "PruneHidden", checkpoint, *options)
    shares = [run["methods"][0]["share"] for run in figures]
    assert len(set(shares)) == 2
    assert all(0.3 <= share <= 0.8 for share in shares)
    assert (tmp_path / f"share={shares[0]}/weights.pth").is_file()


def test_ranges_are_whole_numbers_numbers_or_choices():
    from perception.engine.compress.search import parse_range

    assert parse_range("bits=2:8") == ("bits", (2, 8))
    assert parse_range("share=0.2:1") == ("share", (0.2, 1))
    assert parse_range("mode=shift|scale") == ("mode", ["shift", "scale"])
    assert parse_range("block=(1,64)|(8,8)") == ("block", [(1, 64), (8, 8)])


def test_training_goes_on_from_a_rounded_model(
    tool: ModuleType, load_tool: Callable[[str], ModuleType], checkpoint: Path, tmp_path: Path
):
    _compress(tool, tmp_path, "QuantizeAware", checkpoint, "--samples", "0")
    options = [f"load_from={tmp_path / 'weights.pth'}", "train_cfg.max_iters=2", "custom_hooks=[]"]
    train = [str(tmp_path / "config.py"), "--work-dir", str(tmp_path / "run"), "--cfg-options", *options]
    assert load_tool("train").main(train) == 0
    assert (tmp_path / "run/iter_2.pth").is_file()


def test_a_student_is_trained_beside_its_teacher_by_config(
    load_tool: Callable[[str], ModuleType], checkpoint: Path, tmp_path: Path
):
    from perception.engine.inference import load_model

    config = tmp_path / "distilled.py"
    config.write_text(f"""
_base_ = [{str(DETECTOR)!r}]
model = dict(
    _delete_=True, type="Distilled", student={{{{_base_.model}}}}, teacher={{{{_base_.model}}}},
    teacher_checkpoint={str(checkpoint)!r},
    terms=[
        dict(loss=dict(type="HeatmapDistillation"), student="head", key="heatmap"),
        dict(loss=dict(type="ChannelDistillation", temperature=2.0), student="neck"),
    ],
)
""")
    options = ["train_cfg.max_iters=2", "custom_hooks=[]"]
    assert load_tool("train").main([str(config), "--work-dir", str(tmp_path / "run"), "--cfg-options", *options]) == 0
    rows = [json.loads(line) for line in (tmp_path / "run/scalars.jsonl").read_text().splitlines()]
    assert all(row["distillation.loss_0"] > 0 and row["distillation.loss_1"] > 0 for row in rows if "loss" in row)
    load_model(DETECTOR, tmp_path / "run/iter_2.pth")             # the student's own config takes it


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["Int8Weight", "CONFIG", "WEIGHTS"], 'unknown compressor "Int8Weight" (did you mean "Int8Weights"?)'),
        (["BCT", "CONFIG", "WEIGHTS", "--set", "bits=9"], "BCT: bits must lie in [2, 8], got 9"),
        (["BCT", "CONFIG", "WEIGHTS", "--set", "bit=4"], "BCT: "),
        (["BCT", "CONFIG", "WEIGHTS", "--set", "LowRank.share=0.4"], "LowRank.share: LowRank is none of BCT"),
        (["Int8Static", "CONFIG", "WEIGHTS", "--calibration", "0"], "Int8Static: Int8Static needs calibration data"),
        (["BCT", "CONFIG", "gone.pth"], "gone.pth: no such checkpoint"),
        (["BCT", "CONFIG", "WEIGHTS", "--sweep", "bits"], "a sweep reads KEY=A,B,C, got 'bits'"),
        (["BCT", "CONFIG", "WEIGHTS", "--sweep", "bits=4,8", "--samples", "0"], "draw a metric, which --samples 0"),
        (["BCT", "CONFIG", "WEIGHTS", "--search", "bits=8:4"], "two numbers that rise, got 'bits=8:4'"),
        (["BCT", "CONFIG", "WEIGHTS", "--search", "bits=8"], "a range reads KEY=LOW:HIGH or KEY=A|B, got 'bits=8'"),
        (["BCT", "CONFIG", "WEIGHTS", "--search", "bits=4:8", "--trials", "0"], "--trials must be >= 1, got 0"),
        (["BCT", "CONFIG", "WEIGHTS", "--samples", "-1"], "sampler.count must be >= 1, got -1"),
        (["BCT+", "CONFIG", "WEIGHTS"], 'compressors are joined by "+", got \'BCT+\''),
        (["BCT", "CONFIG", "WEIGHTS", "--metric", "mAP"], "no metric is called 'mAP'; there are objects"),
        (["BCT", "CONFIG", "WEIGHTS", "--out", "SOURCE"], "is the source, which is never overwritten"),
    ],
)
def test_a_slip_is_told_in_one_line(
    tool: ModuleType, checkpoint: Path, tmp_path: Path, arguments: list[str], told: str,
    capsys: pytest.CaptureFixture[str],
):
    before = checkpoint.read_bytes()
    words = {"CONFIG": str(DETECTOR), "WEIGHTS": str(checkpoint), "SOURCE": str(checkpoint.parent)}
    out = [] if "--out" in arguments else ["--out", str(tmp_path)]
    assert run_tool(tool.main, [words.get(word, word) for word in arguments] + out + ["--repeats", "1"]) == 1
    assert told in capsys.readouterr().err.splitlines()[-1]
    assert checkpoint.read_bytes() == before


def test_compressors_are_listed(tool: ModuleType, capsys: pytest.CaptureFixture[str]):
    assert tool.main(["--list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert {"BCT", "Int8Weights", "PruneHidden", "TorchAO"} <= {line.split()[0] for line in lines}


def test_bad_usage_ends_with_status_2(tool: ModuleType, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit, match="2"):
        tool.main(["BCT"])
    assert "METHOD, CONFIG and CHECKPOINT are needed" in capsys.readouterr().err
