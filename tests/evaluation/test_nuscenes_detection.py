"""nuScenes scores on boxes worked out by hand, on data roots and through the metric class."""

from __future__ import annotations

import io
import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console

from perception.errors import DataError
from perception.evaluation.nuscenes_detection import (
    NuScenesDetectionMetric,
    NuScenesScores,
    evaluate_nuscenes,
    evaluate_nuscenes_root,
    nuscenes_table,
)
from perception.evaluation.nuscenes_results import DETECTION_NAMES
from perception.registry import METRICS
from perception.structures import SE3, Boxes3D, Predictions

CATEGORIES = {"car": "vehicle.car", "pedestrian": "human.pedestrian.adult", "bicycle": "vehicle.bicycle"}


def row(token: str, x: float, y: float = 0.0, name: str = "car", **fields: Any) -> dict[str, Any]:
    standard = {
        "sample_token": token, "translation": [x, y, 1.0], "size": [2.0, 4.0, 1.5], "rotation": [1.0, 0.0, 0.0, 0.0],
        "velocity": [0.0, 0.0], "detection_name": name, "attribute_name": "",
    }
    return {**standard, **fields}


def truth(token: str, x: float, y: float = 0.0, name: str = "car", **fields: Any) -> dict[str, Any]:
    return row(token, x, y, name, **{"num_pts": 5, **fields})


def guess(token: str, x: float, score: float, y: float = 0.0, name: str = "car", **fields: Any) -> dict[str, Any]:
    return row(token, x, y, name, detection_score=score, **fields)


def score(ground_truth: list[dict[str, Any]], predictions: list[dict[str, Any]], **more: Any) -> NuScenesScores:
    """One sample "a" seen from the origin."""
    return evaluate_nuscenes({"a": ground_truth}, {"a": predictions}, {"a": [0.0, 0.0, 0.0]}, **more)


# Worked by hand: a car 10 m ahead.

@pytest.mark.parametrize(("offset", "thresholds_met"), [(0.0, 4), (0.7, 3), (1.5, 2), (3.0, 1), (4.0, 0)])
def test_a_car_that_is_off_by_some_metres_counts_at_the_wider_thresholds_only(offset: float, thresholds_met: int):
    scores = score([truth("a", 10.0)], [guess("a", 10.0 + offset, 0.9)])
    assert scores.summary["mean_dist_aps"]["car"] == pytest.approx(thresholds_met / 4)


def test_one_class_of_ten_found_perfectly_gives_a_tenth_of_the_map():
    flat = score([truth("a", 10.0)], [guess("a", 10.0, 0.9)]).flat()
    assert flat["mAP"] == pytest.approx(0.1)
    assert flat["mATE_m"] == pytest.approx(0.9)            # nine classes without ground truth count as 1


def test_errors_are_those_of_the_matched_box():
    prediction = guess("a", 10.3, 0.9, y=0.4, rotation=[math.cos(0.1), 0, 0, math.sin(0.1)], velocity=[3.0, 4.0])
    flat = score([truth("a", 10.0)], [prediction]).flat()
    assert flat["car_ATE_m"] == pytest.approx(0.5)
    assert flat["car_AOE_rad"] == pytest.approx(0.2)
    assert flat["car_AVE_mps"] == pytest.approx(5.0)


def test_half_of_the_volume_is_a_scale_error_of_one_half():
    flat = score([truth("a", 10.0)], [guess("a", 10.0, 0.9, size=[2.0, 4.0, 0.75])]).flat()
    assert flat["car_ASE"] == pytest.approx(0.5)


def test_a_barrier_turned_around_has_no_orientation_error():
    turned = guess("a", 10.0, 0.9, name="barrier", rotation=[0.0, 0.0, 0.0, 1.0])
    assert score([truth("a", 10.0, name="barrier")], [turned]).flat()["barrier_AOE_rad"] == pytest.approx(0.0, abs=1e-9)


