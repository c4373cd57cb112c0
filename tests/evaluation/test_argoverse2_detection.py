"""Argoverse 2 scores on boxes worked out by hand, on a real log and through the metric class."""

from __future__ import annotations

import io
import math
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from rich.console import Console

from perception.errors import DataError
from perception.evaluation.argoverse2_detection import (
    Argoverse2DetectionMetric,
    argoverse2_table,
    evaluate_argoverse2,
    read_labels,
)
from perception.evaluation.argoverse2_results import argoverse2_rows, concat_rows, write_argoverse2_results
from perception.registry import METRICS
from perception.structures import Boxes3D, Frame, Predictions

LOG = "7fab2350-7eaf-3b7e-a39d-6937a4c1bede"
SWEEP = 315966265259836000


def table(last: str, *rows: tuple[float, float], category: str = "BUS", **changes: Any) -> pd.DataFrame:
    """Boxes of 10 x 3 x 3 m on the x axis: rows of (x, score or number of points)."""
    columns = {
        "log_id": "log", "timestamp_ns": 1, "category": category,
        "tx_m": [x for x, _ in rows], "ty_m": 0.0, "tz_m": 0.0,
        "length_m": 10.0, "width_m": 3.0, "height_m": 3.0, "qw": 1.0, "qx": 0.0, "qy": 0.0, "qz": 0.0,
        last: [value for _, value in rows],
    }
    return pd.DataFrame({**columns, **changes})


def detections(*rows: tuple[float, float], **changes: Any) -> pd.DataFrame:
    return table("score", *rows, **changes)


def labels(*rows: tuple[float, float], **changes: Any) -> pd.DataFrame:
    return table("num_interior_pts", *rows, **changes)


# Worked by hand.

@pytest.mark.parametrize(("offset", "met"), [(0.0, 4), (0.5, 3), (1.9, 2), (2.0, 1), (4.0, 0)])
def test_a_bus_that_is_off_by_some_metres_counts_at_the_wider_thresholds_only(offset: float, met: int):
    scores = evaluate_argoverse2(detections((20 + offset, 0.9)), labels((20, 5)), only_roi=False)
    assert scores.metrics.loc["BUS", "AP"] == pytest.approx(met / 4)


def test_values_are_not_rounded_and_cds_weighs_the_errors():
    scores = evaluate_argoverse2(detections((20.123456, 0.9), height_m=1.5), labels((20, 5)), only_roi=False)
    bus = scores.metrics.loc["BUS"]
    assert bus["ATE"] == pytest.approx(0.123456, abs=1e-12)
    assert bus["ASE"] == pytest.approx(0.5)
    assert bus["CDS"] == pytest.approx(((1 - 0.123456 / 2) + 0.5 + 1) / 3)


def test_a_second_detection_of_a_label_gets_no_second_choice():
    """Both detections are nearest to the label at 20 m, so the one at 23 m is false though that at 26.5 is free."""
    scores = evaluate_argoverse2(detections((20, 0.9), (23, 0.8)), labels((20, 5), (26.5, 5)), only_roi=False)
    assert scores.detections[4.0].tolist() == [1.0, 0.0]


@pytest.mark.parametrize(
    ("label", "counted"), [((20, 1), 1), ((20, 0), 0), ((149.9, 1), 1), ((150.0, 1), 0)],
    ids=["near", "no points", "just within range", "at the range"],
)
def test_labels_out_of_range_or_without_points_do_not_count(label: tuple[float, float], counted: int):
    scores = evaluate_argoverse2(detections((20, 0.9)), labels(label), only_roi=False)
    assert scores.labels["is_evaluated"].sum() == counted


def test_only_the_100_best_detections_of_a_category_and_sweep_count():
    """120 buses far from each other; the labels belong to the 30 worst, of which 10 are still among the 100 best."""
    places = [(float(x), 1.0 - x / 200) for x in range(-60, 60)]
    crowd = pd.concat([detections(*places, category="BUS"), detections((5.0, 0.01), category="TRUCK")])
    truth = pd.concat([labels(*((x, 5) for x, _ in places[-30:])), labels((5.0, 5), category="TRUCK")])

    scores = evaluate_argoverse2(crowd.sample(frac=1.0, random_state=0), truth, only_roi=False)

    bus = scores.detections[scores.detections["category"] == "BUS"]
    assert bus["is_evaluated"].sum() == 100
    assert bus.loc[bus["is_evaluated"] == 1, "score"].min() == pytest.approx(1.0 - 39 / 200)
    assert scores.metrics.loc["TRUCK", "AP"] == pytest.approx(1.0)        # another category has its own hundred
    # Ten stand at the very place of a label, but the first label goes to the best scored of all those left of it.
    assert bus[0.5].sum() == 9


