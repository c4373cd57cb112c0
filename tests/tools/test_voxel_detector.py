"""The small voxel CenterPoint on a city of two drives, through the tools: trained, scored, replayed."""

from __future__ import annotations

import json
import math
import runpy
from collections.abc import Callable
from pathlib import Path

import pytest

pytest.importorskip("spconv", reason="spconv is not installed: pip install -e '.[sparse]'")

ROOT = Path(__file__).resolve().parents[2]
CONFIG = ROOT / "configs/centerpoint_pillar/centerpoint_voxel_synthetic.py"
ITERATIONS = 6


def tool(name: str) -> Callable[..., int]:
    """The main of a tool, which takes words."""
    main = runpy.run_path(str(ROOT / f"tools/{name}.py"))["main"]
    return lambda *words: main([str(word) for word in words])


@pytest.fixture(scope="module")
def city(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One keyframe to train on and one to score, seen by a coarse LiDAR."""
    root, create = tmp_path_factory.mktemp("data") / "city", tool("create_data")
    create(
        "synthetic", root, "--train-scenes", 1, "--val-scenes", 1, "--duration", 0.5, "--cameras", "none",
        "--columns", 180, "--workers", 1,
    )
    for split in ("train", "val"):
        create("index", "nuscenes", root, "--split", split)
    create("objects", "nuscenes", root, "--num-sweeps", 2, "--out", root / "objects")
    return root


@pytest.fixture(scope="module")
def trained(city: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    options = [f"data_root={city}", f"max_iters={ITERATIONS}", "default_hooks.scalars.interval=1"]
    assert tool("train")(CONFIG, "--work-dir", folder, "--cfg-options", *options) == 0
    return folder


def test_training_lowers_the_loss_and_scores_at_its_end(trained: Path):
    rows = [json.loads(line) for line in (trained / "scalars.jsonl").read_text().splitlines()]
    losses = [row["loss"] for row in rows if "loss" in row]
    assert len(losses) == ITERATIONS
    assert all(math.isfinite(loss) for loss in losses)
    assert losses[-1] < losses[0]
    assert 0.0 <= rows[-1]["val/nuscenes/NDS"] <= 1.0


def test_the_trained_detector_is_scored_by_the_official_code(city: Path, trained: Path, tmp_path: Path):
    outputs = ["--work-dir", tmp_path / "log", "--json", tmp_path / "scores.json"]
    checkpoint = trained / f"iter_{ITERATIONS}.pth"
    assert tool("test")(CONFIG, checkpoint, *outputs, "--cfg-options", f"data_root={city}") == 0
    assert 0.0 <= json.loads((tmp_path / "scores.json").read_text())["nuscenes/NDS"] <= 1.0


def test_the_trained_detector_replays_a_drive(city: Path, trained: Path, tmp_path: Path):
    scene = json.loads((city / "v1.0-trainval/scene.json").read_text())[-1]["name"]
    words = [f"{city}:{scene}", "--rate", 0, "--device", "cpu", "--out", tmp_path]
    assert tool("replay")(CONFIG, trained / f"iter_{ITERATIONS}.pth", *words) == 0
    lines = (tmp_path / "predictions.jsonl").read_text().splitlines()
    assert len(lines) == json.loads((tmp_path / "latency.json").read_text())["frames"] == 5