# Filters.

@pytest.mark.parametrize(("name", "limit"), [("car", 50.0), ("pedestrian", 40.0), ("traffic_cone", 30.0)])
def test_boxes_at_the_range_of_their_class_do_not_count(name: str, limit: float):
    scores = score([truth("a", limit, name=name), truth("a", limit - 0.01, name=name)], [])
    assert scores.num_ground_truth == 1


def test_ground_truth_without_points_does_not_count():
    assert score([truth("a", 5.0, num_pts=0), truth("a", 8.0)], []).num_ground_truth == 1


@pytest.mark.parametrize(("name", "left"), [("bicycle", 0), ("motorcycle", 0), ("pedestrian", 1)])
def test_cycles_in_a_rack_do_not_count(name: str, left: int):
    rack = {"translation": [5.0, 0.0, 1.0], "size": [2.0, 4.0, 2.0], "rotation": [1.0, 0.0, 0.0, 0.0]}
    scores = score([truth("a", 5.0, name=name)], [guess("a", 5.0, 0.9, name=name)], bicycle_racks={"a": [rack]})
    assert (scores.num_ground_truth, scores.num_predictions) == (left, left)


# Edges and refusals.

def test_no_predictions_at_all_score_zero():
    flat = score([truth("a", 10.0)], []).flat()
    assert (flat["NDS"], flat["mAP"]) == (0.0, 0.0)


def test_errors_without_a_meaning_are_left_out():
    flat = score([truth("a", 10.0, name="traffic_cone")], [guess("a", 10.0, 0.9, name="traffic_cone")]).flat()
    assert "traffic_cone_ATE_m" in flat
    assert "traffic_cone_AOE_rad" not in flat


@pytest.mark.parametrize("velocity", [None, [None, None], [math.nan, math.nan]])
def test_an_unknown_true_velocity_is_not_an_error(velocity: Any):
    flat = score([truth("a", 10.0, velocity=velocity), truth("a", 20.0)],
                 [guess("a", 10.0, 0.9, velocity=[9.0, 9.0]), guess("a", 20.0, 0.8)]).flat()
    assert flat["car_AVE_mps"] == pytest.approx(0.0)


def test_samples_that_differ_are_refused():
    with pytest.raises(ValueError, match=r"predictions and ground_truth must have the same samples; 2 differ, e.g. 'a"):
        evaluate_nuscenes({"a": []}, {"b": []}, {"a": [0, 0, 0]})


@pytest.mark.parametrize("wrong", [{"detection_name": "lorry"}, {"size": [1.0, 2.0]}, {"velocity": [1.0]}])
def test_a_malformed_row_is_refused(wrong: dict[str, Any]):
    with pytest.raises(ValueError, match="not a row of the nuScenes results format"):
        score([truth("a", 10.0)], [{**guess("a", 10.0, 0.9), **wrong}])


# The table.

def test_the_table_shows_a_dash_for_what_is_not_defined_and_ignores_the_prefix():
    flat = score([truth("a", 10.0, name="traffic_cone")], [guess("a", 10.0, 0.9, name="traffic_cone")]).flat()
    text = io.StringIO()
    Console(file=text, width=120).print(nuscenes_table({f"nuscenes/{name}": value for name, value in flat.items()}))
    cone = next(line for line in text.getvalue().splitlines() if "traffic_cone" in line)
    assert cone.split()[3::2] == ["1.000", "0.000", "0.000", "-", "-", "-"]
    assert "ATE (m)" in text.getvalue()


# Data roots.