def test_detections_outside_the_range_do_not_use_up_the_hundred():
    far = [(200.0 + i, 0.9) for i in range(100)]
    scores = evaluate_argoverse2(detections(*far, (20, 0.1)), labels((20, 5)), only_roi=False)
    assert scores.metrics.loc["BUS", "AP"] == pytest.approx(1.0)


def test_categories_without_labels_pull_the_average_down_but_not_the_mean_over_those_present():
    flat = evaluate_argoverse2(detections((20, 0.9)), labels((20, 5)), only_roi=False).flat()
    assert flat["mCDS"] == pytest.approx(1 / 26)
    assert flat["mCDS_present"] == pytest.approx(1.0)
    assert flat["BUS_AP"] == pytest.approx(1.0)
    assert "TRUCK_AP" not in flat


def test_no_detections_score_zero():
    flat = evaluate_argoverse2(concat_rows([]), labels((20, 5)), only_roi=False).flat()
    assert (flat["mAP"], flat["BUS_CDS"], flat["BUS_ATE_m"]) == (0.0, 0.0, 2.0)


def test_the_table_has_a_line_for_each_category_with_labels():
    flat = evaluate_argoverse2(detections((20, 0.9)), labels((20, 5)), only_roi=False).flat()
    text = io.StringIO()
    Console(file=text, width=120).print(argoverse2_table({f"argoverse2/{name}": value for name, value in flat.items()}))
    assert "BUS" in text.getvalue()
    assert "BICYCLE" not in text.getvalue()


def test_rounded_values_equal_those_of_av2s_own_entry(shared_data: Path):
    from av2.evaluation.detection.eval import evaluate
    from av2.evaluation.detection.utils import DetectionCfg

    found, truth = real_sweep(shared_data)
    split_dir = shared_data / "argoverse2/sensor/val"
    ours = evaluate_argoverse2(found, truth, split_dir=split_dir)
    _, _, official = evaluate(found, truth, DetectionCfg(dataset_dir=split_dir), n_jobs=1)
    pd.testing.assert_frame_equal(ours.metrics.round(3), official)


# A real log.

