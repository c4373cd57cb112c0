"""The page of a run: every number of the files is on it, and what is absent is told."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from perception.errors import DataError
from perception.visualization.run_report import DetectionRun

METRICS = {
    "NDS": 0.4321, "mAP": 0.3456, "mATE_m": 0.5, "mASE": 0.2, "mAOE_rad": 0.7, "mAVE_mps": 1.1, "mAAE": 0.3,
    "car_AP": 0.7654, "car_ATE_m": 0.234,
}
STAGE = {"p50": 50.0, "p90": 60.0, "p99": 70.0, "mean": 52.5, "max": 71.25}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("evaluation", "train", "replay", "pictures"):
        (tmp_path / name).mkdir()
    (tmp_path / "metrics.json").write_text(json.dumps({f"nuscenes/{name}": value for name, value in METRICS.items()}))
    (tmp_path / "evaluation/metrics_details.json").write_text(json.dumps({"car:2.0": {"precision": [1.0, 0.5, 0.0]}}))
    rows = [{"step": 10, "loss": 3.0, "lr": 1e-3}, {"step": 20, "loss": None}, {"step": 20, "val/NDS": 0.4}]
    (tmp_path / "train/scalars.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    latency = {
        "frames": 40, "dropped": 3, "rate": 1.0, "recorded_s": 4.2, "wall_s": 4.3, "latency_ms": {"total": STAGE},
        "samples_ms": {"total": [50.0, 55.0, 71.25]},
    }
    (tmp_path / "replay/latency.json").write_text(json.dumps(latency))
    Image.fromarray(np.zeros((8, 12, 3), dtype=np.uint8)).save(tmp_path / "pictures/0001_bev.png")
    return tmp_path


def read(folder: Path) -> DetectionRun:
    parts = (folder / name for name in ("metrics.json", "evaluation", "train", "replay", "pictures"))
    return DetectionRun.read(*parts, seconds={"train": 12.5})


def test_the_page_shows_scores_curves_latencies_and_pictures(folder: Path):
    page = read(folder).report("a run").save(folder / "report.html").read_text(encoding="utf-8")
    for text in ("0.432", "0.7654", "0.234", "71.25", "3 dropped", "12.5", "0001_bev"):
        assert text in page
    assert page.count("image/svg+xml") == 3
    assert page.count("image/jpeg") == 1


def test_the_summary_holds_scores_by_class_times_and_latencies(folder: Path):
    summary = json.loads(json.dumps(read(folder).summary()))
    assert summary["metrics"]["NDS"] == METRICS["NDS"]
    assert summary["classes"]["car"]["ATE_m"] == METRICS["car_ATE_m"]
    assert summary["classes"]["bus"]["AP"] is None
    assert summary["seconds"] == {"train": 12.5}
    assert summary["replay"]["latency_ms"]["total"] == STAGE
    assert "samples_ms" not in summary["replay"]


@pytest.mark.parametrize("name", ["metrics.json", "train/scalars.jsonl", "replay/latency.json"])
def test_an_absent_file_is_named(folder: Path, name: str):
    (folder / name).unlink()
    with pytest.raises(DataError, match=f"{name}: file: expected what an earlier step writes, got No such file"):
        read(folder)
