"""Detection metrics against values that the official tools gave."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from perception.evaluation.argoverse2_detection import evaluate_argoverse2
from perception.evaluation.nuscenes_detection import evaluate_nuscenes

COVERED = {"nuscenes", "av2", "waymo"}                     # the last in test_detection_eval_waymo.py


def test_every_folder_is_compared(golden: Callable[[str], Path]):
    assert {path.name for path in golden("detection_eval").iterdir() if path.is_dir()} == COVERED


@pytest.mark.golden_files("detection_eval", pattern="nuscenes/*_expected.json")
@pytest.mark.parametrize("backend", ["fast", "official"])
def test_nuscenes_scores_equal_the_devkits(golden_file: Path, backend: Any):
    case = golden_file.stem.removesuffix("_expected")
    expected = read_json(golden_file)
    truth = read_json(golden_file.with_name(f"{case}_ground_truth.json"))
    predictions = read_json(golden_file.with_name(f"{case}_predictions.json"))

    scores = evaluate_nuscenes(
        truth["ground_truth"],
        predictions["results"],
        truth["ego_translation_global"],
        truth["bicycle_racks"],
        config=expected["cfg"],
        backend=backend,
    )

    counts = expected.pop("counts")
    assert scores.num_ground_truth == counts["ground_truth_after_filter"]
    assert scores.num_predictions == counts["predictions_after_filter"]
    for curve, columns in expected.pop("curves").items():
        assert_same({name: scores.curves[curve][name] for name in columns}, columns, curve, tolerance=2e-9)
    assert_same({name: scores.summary[name] for name in expected}, expected, case, tolerance=1e-9)


@pytest.mark.parametrize("backend", ["fast", "official"])
@pytest.mark.golden_files("detection_eval", pattern="av2/*_expected.json")
def test_argoverse2_scores_equal_av2s(golden_file: Path, shared_data: Path, backend: str):
    expected = read_json(golden_file)
    for case, wanted in expected["cases"].items():
        detections, labels = read_argoverse2_tables(golden_file, expected, case)
        config = {name: tuple(v) if isinstance(v, list) else v for name, v in wanted["config"].items()}
        roi = config.pop("eval_only_roi_instances")
        split_dir = None
        if roi:
            split_dir = shared_data / expected["maps"].split("/<log_id>")[0].removeprefix("data/")

        scores = evaluate_argoverse2(detections, labels, split_dir=split_dir, only_roi=roi, backend=backend, **config)

        assert (len(detections), len(labels)) == (wanted["num_detections"], wanted["num_labels"])
        assert scores.detections["is_evaluated"].sum() == wanted["num_detections_evaluated"]
        assert scores.labels["is_evaluated"].sum() == wanted["num_labels_evaluated"]
        for threshold, count in wanted["tp_flags_per_threshold"].items():
            assert scores.detections[float(threshold)].sum() == count, (case, threshold)
        tolerance = 1e-6 if "maps" in expected else 1e-9
        for name, table in (("unrounded", scores.metrics), ("as_returned_rounded_3", scores.metrics.round(3))):
            rows = {row: dict(zip(table.columns, table.loc[row], strict=True)) for row in table.index}
            assert_same(rows, wanted[f"metrics_{name}"], case, tolerance)


def read_json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def read_argoverse2_tables(path: Path, expected: dict[str, Any], case: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The tables that the file names; without a name, a case has its own detections."""
    stem = path.stem.removesuffix("_expected")
    detections = pd.read_feather(path.parent / expected.get("detections", f"{stem}_{case}.feather"))
    if f"{case}_labels" in expected:                       # said in words: the detections, with one point each
        return detections, detections.assign(num_interior_pts=1)
    return detections, pd.read_feather(path.parent / expected["labels"])


def assert_same(got: Any, wanted: Any, where: str, tolerance: float) -> None:
    """Equal keys, lengths and texts; numbers to the tolerance; null stands for NaN."""
    if isinstance(wanted, dict):
        got = {str(key): value for key, value in got.items()}
        assert got.keys() == wanted.keys(), where
        for key in wanted:
            assert_same(got[key], wanted[key], f"{where}.{key}", tolerance)
    elif isinstance(wanted, list):
        assert len(got) == len(wanted), where
        for position, (left, right) in enumerate(zip(got, wanted, strict=True)):
            assert_same(left, right, f"{where}[{position}]", tolerance)
    elif wanted is None:
        assert got != got, f"{where}: expected NaN, got {got}"
    elif isinstance(wanted, str):
        assert got == wanted, where
    else:
        assert got == pytest.approx(wanted, abs=tolerance, rel=0), where