def real_sweep(shared_data: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The labels of one sweep, and detections equal to those with points."""
    truth = read_labels(shared_data / "argoverse2/sensor/val", [(LOG, SWEEP)])
    seen = truth[truth["num_interior_pts"] > 0]
    return seen.assign(score=[1.0 - i / 1000 for i in range(len(seen))]), truth


def test_labels_of_a_real_sweep_against_themselves_are_perfect(shared_data: Path):
    found, truth = real_sweep(shared_data)
    scores = evaluate_argoverse2(found, truth, split_dir=shared_data / "argoverse2/sensor/val")
    assert 0 < scores.labels["is_evaluated"].sum() < len(truth) == 81      # some lie outside the region of interest
    assert scores.flat()["mCDS_present"] == pytest.approx(1.0, abs=1e-9)


def test_the_metric_scores_the_sweeps_that_were_tested_and_drops_duplicates(shared_data: Path, tmp_path: Path):
    truth, _ = real_sweep(shared_data)
    classes = tuple(sorted(set(truth["category"])))
    yaw = [math.atan2(2 * w * z, 1 - 2 * z * z) for w, z in zip(truth["qw"], truth["qz"], strict=True)]
    numbers = truth[["tx_m", "ty_m", "tz_m", "length_m", "width_m", "height_m"]].assign(yaw=yaw).to_numpy()
    sample = Predictions(
        f"{LOG}/{SWEEP}", SWEEP, Boxes3D(torch.tensor(numbers, dtype=torch.float32)),
        torch.linspace(0.9, 0.1, len(truth)),
        torch.tensor([classes.index(name) for name in truth["category"]]), classes,
    )
    frame = Frame(sample.token, SWEEP, scene=LOG)
    root = str(shared_data / "argoverse2/sensor")
    metric = METRICS.build({"type": "Argoverse2DetectionMetric", "root": root, "output_dir": str(tmp_path)})

    metric.process([frame, frame], [sample, sample])
    flat = metric.evaluate(size=2)

    assert flat["argoverse2/mAP_present"] == pytest.approx(1.0)
    assert flat["argoverse2/mCDS_present"] == pytest.approx(1.0, abs=1e-4)       # float32 boxes
    assert len(pd.read_feather(tmp_path / "detections.feather")) == len(truth)


# The submission file.

def one(category: str = "BUS", yaw: float = math.pi / 2) -> Predictions:
    boxes = Boxes3D(torch.tensor([[1.0, 2.0, 3.0, 10.0, 3.0, 2.5, yaw]]))
    return Predictions("t", 17, boxes, torch.tensor([0.75]), torch.tensor([0]), (category,))


def test_the_submission_has_the_official_columns_and_types(tmp_path: Path):
    path = write_argoverse2_results([argoverse2_rows(one(), "log")], tmp_path / "detections.feather")
    found = pd.read_feather(path)
    assert list(found.columns) == [
        "tx_m", "ty_m", "tz_m", "length_m", "width_m", "height_m", "qw", "qx", "qy", "qz",
        "score", "log_id", "timestamp_ns", "category",
    ]
    assert found["timestamp_ns"].dtype == "int64"
    row = found.iloc[0]
    assert [row["log_id"], row["timestamp_ns"], row["category"], row["score"]] == ["log", 17, "BUS", 0.75]
    assert [row["qw"], row["qz"]] == pytest.approx([math.sqrt(0.5), math.sqrt(0.5)], abs=1e-7)


def test_a_submission_without_detections_still_has_its_columns(tmp_path: Path):
    found = pd.read_feather(write_argoverse2_results([], tmp_path / "detections.feather"))
    assert len(found) == 0
    assert found["log_id"].dtype != "float64"
    assert "score" in found.columns


# Refusals.

def test_rows_without_a_log_are_refused():
    with pytest.raises(ValueError, match="'t' belong to no log"):
        argoverse2_rows(one(), "")


def test_boxes_that_are_not_finite_are_refused():
    with pytest.raises(ValueError, match="'t' hold boxes or scores that are not finite"):
        argoverse2_rows(one(yaw=math.nan), "log")


def test_a_category_of_another_data_set_is_refused(tmp_path: Path):
    metric = Argoverse2DetectionMetric(str(tmp_path), output_dir=str(tmp_path))
    with pytest.raises(ValueError, match=r"category must be one of Argoverse 2, got 'BUSS' \(did you mean \"BUS\"\?\)"):
        metric.process([Frame("t", 17, scene="log")], [one("BUSS")])


@pytest.mark.parametrize("column", ["score", "category", "qw"])
def test_a_missing_column_is_refused(column: str):
    with pytest.raises(ValueError, match=f"detections lack the column '{column}'"):
        evaluate_argoverse2(detections((20, 0.9)).drop(columns=column), labels((20, 5)), only_roi=False)


def test_numbers_that_are_not_finite_are_refused():
    with pytest.raises(ValueError, match="labels hold numbers that are not finite"):
        evaluate_argoverse2(detections((20, 0.9)), labels((math.nan, 5)), only_roi=False)


def test_the_region_of_interest_needs_the_logs():
    with pytest.raises(ValueError, match="only_roi needs split_dir"):
        evaluate_argoverse2(detections((20, 0.9)), labels((20, 5)))


@pytest.mark.parametrize(
    ("backend", "message"),
    [
        ("fast", r"log/map: map: expected one file log_map_archive_\*.json, got 0 of them"),
        ("official", r"map: expected maps and poses of the logs \['log'\]"),
    ],
)
def test_a_log_without_map_is_refused(tmp_path: Path, backend: str, message: str):
    with pytest.raises(DataError, match=message):
        evaluate_argoverse2(detections((20, 0.9)), labels((20, 5)), split_dir=tmp_path, backend=backend)


def test_a_log_without_annotations_is_refused(tmp_path: Path):
    with pytest.raises(DataError, match=r"annotations.feather: file: expected the log's annotations, got FileNotFound"):
        read_labels(tmp_path, [("log", 1)])
