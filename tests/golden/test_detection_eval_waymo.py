"""Waymo's metrics against values that the official C++ tools gave."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from perception.evaluation.waymo import (
    WaymoScores,
    evaluate_waymo,
    evaluate_waymo_segmentation,
    read_waymo_objects,
    read_waymo_segmentation,
)
from perception.evaluation.waymo.breakdowns import BREAKDOWNS
from perception.evaluation.waymo.coincident import lost_by_reference
from perception.evaluation.waymo.objects import WaymoObjects

AP_TOLERANCE = 3e-7        # the areas are sums of float32, in an order that no document tells
SUM_TOLERANCE = 5e-4       # the official sums of heading accuracies are float32
PRINTED_TOLERANCE = 1e-6   # of six digits


@pytest.mark.golden_files("detection_eval", pattern="waymo/*_expected.json")
def test_waymo_scores_equal_the_official_tools(golden_file: Path, shared_data: Path):
    expected = json.loads(golden_file.read_text(encoding="utf-8"))
    paths = {name: located(path, golden_file, shared_data) for name, path in expected["files"].items()}
    if "per_class_iou" in expected:
        compare_segmentation(expected, paths)
    elif "cases" in expected:
        for case, wanted in expected["cases"].items():
            matching, box_type = case.lower().split("/type_")
            compare(wanted, scores_of(paths, expected, matching, box_type))
    elif "reference" in expected:
        matching, box_type = (expected["config"][name].lower() for name in ("matcher", "box_type"))
        compare_example(expected, paths, matching, box_type.removeprefix("type_"))
    else:
        pytest.fail(f"{golden_file} is of no known kind")


def test_on_the_sparse_set_the_right_places_give_the_same_counts(golden: Any):
    """The sheet says so of this set; the crowds of the behaviour tests tell the two apart."""
    path = golden("detection_eval") / "waymo/synth_a_expected.json"
    expected = json.loads(path.read_text(encoding="utf-8"))
    paths = {name: path.parent / file for name, file in expected["files"].items()}
    scores = scores_of(paths, expected, "score_first", "3d", reference_index_quirk=False)
    compare(expected["cases"]["SCORE_FIRST/TYPE_3D"], scores)


def scores_of(
    paths: dict[str, Path], expected: dict[str, Any], matching: str, box_type: str, **options: Any
) -> WaymoScores:
    return evaluate_waymo(
        read_waymo_objects(paths["ground_truths"]), read_waymo_objects(paths["predictions"]), box_type=box_type,
        matching=matching, breakdowns=tuple(BREAKDOWNS), iou_thresholds=expected["config"]["iou_thresholds"],
        **{"reference_index_quirk": matching == "score_first", **options},
    )


def compare(wanted: dict[str, Any], scores: WaymoScores, suffix: str = "") -> None:
    """Counts, sums and areas of every shard; ``suffix`` chooses among the areas of a file."""
    assert scores.num_frames == wanted["num_examples"]
    assert scores.num_predictions == wanted["num_predictions"]
    assert scores.num_ground_truth == wanted["num_ground_truths_kept"]
    names = [row["name"] for row in wanted["breakdowns"]]
    assert [shard.name for shard in scores.shards if shard.name in set(names)] == names
    for row in wanted["breakdowns"]:
        shard = scores[row["name"]]
        if not suffix:
            for column in ("tp", "fp", "fn"):
                assert getattr(shard, column).tolist() == row[column], (row["name"], column)
            np.testing.assert_allclose(shard.sum_ha, row["sum_ha"], rtol=0, atol=SUM_TOLERANCE, err_msg=row["name"])
        assert shard.ap == pytest.approx(row[f"AP{suffix}"], abs=AP_TOLERANCE), row["name"]
        assert shard.aph == pytest.approx(row[f"APH{suffix}"], abs=AP_TOLERANCE), row["name"]


def compare_example(expected: dict[str, Any], paths: dict[str, Path], matching: str, box_type: str) -> None:
    """Waymo's own example: with its tool's mistake every count, without it the areas of a correct IoU."""
    with_mistake = scores_of(paths, expected, matching, box_type, coincident_boxes="reference")
    compare(expected["reference"], with_mistake)
    for name, row in expected["documented_table"].items():
        assert with_mistake[name].ap == pytest.approx(row["AP"], abs=PRINTED_TOLERANCE), name
        assert with_mistake[name].aph == pytest.approx(row["APH"], abs=PRINTED_TOLERANCE), name
    compare(expected["reference"], scores_of(paths, expected, matching, box_type), "_exact_iou")
    pair = expected["known_degenerate_pair"]
    lost = lost_pairs(read_waymo_objects(paths["predictions"]), read_waymo_objects(paths["ground_truths"]))
    assert lost == [(pair["prediction_index"], pair["ground_truth_index"])]


def lost_pairs(predictions: WaymoObjects, truths: WaymoObjects) -> list[tuple[int, int]]:
    """All pairs of a frame, by their places in the files, that the official tool is taken to lose."""
    lost = []
    for row in range(len(predictions)):
        same_centre = np.flatnonzero((truths.boxes[:, :3] == predictions.boxes[row, :3]).all(1))
        here = np.repeat(predictions.boxes[row:row + 1], len(same_centre), axis=0)
        lost += [(row, int(truth)) for truth in same_centre[lost_by_reference(here, truths.boxes[same_centre])]]
    return lost


def compare_segmentation(expected: dict[str, Any], paths: dict[str, Path]) -> None:
    truth = read_waymo_segmentation(paths["ground_truths"])
    scores = evaluate_waymo_segmentation(truth, read_waymo_segmentation(paths["predictions"]))
    flat = scores.flat()
    assert scores.num_frames == expected["num_frames"]
    assert flat.pop("mIoU") == pytest.approx(expected["miou"], abs=PRINTED_TOLERANCE)
    names = {"TYPE_CONSTRUCTION_CONE": "cone"}
    wanted = {
        f"{names.get(name, name.removeprefix('TYPE_').lower())}_IoU": iou
        for name, iou in expected["per_class_iou"].items()
    }
    assert flat == pytest.approx(wanted, abs=PRINTED_TOLERANCE)


def located(path: str, golden_file: Path, shared_data: Path) -> Path:
    """Paths that begin with data/ lie beside the samples, others beside the file."""
    return shared_data / path.removeprefix("data/") if path.startswith("data/") else golden_file.parent / path
