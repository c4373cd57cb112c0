"""The tool that scores files, on boxes of nuScenes, Argoverse 2 and Waymo."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from box_files import GUESSES, TRUTH, argoverse2_table, box, waymo_file, write_results, write_root

from perception.evaluation.waymo.objects import WaymoObjects
from perception.evaluation.waymo.objects_file import write_waymo_objects

Scored = dict[str, Any]


# nuScenes detection.

def test_both_backends_give_the_same_numbers(scored: Callable[..., Scored], tmp_path: Path):
    root, results = write_root(tmp_path / "root", TRUTH), write_results(tmp_path / "results.json", GUESSES)
    fast, official = (
        scored("nuscenes-detection", results, root, "--backend", backend)["metrics"] for backend in ("fast", "official")
    )
    assert fast == pytest.approx(official, abs=1e-9)
    assert 0 < fast["car_AP"] < 1
    assert fast["bicycle_AP"] == pytest.approx(1.0)


def test_the_page_has_curves_errors_and_groups_by_range_and_visibility(
    evaluate: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    root, results = write_root(tmp_path / "root", TRUTH), write_results(tmp_path / "results.json", GUESSES)
    evaluate.main(["nuscenes-detection", str(results), str(root), "--report", str(tmp_path / "page.html")])
    assert capsys.readouterr().out.splitlines()[-1] == f"wrote {tmp_path / 'page.html'}"
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    for heading in ("Precision over recall", "Errors of matched boxes", "AP by range", "Recall by visibility"):
        assert f"<h2>{heading}</h2>" in page
    # Of three cars one lies within 0 to 40 % of visibility and is missed; those of 80 to 100 % are found.
    row = page.partition("<h2>Recall by visibility</h2>")[2].partition("<tr><td>car</td>")[2].partition("</tr>")[0]
    assert row == "<td>0</td><td>–</td><td>–</td><td>1</td>"


def test_a_file_of_the_truth_serves_for_a_root(scored: Callable[..., Scored], tmp_path: Path):
    results = write_results(tmp_path / "results.json", GUESSES)
    rows = {token: [{**own, "num_pts": 5, "velocity": None} for own in boxes] for token, boxes in TRUTH.items()}
    content = {"ground_truth": rows, "ego_translation_global": {token: [0, 0, 0] for token in TRUTH}}
    (tmp_path / "truth.json").write_text(json.dumps(content))
    root = write_root(tmp_path / "root", TRUTH)
    by_file, by_root = (scored("nuscenes-detection", results, path) for path in (tmp_path / "truth.json", root))
    assert by_file["metrics"] == pytest.approx(by_root["metrics"], abs=1e-12)
    page = tmp_path / "page.html"
    scored("nuscenes-detection", results, tmp_path / "truth.json", "--report", str(page))
    assert "Recall by range" in page.read_text(encoding="utf-8")


@pytest.mark.parametrize("backend", ["fast", "official"])
@pytest.mark.parametrize(
    ("results", "match"),
    [
        ({**GUESSES, "c": []}, r"the 2 samples of the split, got 3 samples .* \(odd one: c"),
        ({"a": GUESSES["a"]}, r"the 2 samples of the split, got 1 samples .* \(odd one: b"),
        ({**GUESSES, "b": [box("b", 8.0, "lorry", detection_score=0.5)]}, "results.json: results: expected"),
        ({**GUESSES, "b": [box("b", 8.0, detection_score=math.nan)]}, "results.json: results: expected"),
        ({**GUESSES, "b": [box("b", math.nan, detection_score=0.5)]}, "results.json: results: expected"),
        ({**GUESSES, "b": [box("b", 8.0, detection_score=0.5)] * 501}, "results.json: results: expected"),
        ({**GUESSES, "b": [box("b", 20.0, detection_score=0.5, size=[0.0, 4.0, 1.5])]}, "results.json: results: exp"),
    ],
    ids=[
        "unknown sample", "missing sample", "wrong class", "NaN score", "NaN place", "too many boxes",
        "no width of a matched box",
    ],
)
def test_what_the_nuscenes_server_refuses_is_refused(
    told: Callable[..., str], tmp_path: Path, backend: str, results: dict[str, Any], match: str
):
    root, path = write_root(tmp_path / "root", TRUTH), write_results(tmp_path / "results.json", results)
    line = told("nuscenes-detection", path, root, "--backend", backend)
    assert re.search(match, line), line


def test_of_a_sample_that_comes_twice_the_last_boxes_count_as_on_the_server(
    scored: Callable[..., Scored], tmp_path: Path
):
    root, once = write_root(tmp_path / "root", TRUTH), write_results(tmp_path / "once.json", GUESSES)
    twice = tmp_path / "twice.json"
    twice.write_text(once.read_text().replace('"results": {', '"results": {"a": [], '))
    wanted = scored("nuscenes-detection", once, root)["metrics"]
    for backend in ("fast", "official"):
        got = scored("nuscenes-detection", twice, root, "--backend", backend)["metrics"]
        assert got == pytest.approx(wanted, abs=1e-9)


# Argoverse 2.

def test_argoverse2_by_a_file_of_labels_and_by_a_split_folder(scored: Callable[..., Scored], tmp_path: Path):
    detections, labels = tmp_path / "detections.feather", tmp_path / "labels.feather"
    argoverse2_table("score", (20, 0.9), (61.5, 0.8)).to_feather(detections)
    truth = argoverse2_table("num_interior_pts", (20, 5), (60, 7), (90, 3))
    truth.to_feather(labels)
    (tmp_path / "val/log").mkdir(parents=True)
    truth.drop(columns="log_id").to_feather(tmp_path / "val/log/annotations.feather")
    page = tmp_path / "page.html"
    by_file = scored("argoverse2", detections, labels, "--no-roi", "--report", str(page))
    assert by_file["metrics"]["BUS_AP"] == pytest.approx((2 * 34 + 2 * 67) / 404, abs=0.01)   # one, then two of three
    assert by_file["notes"] == []
    by_folder = scored("argoverse2", detections, tmp_path / "val", "--no-roi", "--backend", "official")
    assert by_folder["metrics"] == pytest.approx(by_file["metrics"], abs=1e-9)
    row = page.read_text("utf-8").partition("<h2>Recall by range</h2>")[2].partition("<td>BUS</td>")[2]
    assert row.startswith("<td>1</td><td>–</td><td>0.5</td><td>–</td></tr>")     # within 25, 50, 100 and 150 m


def test_sweeps_that_only_one_table_has_are_told(scored: Callable[..., Scored], tmp_path: Path):
    detections, labels = tmp_path / "detections.feather", tmp_path / "labels.feather"
    found = argoverse2_table("score", (20, 0.9), (20, 0.8), timestamp_ns=[1, 3], category=["BUS", "ANIMAL"])
    found.to_feather(detections)
    argoverse2_table("num_interior_pts", (20, 5), (20, 5), timestamp_ns=[1, 2]).to_feather(labels)
    assert scored("argoverse2", detections, labels, "--no-roi")["notes"] == [
        "1 of 2 labelled sweeps have no detections: they count as empty.",
        "1 sweeps of the detections have no labels: what is found there is false.",
        "1 detections are of categories that are not scored, as on the server.",
    ]


def test_what_cannot_be_scored_as_argoverse2_is_told(told: Callable[..., str], tmp_path: Path):
    detections, labels = tmp_path / "detections.feather", tmp_path / "labels.feather"
    argoverse2_table("num_interior_pts", (20, 5)).to_feather(labels)
    argoverse2_table("score", (20, math.nan)).to_feather(detections)
    assert "--maps FOLDER, or --no-roi" in told("argoverse2", detections, labels)
    assert "detections hold numbers that are not finite" in told("argoverse2", detections, labels, "--no-roi")
    argoverse2_table("score", (20, 0.5)).drop(columns="qz").to_feather(detections)
    assert "qz: expected a column of this name" in told("argoverse2", detections, labels, "--no-roi")
    (tmp_path / "val/other").mkdir(parents=True)
    argoverse2_table("num_interior_pts", (20, 5)).to_feather(tmp_path / "val/other/annotations.feather")
    argoverse2_table("score", (20, 0.5)).to_feather(detections)
    assert f"log_id: expected logs of {tmp_path / 'val'}, got log" in told("argoverse2", detections, tmp_path / "val")


# Waymo.

def test_waymo_objects(scored: Callable[..., Scored], tmp_path: Path):
    truth = waymo_file(tmp_path / "truth.bin", 10.0, 40.0, 20.0, num_points=9, times=[1, 1, 2])
    found = waymo_file(tmp_path / "found.bin", 10.0, 60.0, 30.0, scores=[0.9, 0.2, 0.4], times=[1, 1, 3])
    page = tmp_path / "page.html"
    content = scored("waymo", found, truth, "--report", str(page))
    assert content["metrics"]["VEHICLE_L1_AP"] == pytest.approx(1 / 3, abs=0.02)       # one of three, found first
    assert content["metrics"]["RANGE_VEHICLE_[30, 50)_L1_AP"] == 0.0
    assert content["notes"] == [
        "1 of 3 frames have no predictions: their boxes are missed.",
        "1 of 3 frames have no true boxes: what is found there is false.",
    ]
    text = page.read_text(encoding="utf-8")
    assert "precision over recall, LEVEL_2" in text
    assert "<h2>AP by range</h2>" in text


def test_a_box_of_waymo_without_a_size_overlaps_with_nothing(scored: Callable[..., Scored], tmp_path: Path):
    truth = waymo_file(tmp_path / "truth.bin", 10.0, num_points=9)
    flat = WaymoObjects.from_columns(["drive"], [1], [[10.0, 0.0, 1.0, 4.0, 0.0, 1.5, 0.0]], [1], scores=[0.9])
    found = write_waymo_objects(tmp_path / "found.bin", flat)
    assert scored("waymo", found, truth)["metrics"]["VEHICLE_L1_AP"] == 0.0


def test_waymo_truth_without_points_is_told(told: Callable[..., str], tmp_path: Path):
    truth, found = waymo_file(tmp_path / "truth.bin", 10.0), waymo_file(tmp_path / "found.bin", 10.0, scores=[0.5])
    assert "none of the 1 objects has num_lidar_points_in_box > 0" in told("waymo", found, truth)


def test_waymo_with_tolerance_along_the_line_of_sight(scored: Callable[..., Scored], tmp_path: Path):
    """A vehicle 40 m ahead that is placed 2 m further on: no overlap of 0.7, but within a tenth of the distance."""
    truth = waymo_file(tmp_path / "truth.bin", 40.0, num_points=9)
    found = waymo_file(tmp_path / "found.bin", 42.0, scores=[0.9])
    assert scored("waymo", found, truth)["metrics"]["VEHICLE_L1_AP"] == 0.0
    metrics = scored("waymo-let-3d", found, truth)["metrics"]
    assert metrics["VEHICLE_L1_LET_AP"] == pytest.approx(1.0, abs=1e-6)
    assert metrics["VEHICLE_L1_LET_APL"] < 0.6              # the affinity of an error of half the tolerance


def test_tolerances_must_be_positive(told: Callable[..., str], tmp_path: Path):
    truth = waymo_file(tmp_path / "truth.bin", 40.0, num_points=9)
    assert "tolerances must be > 0, got 0.0 and 0.5 m" in told("waymo-let-3d", truth, truth, "--tolerance", "0")