def write_root(root: Path, boxes: dict[str, list[dict[str, Any]]], scene: str = "scene-0003") -> Path:
    """A devkit root v1.0-trainval: one scene, the vehicle at the origin, annotations only."""
    tokens = list(boxes)
    annotations = [
        {"token": f"{token}-{i}", "sample_token": token, "instance_token": box["detection_name"],
         "visibility_token": "", "attribute_tokens": [], "num_lidar_pts": box["num_pts"], "num_radar_pts": 0,
         "prev": "", "next": "", **{field: box[field] for field in ("translation", "size", "rotation")}}
        for token in tokens for i, box in enumerate(boxes[token])
    ]
    tables: dict[str, list[dict[str, Any]]] = {
        "category": [{"token": name, "name": category} for name, category in CATEGORIES.items()],
        "instance": [{"token": name, "category_token": name} for name in CATEGORIES],
        "sensor": [{"token": "top", "channel": "LIDAR_TOP", "modality": "lidar"}],
        "calibrated_sensor": [{"token": "top", "sensor_token": "top"}],
        "ego_pose": [{"token": "origin", "translation": [0.0, 0.0, 0.0], "rotation": [1.0, 0.0, 0.0, 0.0]}],
        "scene": [{"token": scene, "name": scene}],
        "sample": [{"token": token, "scene_token": scene, "timestamp": 0, "prev": "", "next": ""} for token in tokens],
        "sample_data": [{"token": f"{token}-top", "sample_token": token, "ego_pose_token": "origin",
                         "calibrated_sensor_token": "top", "is_key_frame": True} for token in tokens],
        "sample_annotation": annotations,
        "log": [{"token": "log", "location": "boston-seaport"}],
        "map": [{"token": "map", "log_tokens": ["log"], "filename": "mask.png"}],
    }
    (root / "v1.0-trainval").mkdir(parents=True)
    (root / "mask.png").touch()
    for name in (*tables, "attribute", "visibility"):
        (root / "v1.0-trainval" / f"{name}.json").write_text(json.dumps(tables.get(name, [])))
    return root


BOXES = {
    "a": [truth("a", 10.0, velocity=None), truth("a", 12.0, 5.0, name="pedestrian", velocity=None)],
    "b": [truth("b", x, name=name, velocity=None) for x, name in ((20.0, "car"), (60.0, "car"), (8.0, "bicycle"))],
}
GUESSES = {
    "a": [guess("a", 10.2, 0.9), guess("a", 30.0, 0.7), guess("a", 12.0, 0.4, y=5.6, name="pedestrian")],
    "b": [guess("b", 21.2, 0.8), guess("b", 8.0, 0.5, name="bicycle")],
}


def write_results(path: Path, results: dict[str, Any]) -> Path:
    path.write_text(json.dumps({"meta": {"use_lidar": True}, "results": results}))
    return path


def test_a_root_with_one_scene_of_the_split_scores_as_the_same_boxes_do(tmp_path: Path):
    root, path = write_root(tmp_path / "root", BOXES), write_results(tmp_path / "results.json", GUESSES)
    scores = evaluate_nuscenes_root(root, "v1.0-trainval", "val", path, tmp_path / "out")
    plain = evaluate_nuscenes(BOXES, GUESSES, {"a": [0, 0, 0], "b": [0, 0, 0]})
    assert scores.flat() == plain.flat()
    assert scores.num_ground_truth == 4                    # the car at 60 m is too far


