"""What is written into the nuScenes results file."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from perception.evaluation.detection.nuscenes_boxes import NuScenesBoxes
from perception.evaluation.detection.nuscenes_files import read_nuscenes_boxes
from perception.evaluation.nuscenes_results import (
    ATTRIBUTES,
    COLUMNS,
    DETECTION_NAMES,
    attribute_name,
    nuscenes_columns,
    nuscenes_rows,
    write_nuscenes_columns,
    write_nuscenes_results,
)
from perception.structures import SE3, Boxes3D, Predictions


def sample(boxes: list[list[float]], token: str = "a", pose: SE3 | None = None, label: int = 0) -> Predictions:
    tensor = torch.tensor(boxes, dtype=torch.float32).reshape(len(boxes), -1 if boxes else 9)
    scores = torch.linspace(0.9, 0.1, len(boxes))
    labels = torch.full((len(boxes),), label)
    return Predictions(token, 0, Boxes3D(tensor), scores, labels, DETECTION_NAMES, pose or SE3.identity())


def test_a_box_is_turned_and_moved_into_the_global_frame_and_its_size_becomes_w_l_h():
    pose = SE3.about_z(math.pi / 2, (100.0, 200.0, 1.0))   # the car looks along global y
    row = nuscenes_rows(sample([[10.0, 2.0, 0.5, 4.0, 2.0, 1.5, 0.0, 3.0, 0.0]], pose=pose))[0]
    assert row["translation"] == pytest.approx([98.0, 210.0, 1.5])
    assert row["size"] == pytest.approx([2.0, 4.0, 1.5])
    assert row["rotation"] == pytest.approx([math.sqrt(0.5), 0.0, 0.0, math.sqrt(0.5)])
    assert row["velocity"] == pytest.approx([0.0, 3.0], abs=1e-9)
    assert (row["detection_name"], row["attribute_name"]) == ("car", "vehicle.moving")


@given(yaw=st.floats(-3.1, 3.1), heading=st.floats(-3.1, 3.1), x=st.floats(-60, 60), y=st.floats(-60, 60))
def test_the_devkit_reads_back_the_box_that_was_written(yaw: float, heading: float, x: float, y: float):
    from pyquaternion import Quaternion

    pose = SE3.about_z(heading, (1000.0, 2000.0, 0.0))
    row = nuscenes_rows(sample([[x, y, 0.5, 4.0, 2.0, 1.5, yaw, 0.0, 0.0]], pose=pose))[0]
    back = pose.inverse().apply(torch.tensor(row["translation"], dtype=torch.float64))
    assert back[:2].tolist() == pytest.approx([x, y], abs=1e-5)
    turn = Quaternion(row["rotation"]).yaw_pitch_roll[0] - heading - yaw
    assert math.remainder(turn, 2 * math.pi) == pytest.approx(0.0, abs=1e-5)


@pytest.mark.parametrize(
    ("name", "speed", "attribute"),
    [
        ("car", 0.21, "vehicle.moving"), ("car", 0.2, "vehicle.parked"), ("bus", 0.0, "vehicle.stopped"),
        ("pedestrian", 1.0, "pedestrian.moving"), ("pedestrian", math.nan, "pedestrian.standing"),
        ("bicycle", 3.0, "cycle.with_rider"), ("motorcycle", 0.1, "cycle.without_rider"),
        ("barrier", 5.0, ""), ("traffic_cone", 0.0, ""),
    ],
)
def test_attributes_follow_class_and_speed(name: str, speed: float, attribute: str):
    assert attribute_name(name, speed) == attribute


def test_every_attribute_is_one_the_devkit_allows_for_the_class():
    from nuscenes.eval.detection.constants import ATTRIBUTE_NAMES
    from nuscenes.eval.detection.constants import DETECTION_NAMES as OFFICIAL

    assert set(ATTRIBUTES) == set(OFFICIAL) == set(DETECTION_NAMES)
    assert {name for pair in ATTRIBUTES.values() for name in pair} <= {*ATTRIBUTE_NAMES, ""}


@pytest.mark.parametrize("columns", [7, 9])
def test_an_unknown_velocity_is_written_as_zero(columns: int):
    box = [5.0, 0.0, 0.0, 4.0, 2.0, 1.5, 0.0, math.nan, math.nan][:columns]
    assert nuscenes_rows(sample([box]))[0]["velocity"] == [0.0, 0.0]


def test_only_the_500_best_boxes_are_written():
    crowd = sample([[float(i), 0.0, 0.0, 4.0, 2.0, 1.5, 0.0] for i in range(620)])
    crowd = crowd[torch.randperm(620, generator=torch.Generator().manual_seed(0))]
    rows = nuscenes_rows(crowd)
    assert [row["translation"][0] for row in rows] == list(range(500))


def test_samples_without_predictions_get_an_empty_list_and_lidar_alone_is_the_default(tmp_path: Path):
    path = write_nuscenes_results([sample([], "b")], tmp_path / "deep/results.json", sample_tokens=["a", "b"])
    content = json.loads(path.read_text())
    assert content["results"] == {"a": [], "b": []}
    assert content["meta"] == {
        "use_camera": False, "use_lidar": True, "use_radar": False, "use_map": False, "use_external": False,
    }


def test_a_failure_leaves_the_old_file_and_no_other(tmp_path: Path):
    path = write_nuscenes_results([sample([], "a")], tmp_path / "results.json", {"use_camera": True})
    before = path.read_text()
    with pytest.raises(ValueError, match="not finite"):
        write_nuscenes_results([sample([[math.nan] * 9])], path)
    assert path.read_text() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["results.json"]


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"global_from_ego": None}, "'a' have no global_from_ego"),
        ({"classes": ("Car",)}, "'a' hold the class 'Car'; nuScenes has car, truck"),
        ({"scores": torch.tensor([1.5])}, r"'a' hold scores outside \[0, 1\]"),
        ({"scores": torch.tensor([math.inf])}, "'a' hold boxes or scores that are not finite"),
    ],
)
def test_predictions_that_cannot_be_written_are_refused(change: dict, match: str):
    with pytest.raises(ValueError, match=match):
        nuscenes_rows(replace(sample([[5.0, 0.0, 0.0, 4.0, 2.0, 1.5, 0.0]]), **change))


def test_columns_are_scored_as_the_file_that_is_written_of_them(tmp_path: Path):
    draw, columns = torch.Generator().manual_seed(3), {}
    for token, count in (("b", 40), ("c", 0), ("a", 25)):
        boxes = torch.rand(count, 9, generator=draw) + 0.1
        boxes[:, 7:] *= torch.randint(2, (count, 1), generator=draw)            # half of them stand still
        labels = torch.randint(len(DETECTION_NAMES), (count,), generator=draw)
        pose = SE3.about_z(0.3, (1000.0, 200.0, 0.0))
        columns[token] = nuscenes_columns(
            Predictions(token, 0, Boxes3D(boxes), torch.rand(count, generator=draw), labels, DETECTION_NAMES, pose)
        )
    tokens = ["a", "none", "b", "c"]
    direct = NuScenesBoxes.from_columns(columns, tokens)
    read, _ = read_nuscenes_boxes(write_nuscenes_columns(columns, tmp_path / "results.json", None, tokens))
    assert direct.tokens == read.tokens
    assert {*np.unique(direct.attribute)} > {-1, 5, 6}                          # none, vehicle.moving, vehicle.parked
    for name in (*COLUMNS, "offsets", "attribute", "num_pts"):
        np.testing.assert_array_equal(getattr(direct, name), getattr(read, name), strict=True)
