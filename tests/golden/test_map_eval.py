"""Map metrics against the values that the references' own evaluation code gave."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from perception.evaluation.maps.dilated_lines import dilations_meet
from perception.evaluation.maps.elements import MapElements
from perception.evaluation.maps.lane_distances import area_distances, lane_distances
from perception.evaluation.maps.openlanev2_ap import evaluate_openlanev2
from perception.evaluation.maps.point_distances import PointSets, chamfer_pairs, frechet_pairs
from perception.evaluation.maps.vector_map_ap import evaluate_vector_map
from perception.structures import LaneGraph, Polylines

ONE_PAIR = np.zeros((1, 2), np.int64)
CATEGORIES = {1: 0, 2: 1}                                  # of the files: index into AREA_CLASSES


@pytest.mark.golden_files("map_eval", pattern="*.json")
def test_every_value_equals_the_references(golden_file: Path):
    content = json.loads(golden_file.read_text(encoding="utf-8"))
    CHECKS[content["kind"]](content)


def check_polyline_map(content: dict[str, Any]) -> None:
    names, dim = content["classes"], content["coord_dim"]
    truth = [elements(frame["gts"], dim) for frame in content["frames"]]
    predictions = [elements(frame["preds"], dim, "score") for frame in content["frames"]]
    assert content["expected"]
    for name, by_convention in content["expected"].items():
        for convention, expected in by_convention.items():
            scores = evaluate_vector_map(
                truth, predictions, names, dim=dim, thresholds=content["thresholds"][name],
                convention="maptrv2" if dim == 3 and convention == "maptr" else convention,
            )
            flat = scores.flat()
            for row, label in enumerate(names):
                close(scores.ap[row], expected["AP_per_threshold"][label], 1e-6, f"{name} {convention} {label}")
                close(flat[f"{label}_AP"], expected["AP"][label], 1e-6, f"{name} {convention} {label}")
            close(flat["mAP"], expected["mAP"], 1e-6, f"{name} {convention}")


def elements(rows: list[dict[str, Any]], dim: int, *columns: str) -> MapElements:
    """Elements of a frame; a column beside points and labels is the scores."""
    scores = [row[column] for row in rows for column in columns] if columns else None
    return MapElements.from_lines([row["pts"] for row in rows], [row["label"] for row in rows], scores, dim)


def check_distances(content: dict[str, Any]) -> None:
    assert content["pairs"]
    for pair in content["pairs"]:
        a, b = (MapElements.from_lines([pair[side]], [0]).resampled(100) for side in "ab")
        found = {
            "resampled_a_100": a[0],
            "resampled_b_100": b[0],
            "chamfer_100": chamfer_pairs(PointSets.full(a), PointSets.full(b), ONE_PAIR)[0],
            "prefilter_pass": dilations_meet(PointSets.full(a), PointSets.full(b), ONE_PAIR, 2.0)[0],
            "frechet_100": frechet_pairs(PointSets.full(a), PointSets.full(b), ONE_PAIR)[0],
            "frechet_reversed_100": frechet_pairs(PointSets.full(a[:, ::-1]), PointSets.full(b), ONE_PAIR)[0],
        }
        expected = {name: value for name, value in pair.items() if name not in ("a", "b") and value is not None}
        assert expected.keys() <= found.keys()
        for name, value in expected.items():
            close(found[name], value, 1e-9, name)


def check_openlanev2(content: dict[str, Any]) -> None:
    truth = [lane_graph(frame["gt"]) for frame in content["frames"]]
    predictions = [lane_graph(frame["pred"]) for frame in content["frames"]]
    for frame, true, predicted in zip(content["frames"], truth, predictions, strict=True):
        close(lane_distances(true, predicted), frame["lane_distance"], 1e-5, "lane_distance")
        close(area_distances(true, predicted), frame["area_distance"], 1e-5, "area_distance")
    scores = evaluate_openlanev2(truth, predictions)
    found = {
        "AP_ls": scores.ap_ls.mean(), "AP_ls_per_threshold": scores.ap_ls,
        "AP_ped": scores.ap_ped.mean(), "AP_ped_per_threshold": scores.ap_ped,
        "AP_boundary": scores.ap_boundary.mean(), "AP_boundary_per_threshold": scores.ap_boundary,
        "DET_a": scores.det_a, "TOP_lsls": scores.top_lsls, "mAP_lanesegnet": scores.mean_ap,
    }
    assert content["expected"]
    assert content["expected"].keys() <= found.keys()
    for name, value in content["expected"].items():
        close(found[name], value, 1e-6, name)


def lane_graph(frame: dict[str, Any]) -> LaneGraph:
    lanes, areas = frame["lane_segment"], frame["area"]
    lines = {
        ours: torch.tensor([lane[theirs] for lane in lanes] or np.zeros((0, 10, 3)), dtype=torch.float64)
        for ours, theirs in (("centers", "centerline"), ("lefts", "left_laneline"), ("rights", "right_laneline"))
    }
    types = torch.zeros(len(lanes), dtype=torch.int64)
    return LaneGraph(
        **lines, left_types=types, right_types=types,
        connections=torch.tensor(frame["topology_lsls"], dtype=torch.float64).reshape(len(lanes), len(lanes)),
        areas=Polylines.from_lines([torch.tensor(area["points"], dtype=torch.float64) for area in areas], dim=3),
        area_labels=torch.tensor([CATEGORIES[area["category"]] for area in areas], dtype=torch.int64),
        scores=confidence(lanes), area_scores=confidence(areas),
    )


def confidence(rows: list[dict[str, Any]]) -> torch.Tensor:
    """Of the predictions; the truth has none and is not asked for it."""
    return torch.tensor([row.get("confidence", 1.0) for row in rows], dtype=torch.float64)


def close(found: Any, expected: Any, tolerance: float, where: str) -> None:
    wanted = np.array(expected, np.float64)
    got = np.asarray(found, np.float64)
    np.testing.assert_allclose(got, wanted.reshape(got.shape), atol=tolerance, rtol=0, err_msg=where)


CHECKS = {
    "polyline_map": check_polyline_map,
    "distances": check_distances,
    "openlanev2_lanesegment": check_openlanev2,
}