def test_a_root_scores_as_the_devkits_own_entry_does(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    from nuscenes import NuScenes
    from nuscenes.eval.common.config import config_factory
    from nuscenes.eval.detection.evaluate import DetectionEval

    root, path = write_root(tmp_path / "root", BOXES), write_results(tmp_path / "results.json", GUESSES)
    scores = evaluate_nuscenes_root(root, "v1.0-trainval", "val", path, tmp_path / "out")
    assert capsys.readouterr() == ("", "")                 # and it keeps silent, which the devkit does not

    tables = NuScenes("v1.0-trainval", str(root), verbose=False)
    config = config_factory("detection_cvpr_2019")
    DetectionEval(tables, config, str(path), "val", str(tmp_path / "devkit"), verbose=False).main(render_curves=False)
    for name in ("metrics_summary.json", "metrics_details.json"):
        official = json.loads((tmp_path / "devkit" / name).read_text())
        ours = json.loads((tmp_path / "out" / name).read_text())
        official.pop("eval_time", None), ours.pop("eval_time", None)
        assert json.dumps(ours) == json.dumps(official)    # as text, since NaN differs from itself
    assert scores.summary["mean_ap"] == json.loads((tmp_path / "devkit/metrics_summary.json").read_text())["mean_ap"]


def test_ground_truth_of_a_real_keyframe_against_itself_is_perfect(shared_data: Path, tmp_path: Path):
    root = shared_data / "nuscenes/devkit_root"
    metric = NuScenesDetectionMetric(str(root), "v1.0-mini", "mini_train", output_dir=str(tmp_path))
    metric.process([], [predictions_of_the_annotations(root)])
    flat = metric.evaluate(size=1)

    present = {name for name in DETECTION_NAMES if flat[f"nuscenes/{name}_AP"] > 0}
    assert present == {"car", "truck", "barrier", "pedestrian", "traffic_cone"}      # the others are out of range
    for name in present:
        assert flat[f"nuscenes/{name}_AP"] == pytest.approx(1.0)
        assert flat[f"nuscenes/{name}_ATE_m"] < 1e-4       # boxes are float32 in the ego frame
        assert flat[f"nuscenes/{name}_ASE"] < 1e-5
        assert flat.get(f"nuscenes/{name}_AOE_rad", 0.0) < 2e-3     # the car is pitched, boxes are upright


def predictions_of_the_annotations(root: Path) -> Predictions:
    from nuscenes import NuScenes
    from nuscenes.eval.detection.utils import category_to_detection_name
    from pyquaternion import Quaternion

    tables = NuScenes("v1.0-mini", str(root), verbose=False)
    sample = tables.sample[0]
    pose = tables.get("ego_pose", tables.get("sample_data", sample["data"]["LIDAR_TOP"])["ego_pose_token"])
    global_from_ego = SE3.from_quaternion(pose["rotation"], pose["translation"])
    rows, names = [], []
    for record in (tables.get("sample_annotation", token) for token in sample["anns"]):
        name, (w, l, h) = category_to_detection_name(record["category_name"]), record["size"]
        if name is not None and record["num_lidar_pts"] + record["num_radar_pts"] > 0:
            yaw = Quaternion(record["rotation"]).yaw_pitch_roll[0]
            rows.append([*record["translation"], l, w, h, yaw])
            names.append(DETECTION_NAMES.index(name))
    boxes = Boxes3D(torch.tensor(rows, dtype=torch.float64)).moved_by(global_from_ego.inverse()).to(torch.float32)
    scores = torch.linspace(0.9, 0.1, len(rows))
    return Predictions(sample["token"], 0, boxes, scores, torch.tensor(names), DETECTION_NAMES, global_from_ego)


def test_a_split_of_the_users_own_is_read_from_the_roots_splits_file(tmp_path: Path):
    root, path = write_root(tmp_path / "root", BOXES), write_results(tmp_path / "results.json", GUESSES)
    (root / "v1.0-trainval/splits.json").write_text('{"mine": ["scene-0003"]}')
    mine = evaluate_nuscenes_root(root, "v1.0-trainval", "mine", path)
    assert mine.flat() == evaluate_nuscenes_root(root, "v1.0-trainval", "val", path).flat()


@pytest.mark.parametrize(
    ("version", "split", "match"),
    [
        ("v1.0-mini", "mini_val", r"v1.0-mini: expected a folder with the tables of that version, got no such folder"),
        ("v1.0-trainval", "train", r"scene: expected a scene of the split 'train', got 1 scenes outside it"),
        ("v1.0-trainval", "vall", r"split: expected a split of nuScenes or of splits.json, got vall"),
    ],
)
def test_a_version_or_split_that_the_root_lacks_is_refused(tmp_path: Path, version: str, split: str, match: str):
    root, path = write_root(tmp_path / "root", BOXES), write_results(tmp_path / "results.json", GUESSES)
    with pytest.raises(DataError, match=match):
        evaluate_nuscenes_root(root, version, split, path)


@pytest.mark.parametrize(
    ("text", "match"),
    [
        (None, "file: expected a nuScenes results file, got no such file"),
        ("[1, 2", "results: expected the nuScenes results format"),
        ('{"meta": {}}', "results: expected the nuScenes results format"),
        ('{"meta": {}, "results": {"a": []}}', r"the 2 samples of the split, got 1 samples .* \(odd one: b"),
        ('{"meta": {}, "results": {"a": [{}], "b": []}}', "results format, got box 0 of sample 'a' .* lacks 'tr"),
    ],
)
def test_a_results_file_that_does_not_fit_is_refused(tmp_path: Path, text: str | None, match: str):
    root, path = write_root(tmp_path / "root", BOXES), tmp_path / "results.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(DataError, match=match):
        evaluate_nuscenes_root(root, "v1.0-trainval", "val", path)


def test_broken_tables_are_refused(tmp_path: Path):
    root = write_root(tmp_path / "root", BOXES)
    (root / "v1.0-trainval/sample.json").write_text("[")
    with pytest.raises(DataError, match=r"sample\.json: records: expected a JSON list of records"):
        evaluate_nuscenes_root(root, "v1.0-trainval", "val", tmp_path / "results.json")
    with pytest.raises(DataError, match="tables that the nuScenes devkit opens"):
        evaluate_nuscenes_root(root, "v1.0-trainval", "val", tmp_path / "results.json", backend="official")


# The metric class.

def predictions(token: str, x: float, score: float = 0.9) -> Predictions:
    boxes = Boxes3D(torch.tensor([[x, 0.0, 1.0, 4.0, 2.0, 1.5, 0.0, 0.0, 0.0]]))
    return Predictions(token, 0, boxes, torch.tensor([score]), torch.tensor([0]), DETECTION_NAMES, SE3.identity())


def scored(folder: Path, *samples: Predictions) -> dict[str, float]:
    """Scores of the metric class over a root of two samples."""
    metric = NuScenesDetectionMetric(str(write_root(folder / "root", BOXES)), output_dir=str(folder / "out"))
    metric.process([], samples)
    return metric.evaluate(size=2)


def test_the_metric_is_built_by_its_name_and_writes_all_three_files(tmp_path: Path):
    root = write_root(tmp_path / "root", BOXES)
    metric = METRICS.build({"type": "NuScenesDetectionMetric", "root": str(root), "output_dir": str(tmp_path / "out")})
    metric.process([], [predictions("a", 10.0), predictions("b", 20.0)])
    flat = metric.evaluate(size=2)
    assert flat["nuscenes/car_AP"] == pytest.approx(1.0)
    assert flat["nuscenes/mAP"] == pytest.approx(0.1)
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "results_nusc.json", "metrics_summary.json", "metrics_details.json",
    }


def test_a_frame_that_two_ranks_hand_in_counts_once(tmp_path: Path):
    flat = scored(tmp_path, predictions("a", 10.0), predictions("b", 20.0), predictions("a", 10.0))
    assert flat["nuscenes/car_AP"] == pytest.approx(1.0)   # a second car at the same place would be a false positive


def test_a_sample_without_predictions_counts_as_empty(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    assert 0 < scored(tmp_path, predictions("a", 10.0))["nuscenes/car_AP"] < 0.6
    assert "no predictions for 1 of 2 samples" in caplog.text


def test_a_frame_of_another_split_is_refused(tmp_path: Path):
    with pytest.raises(ValueError, match=r"predictions of 'c', not one of the split's 2 samples"):
        scored(tmp_path, predictions("c", 10.0))
