"""The fusing tool: two checkpoints become one that the scoring tool runs."""

from __future__ import annotations

import json
import runpy
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from perception.engine.build import build_model
from perception.engine.checkpoint import load_checkpoint, load_weights, save_checkpoint
from perception.engine.cli import run_tool
from perception.engine.config import load_config

pytest.importorskip("ot", reason="POT is not installed: pip install -e '.[compress]'")
ROOT = Path(__file__).resolve().parents[2]
NARROW = """
_base_ = ["{root}/configs/flatformer/flatformer_tiny.py"]
root, version = "{city}", "v1.0-trainval"
val_dataloader = dict(
    batch_size=1, num_workers=0, sampler=dict(type="DefaultSampler", shuffle=False),
    dataset=dict(type="NuScenesDataset", root=root, version=version, split="val", transforms=[]),
)
test_dataloader = val_dataloader
train_dataloader = dict(
    batch_size=1, num_workers=0, sampler=dict(type="EpochSampler"),
    dataset=dict(
        type="NuScenesDataset", root=root, version=version, split="train", transforms=[dict(type="PointShuffle")]
    ),
)
val_evaluator = dict(type="NuScenesDetectionMetric", root=root, version=version, split="val")
test_evaluator = val_evaluator
"""
WIDE = """
model = dict(
    bev_backbone=dict(channels=(8, 12)), neck=dict(in_channels=(8, 12), channels=(8, 12)), head=dict(in_channels=20)
)
"""


def tool(name: str) -> Callable[..., int]:
    """A tool, which takes words and gives its exit status."""
    main = runpy.run_path(str(ROOT / f"tools/{name}.py"))["main"]
    return lambda *words: run_tool(main, [str(word) for word in words])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small city, configs of a narrow and a wide detector, and two checkpoints of the one, one of the other."""
    path, create = tmp_path_factory.mktemp("fuse"), tool("create_data")
    city = path / "city"
    create("synthetic", city, "--train-scenes", 1, "--val-scenes", 1, "--duration", 0.5, "--cameras", "none",
           "--columns", 180, "--workers", 1)
    for split in ("train", "val"):
        create("index", "nuscenes", city, "--split", split)
    text = NARROW.format(root=ROOT, city=city)
    for name, content in (("narrow", text), ("wide", text + WIDE)):
        (path / f"{name}.py").write_text(content)
    for seed, name in enumerate(("narrow", "narrow", "wide")):
        torch.manual_seed(seed)
        model = build_model(load_config(path / f"{name}.py").model)
        save_checkpoint({"state_dict": model.state_dict(), "meta": {"seed": seed}}, path / f"{seed}.pth")
    return path


def test_two_checkpoints_become_one_that_is_scored(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    words = [folder / "narrow.py", folder / "0.pth", folder / "1.pth", "--out", tmp_path / "fused.pth"]
    assert tool("fuse")(*words, "--samples", 2, "--json", tmp_path / "report.json", "--device", "cpu") == 0
    printed = capsys.readouterr().out
    assert printed.splitlines()[-1] == f"wrote {tmp_path / 'fused.pth'}"
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["matched"]["head.shared"] == [8, 8]
    assert report["in_place"] == report["undeclared"] == []
    assert f"sets on {report['frames']} frames" in printed
    content = load_checkpoint(tmp_path / "fused.pth")
    assert content["meta"]["fused_from"] == ["0.pth", "1.pth"]
    assert content["meta"]["seed"] == 1
    first, anchor = (load_checkpoint(folder / f"{seed}.pth")["state_dict"] for seed in (0, 1))
    last = "head.task_heads.0.heatmap.1.bias"
    torch.testing.assert_close(content["state_dict"][last], (first[last] + anchor[last]) / 2)
    assert tool("test")(folder / "narrow.py", tmp_path / "fused.pth", "--work-dir", tmp_path / "log") == 0


def test_one_checkpoint_in_another_order_is_the_other_again(folder: Path, tmp_path: Path):
    words = [folder / "narrow.py", folder / "1.pth", folder / "1.pth", "--out", tmp_path / "same.pth"]
    assert tool("fuse")(*words, "--samples", 2, "--solver", "emd", "--mode", "parity", "--device", "cpu") == 0
    found, wanted = (load_checkpoint(path)["state_dict"] for path in (tmp_path / "same.pth", folder / "1.pth"))
    for name, value in wanted.items():
        torch.testing.assert_close(found[name], value, atol=1e-6, rtol=1e-5)


def test_a_wide_detector_and_a_chain_of_three(folder: Path, tmp_path: Path):
    narrow = build_model(load_config(folder / "narrow.py").model)
    words = [folder / "2.pth", folder / "1.pth", "--config0", folder / "wide.py", "--out", tmp_path / "narrowed.pth"]
    assert tool("fuse")(folder / "narrow.py", *words, "--samples", 1, "--device", "cpu") == 0
    load_weights(narrow, tmp_path / "narrowed.pth")
    words = [*(folder / f"{seed}.pth" for seed in (0, 1, 0)), "--out", tmp_path / "three.pth"]
    assert tool("fuse")(folder / "narrow.py", *words, "--samples", 1, "--device", "cpu") == 0
    load_weights(narrow, tmp_path / "three.pth")


def test_plain_averaging_is_the_average(folder: Path, tmp_path: Path):
    words = [folder / "0.pth", folder / "1.pth", "--out", tmp_path / "plain.pth", "--plain", "--alpha", 0.25]
    assert tool("fuse")(folder / "narrow.py", *words, "--samples", 1, "--mode", "parity", "--device", "cpu") == 0
    found = load_checkpoint(tmp_path / "plain.pth")["state_dict"]
    first, anchor = (load_checkpoint(folder / f"{seed}.pth")["state_dict"] for seed in (0, 1))
    for name, value in anchor.items():
        if value.is_floating_point():
            torch.testing.assert_close(found[name], torch.lerp(first[name], value, 0.25))


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["0.pth"], "fusion needs at least two checkpoints, got 1"),
        (["0.pth", "1.pth", "0.pth", "--alpha", "0.3"], "for two checkpoints"),
        (["0.pth", "1.pth", "--samples", "0"], "samples must be >= 1, got 0"),
        (["0.pth", "2.pth"], "made for another architecture"),
        (["0.pth", "gone.pth"], "no such checkpoint"),
        (["0.pth", "1.pth", "--out", "0.pth"], "is there already"),
        (["0.pth", "1.pth", "--alpha", "2"], "cannot be fused: alpha must lie in [0, 1], got 2.0"),
    ],
)
def test_slips_are_told_in_one_line(
    folder: Path, tmp_path: Path, words: list[str], told: str, capsys: pytest.CaptureFixture[str]
):
    paths = [folder / word if word.endswith(".pth") else word for word in words]
    out = [] if "--out" in words else ["--out", tmp_path / "fused.pth"]
    assert tool("fuse")(folder / "narrow.py", *paths, *out, "--device", "cpu") == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert told in line
    assert not (tmp_path / "fused.pth").exists()
