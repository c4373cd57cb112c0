"""The tool that scores files: every metric, what it prints and writes, and how it fails."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from box_files import TRUTH, argoverse2_table, waymo_file, write_root

from perception.datasets.nuscenes import NuScenesDataset
from perception.datasets.nuscenes_index import build_nuscenes_index
from perception.datasets.nuscenes_lidarseg import challenge_class_table
from perception.errors import ConfigError
from perception.evaluation.files.listing import file_metric, list_metrics
from perception.evaluation.maps.elements import MapElements
from perception.evaluation.nuscenes_point_results import read_point_labels, write_lidarseg, write_panoptic
from perception.evaluation.openlanev2_results import write_openlanev2_results
from perception.evaluation.vector_map_results import write_vector_map_results
from perception.structures import LaneGraph, Polylines
from perception.structures.vector_map import MAP_CLASSES

ROOT = Path(__file__).resolve().parents[2]
METRICS = (
    "argoverse2", "nuscenes-detection", "nuscenes-lidarseg", "nuscenes-panoptic", "openlanev2", "vector-map", "waymo",
    "waymo-let-3d", "waymo-segmentation",
)
Scored = dict[str, Any]


def test_every_metric_is_listed_from_the_name_of_its_module():
    assert list_metrics() == METRICS
    with pytest.raises(ConfigError, match=r'unknown metric "waymo-segmentaton" \(did you mean "waymo-segmentation"'):
        file_metric("waymo-segmentaton")


@pytest.mark.parametrize("name", METRICS)
def test_every_metric_says_what_it_takes(name: str):
    metric = file_metric(name)
    metric.add_arguments(argparse.ArgumentParser())
    assert all(text and text == text.strip() for text in (metric.PREDICTIONS, metric.GROUND_TRUTH))


def test_waymo_segmentation_of_the_example_files(scored: Callable[..., Scored], shared_data: Path):
    folder = shared_data / "waymo/segmentation_metrics"
    files = (folder / "fake_segmentation_predictions.bin", folder / "fake_segmentation_groundtruths.bin")
    metrics = scored("waymo-segmentation", *files)["metrics"]
    assert metrics["mIoU"] == pytest.approx(0.00395302, abs=1e-8)                # as the official tool prints it


# Points.

@pytest.fixture
def keyframe(shared_data: Path, tmp_path: Path) -> Callable[[str], tuple[Path, Path]]:
    """The real keyframe and a folder of results that predict it as it is labelled."""

    def write(kind: str) -> tuple[Path, Path]:
        root = shared_data / "nuscenes/devkit_root"
        (file,) = (root / f"{kind}/v1.0-mini").glob(f"*_{kind}.*")
        token, labels = file.stem.removesuffix(f"_{kind}"), read_point_labels(file)
        if kind == "lidarseg":
            write_lidarseg(tmp_path, "mini_train", token, np.maximum(challenge_class_table()[labels], 1))
        else:
            classes = challenge_class_table()[labels // 1000]
            own = 1000 * classes + np.where(classes <= 10, labels % 1000 + 1, 0)
            write_panoptic(tmp_path, "mini_train", token, np.where(classes == 0, 15000, own))
        return tmp_path, root

    return write


@pytest.mark.parametrize(
    ("metric", "kind", "options", "name"),
    [
        ("nuscenes-lidarseg", "lidarseg", [], "mIoU"), ("nuscenes-panoptic", "panoptic", [], "car_PQ"),
        ("nuscenes-panoptic", "panoptic", ["--tracking"], "car_PQ"),
    ],
)
def test_points_predicted_as_they_are_labelled_are_perfect(
    scored: Callable[..., Scored], keyframe: Callable[[str], tuple[Path, Path]], tmp_path: Path, metric: str,
    kind: str, options: list[str], name: str,
):
    results, root = keyframe(kind)
    where = ["--version", "v1.0-mini", "--split", "mini_train", "--report", str(tmp_path / "page.html")]
    assert scored(metric, results, root, *where, *options)["metrics"][name] == pytest.approx(1.0)
    assert "by class</h2>" in (tmp_path / "page.html").read_text(encoding="utf-8")


# Maps.

def dividers(*offsets: float, scores: list[float] | None = None) -> MapElements:
    lines = [[[0.0, y], [10.0, y]] for y in offsets]
    return MapElements.from_lines(lines, [MAP_CLASSES.index("divider")] * len(lines), scores)


def test_vector_maps_by_a_file_of_the_truth(scored: Callable[..., Scored], tmp_path: Path):
    found = write_vector_map_results({"a": dividers(0.6, scores=[0.9])}, tmp_path / "found.json", MAP_CLASSES)
    rows = {name: [{"class": "divider", "points": [[0.0, 0.0], [10.0, 0.0]]}] for name in "ab"}
    (tmp_path / "truth.json").write_text(json.dumps({"classes": list(MAP_CLASSES), "frames": rows}))
    content = scored("vector-map", found, tmp_path / "truth.json", "--report", str(tmp_path / "page.html"))
    assert content["metrics"]["divider_AP_0.5m"] == 0.0
    assert content["metrics"]["divider_AP_1.0m"] == pytest.approx(0.5)
    assert content["notes"] == ["1 of 2 frames have no predictions: they count as empty."]
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "<h2>AP by threshold</h2>" in page
    assert all(f"precision over recall, within {limit} m" in page for limit in (0.5, 1.0, 1.5))


def test_maps_of_other_frames_or_classes_are_told(told: Callable[..., str], tmp_path: Path):
    truth = tmp_path / "truth.json"
    truth.write_text('{"classes": ["divider", "boundary"], "frames": {"a": []}}')
    found = write_vector_map_results({"b": dividers(0.6, scores=[0.9])}, tmp_path / "found.json", MAP_CLASSES)
    assert "classes: expected some of divider, boundary, got ped_crossing" in told("vector-map", found, truth)
    truth.write_text(json.dumps({"classes": list(MAP_CLASSES), "frames": {"a": []}}))
    assert "predictions of 'b', not one of the 1 frames of truth" in told("vector-map", found, truth)


def test_vector_maps_by_a_root(scored: Callable[..., Scored], shared_data: Path, tmp_path: Path):
    """What is true around the real keyframe, predicted, is perfect."""
    root = shared_data / "nuscenes/devkit_root"
    index = build_nuscenes_index(root, "v1.0-mini", "mini_train", tmp_path / "index.parquet")
    dataset = NuScenesDataset(root, version="v1.0-mini", split="mini_train", index=index, num_sweeps=0, map={})
    maps = {}
    for number, token in enumerate(dataset.frame_tokens):
        local = dataset.load(number).vector_map
        assert local is not None
        maps[token] = MapElements.from_polylines(local.lines, local.labels.numpy(), np.full(len(local), 0.5))
    found = write_vector_map_results(maps, tmp_path / "found.json", MAP_CLASSES)
    where = ("--version", "v1.0-mini", "--split", "mini_train", "--index", str(index))
    assert scored("vector-map", found, root, *where)["metrics"]["divider_AP"] == pytest.approx(1.0)


def lanes(*offsets: float) -> LaneGraph:
    """Lanes of 9 m along x."""
    along = torch.linspace(0.0, 9.0, 10, dtype=torch.float64)
    centers = torch.stack([torch.stack([along, torch.full_like(along, y), 0 * along], dim=1) for y in offsets])
    side = torch.tensor([0.0, 2.0, 0.0], dtype=torch.float64)
    types, count = torch.zeros(len(offsets), dtype=torch.int64), len(offsets)
    return LaneGraph(
        centers, centers + side, centers - side, types, types, torch.zeros(count, count),
        Polylines.from_lines([], dim=3), torch.zeros(0, dtype=torch.int64), torch.linspace(0.9, 0.5, count),
        torch.zeros(0),
    )


def test_openlanev2(scored: Callable[..., Scored], told: Callable[..., str], tmp_path: Path):
    truth = write_openlanev2_results({"a": lanes(0.0), "b": lanes(0.0)}, tmp_path / "truth.json")
    found = write_openlanev2_results({"a": lanes(0.0)}, tmp_path / "found.json")
    content = scored("openlanev2", found, truth)
    assert content["metrics"]["AP_ls"] == pytest.approx(6 / 11)       # recall 0.5 of eleven points from 0 to 1
    assert content["notes"] == ["1 of 2 frames have no predictions: they count as empty."]
    assert "found.json: b: expected a frame of" in told(
        "openlanev2", write_openlanev2_results({"b": lanes(0.0)}, found),
        write_openlanev2_results({"a": lanes(0.0)}, truth),
    )


# All metrics of files.

@pytest.mark.parametrize("metric", ["nuscenes-detection", "argoverse2", "waymo", "vector-map", "openlanev2"])
@pytest.mark.parametrize("size", [None, 0, 2**31], ids=["absent", "empty", "two GiB of nothing"])
def test_a_file_of_nothing_is_told(told: Callable[..., str], tmp_path: Path, metric: str, size: int | None):
    path, truth = tmp_path / "found", tmp_path / "truth"
    if size is not None:
        with open(path, "wb") as file:
            file.truncate(size)                            # takes no room on the disk
    if metric == "nuscenes-detection":
        write_root(truth, TRUTH)
    elif metric == "argoverse2":
        argoverse2_table("num_interior_pts", (20, 5)).to_feather(truth)
    elif metric == "waymo":
        waymo_file(truth, 10.0, num_points=9)
    options = ["--no-roi"] if metric == "argoverse2" else []
    assert told(metric, path, truth, *options).startswith(f"error: {path}: ")


def test_a_file_that_cannot_be_written_is_told(told: Callable[..., str], tmp_path: Path):
    truth = waymo_file(tmp_path / "truth.bin", 10.0, num_points=9)
    assert "/proc/scores.json: cannot be written" in told("waymo", truth, truth, "--json", "/proc/scores.json")


@pytest.mark.parametrize("words", [[], ["kitti", "a", "b"], ["waymo", "a"], ["waymo", "a", "b", "--backend", "fast"]])
def test_bad_usage_is_refused(evaluate: ModuleType, words: list[str]):
    with pytest.raises(SystemExit, match="2"):
        evaluate.main(words)


@pytest.mark.parametrize("words", [[], ["nuscenes-detection"], ["vector-map"]])
def test_help_is_instant(words: list[str]):
    code = f"import runpy, sys; sys.argv = ['evaluate.py', *{words}, '--help']\n"
    code += "try: runpy.run_path('tools/evaluate.py', run_name='__main__')\n"
    code += "except SystemExit as end: print('status', end.code, {'torch', 'numpy', 'pandas'} & set(sys.modules))"
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert result.stdout.splitlines()[-1] == "status 0 set()"
    assert "--report" in result.stdout or "python tools/evaluate.py waymo" in result.stdout
