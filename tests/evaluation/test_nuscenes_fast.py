"""nuScenes scores from columns against the devkit's, to the last bit, and what both refuse."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
from nuscenes_cases import Case, as_text, guess, seeded_case

from perception.evaluation.detection.nuscenes_boxes import BoxTable, NuScenesBoxes
from perception.evaluation.detection.nuscenes_config import NuScenesConfig
from perception.evaluation.detection.nuscenes_evaluation import evaluate_nuscenes_boxes
from perception.evaluation.detection.nuscenes_filters import Surroundings
from perception.evaluation.nuscenes_detection import NuScenesScores, evaluate_nuscenes


def assert_alike(case: Case, **more: Any) -> NuScenesScores:
    fast, official = (evaluate_nuscenes(*case.arguments(), backend=name, **more) for name in ("fast", "official"))
    assert as_text(fast) == as_text(official)
    return fast


def outcome(case: Case, backend: Any) -> str:
    try:
        return as_text(evaluate_nuscenes(*case.arguments(), backend=backend))
    except ValueError:
        return "refused"


@pytest.mark.parametrize("step", [0.0, 0.5])
@pytest.mark.parametrize("seed", range(6))
@pytest.mark.filterwarnings("ignore:invalid value encountered in scalar divide")
def test_crowds_score_as_the_devkit_scores_them(seed: int, step: float):
    scores = assert_alike(seeded_case(seed, step=step))
    assert scores.summary["mean_ap"] > 0.02                # something was matched


def test_other_settings_score_as_the_devkit_scores_them():
    ranges = dict(reversed({**NuScenesConfig().class_range, "car": 12.5, "barrier": 60}.items()))
    config = {**NuScenesConfig().serialize(), "class_range": ranges, "dist_ths": [3, 0.25], "dist_th_tp": 3,
              "min_recall": 0.33, "min_precision": 0.0, "mean_ap_weight": 2.5}
    assert_alike(seeded_case(3), config=config)


def test_the_default_settings_are_the_devkits():
    from nuscenes.eval.common.config import config_factory

    assert json.dumps(NuScenesConfig().serialize()) == json.dumps(config_factory("detection_cvpr_2019").serialize())


def test_boxes_that_name_another_sample_are_matched_there_as_in_the_devkit(caplog: pytest.LogCaptureFixture):
    case = seeded_case(4)
    tokens = [*case.truth, "nowhere"]
    for position, row in enumerate(row for rows in case.predictions.values() for row in rows):
        row["sample_token"] = tokens[position % len(tokens)]
    assert_alike(case)
    assert "name another as theirs" in caplog.text


def test_boxes_without_a_score_count_with_minus_one_as_in_the_devkit():
    case = small_case()
    for rows in case.predictions.values():
        for row in rows:
            del row["detection_score"]
    assert_alike(case)


@pytest.mark.parametrize("turn", [0.0, 0.3])
def test_cycles_on_the_faces_of_a_rack_are_in_it_if_the_devkit_has_them_in(turn: float):
    rotation = [math.cos(turn / 2), 0.0, 0.0, math.sin(turn / 2)]
    ahead, side = np.array([math.cos(turn), math.sin(turn), 0.0]), np.array([-math.sin(turn), math.cos(turn), 0.0])
    center, case = np.array([1015.7, 610.1, 0.3]), small_case()
    case.racks["a"] = [{"translation": center.tolist(), "size": [2.2, 6.6, 1.3], "rotation": rotation}]
    rng = np.random.default_rng(0)
    for u, v, w in rng.choice([-1.0, -0.7, 0.2, 1.0, 1.1], (60, 3)):
        point = center + u * 3.3 * ahead + v * 1.1 * side + [0, 0, w * 0.65]
        case.predictions["a"].append({**guess(), "translation": point.tolist(), "detection_name": "motorcycle"})
    kept = assert_alike(case).num_predictions
    assert 2 < kept < 62                                   # some are in and some are not


def test_a_rack_of_no_orientation_holds_what_the_devkit_says():
    case = small_case()
    case.racks["a"] = [{"translation": [1015.0, 612.0, 0.0], "size": [2.0, 4.0, 1.0], "rotation": [0.0] * 4}]
    case.predictions["a"].append({**guess(), "detection_name": "bicycle"})
    assert_alike(case)


# What is refused, and what is not.

def small_case() -> Case:
    truth = {**guess(), "num_pts": 3}
    far = {**guess(), "translation": [1020.0, 613.0, 1.0]}
    ego = [1010.0, 612.0, 0.0]
    return Case({"a": [truth], "b": []}, {"b": [], "a": [guess(), far]}, {"a": ego, "b": ego}, {})


@pytest.mark.parametrize("backend", ["fast", "official"])
@pytest.mark.parametrize("wrong", [
    {"translation": [math.nan, 0.0, 0.0]}, {"translation": [0.0, 0.0]}, {"translation": ["1", "2", "3"]},
    {"translation": None}, {"size": [1.0, math.nan, 1.0]}, {"size": "abc"},
    {"rotation": [math.nan] * 4}, {"rotation": [1.0, 0.0, 0.0]}, {"velocity": [0.0]}, {"detection_name": "lorry"},
    {"detection_name": None}, {"detection_name": ["car"]}, {"attribute_name": "vehicle.flying"},
    {"attribute_name": None}, {"detection_score": math.nan}, {"detection_score": None}, {"detection_score": "high"},
    {"num_pts": None}, {"num_pts": math.nan}, {"sample_token": 7}, {"sample_token": None},
    {"ego_translation": [math.nan, 0.0, 0.0]}, {"ego_translation": [0.0]},
], ids=repr)
def test_a_malformed_box_is_refused_by_both(wrong: dict[str, Any], backend: Any):
    case = small_case()
    case.predictions["a"][1] |= wrong
    with pytest.raises(ValueError, match="not a row of the nuScenes results format"):
        evaluate_nuscenes(*case.arguments(), backend=backend)


@pytest.mark.parametrize("field", ["translation", "size", "rotation", "velocity", "sample_token", "detection_name",
                                   "attribute_name"])
def test_a_box_without_a_field_is_refused_by_name(field: str):
    case = small_case()
    del case.predictions["a"][1][field]
    with pytest.raises(ValueError, match=f"box 1 of sample 'a' is not a row of .* it lacks '{field}'"):
        evaluate_nuscenes(*case.arguments())
    assert outcome(case, "official") == "refused"


@pytest.mark.parametrize("odd", [
    {"translation": [1012, 613, 1]}, {"translation": [[0.0], [0.0], [0.0]]},
    {"detection_score": "0.25"}, {"detection_score": True}, {"num_pts": "4"},
    {"num_pts": 0}, {"num_pts": 2.7}, {"velocity": [math.nan, 1.0]}, {"velocity": [math.inf, 1.0]},
    {"translation": [math.inf, 0.0, 0.0]}, {"size": [math.inf, 1.0, 1.0]}, {"detection_score": math.inf},
    {"detection_score": -math.inf}, {"detection_score": -0.5}, {"detection_score": 7.0}, {"rotation": [0.0] * 4},
    {"rotation": [1e-170, 0.0, 0.0, 0.0]}, {"tracking_id": 5}, {"ego_translation": [1, 2, 3]},
    {"size": [0.0, 1.0, 1.0]}, {"size": [-1.0, -1.0, 1.0]}, {"translation": [1e9, 0.0, 0.0], "size": [0.0, 0.0, 0.0]},
    {"translation": [1012, 615.5, 1.0], "size": [0.0, 0.0, 0.0]}, {"attribute_name": ""},
], ids=repr)
@pytest.mark.parametrize("position", [0, 1])
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_an_odd_box_is_accepted_by_both_or_by_none(odd: dict[str, Any], position: int):
    case = small_case()
    case.truth["a"].append({**case.truth["a"][0], "translation": [1019.5, 613.0, 1.0]})
    case.predictions["a"][position] |= odd
    assert outcome(case, "fast") == outcome(case, "official")


def test_a_size_of_zero_is_refused_once_it_is_matched():
    case = small_case()
    case.predictions["a"][0]["size"] = [0.0, 1.0, 1.0]
    with pytest.raises(ValueError, match=r"sizes must be > 0 m, got \[0.0, 1.0, 1.0\] in sample 'a'"):
        evaluate_nuscenes(*case.arguments())


@pytest.mark.parametrize("backend", ["fast", "official"])
def test_more_boxes_than_a_sample_may_have_are_refused(backend: Any):
    case = small_case()
    case.predictions["b"] = [{**guess(), "sample_token": "b"}] * 501
    with pytest.raises(ValueError, match="at most 500 boxes, got one of 501"):
        evaluate_nuscenes(*case.arguments(), backend=backend)


@pytest.mark.parametrize(("wrong", "text"), [
    ({"dist_th_tp": 3.0}, "dist_th_tp must be one of"), ({"dist_fcn": "iou"}, "dist_fcn must be 'center_distance'"),
    ({"class_range": {"car": 50}}, "class_range must have the classes"), ({"min_recall": 1.5}, "min_recall must lie"),
    ({"min_precision": 1.0}, "min_precision must lie"),
])
def test_settings_that_cannot_be_are_refused(wrong: dict[str, Any], text: str):
    with pytest.raises(ValueError, match=text):
        NuScenesConfig.from_mapping({**NuScenesConfig().serialize(), **wrong})
    with pytest.raises(ValueError, match="none of the name 'class_range'"):
        NuScenesConfig.from_mapping({})


def test_an_unknown_backend_is_refused():
    with pytest.raises(ValueError, match="backend must be one of fast, official, got 'quick'"):
        evaluate_nuscenes(*small_case().arguments(), backend="quick")  # type: ignore[arg-type]


# Columns.

def columns(**changed: Any) -> NuScenesBoxes:
    fields = vars(NuScenesBoxes.from_rows({"a": [guess(), guess()], "b": [guess()]})) | changed
    fields.pop("sample", None)
    return NuScenesBoxes(**fields)


@pytest.mark.parametrize(("changed", "text"), [
    ({"tokens": ("a", "a")}, "tokens must differ, got 2 of which 1"),
    ({"offsets": np.array([0, 3])}, "offsets must rise from 0 over 2 samples"),
    ({"size": np.ones((3, 2))}, r"size must be float64 \(3, 3\), got float64 \(3, 2\)"),
    ({"label": np.full(3, 10, np.int8)}, r"label must lie in \[0, 10\), got 10 to 10"),
    ({"attribute": np.full(3, -2, np.int8)}, r"attribute must lie in \[-1, 8\)"),
    ({"score": np.array([0.1, np.nan, 0.2])}, "score must not be NaN, row 1 is"),
    ({"translation": np.full((3, 3), np.nan)}, "translation must not be NaN, row 0 is"),
])
def test_columns_that_do_not_fit_are_refused(changed: dict[str, Any], text: str):
    with pytest.raises(ValueError, match=text):
        columns(**changed)


def test_samples_without_surroundings_or_truth_are_refused():
    boxes, nowhere = columns(), Surroundings.from_rows({"a": [0.0, 0.0, 0.0]}, {})
    with pytest.raises(ValueError, match=r"1 samples have no ego position, e\.g\. 'b'"):
        evaluate_nuscenes_boxes(boxes, boxes, nowhere)
    with pytest.raises(ValueError, match=r"the same samples; 2 differ, e\.g\. 'b'"):
        evaluate_nuscenes_boxes(boxes, columns(tokens=("a", "c")), nowhere)


def test_a_table_without_samples_is_empty():
    assert len(BoxTable().boxes()) == 0
