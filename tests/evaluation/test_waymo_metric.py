"""Waymo's scores as a metric of a test run."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from waymo_cases import box, objects

from perception.evaluation.waymo import read_waymo_objects, write_waymo_objects
from perception.evaluation.waymo_detection import WaymoDetectionMetric, waymo_ground_truth, waymo_predictions
from perception.registry import METRICS
from perception.structures import Annotations, Boxes3D, Frame, Predictions

CLASSES = ("vehicle", "pedestrian", "sign", "cyclist")
CAR = [20.0, 5.0, 1.0, 4.5, 2.0, 1.5, 0.5, 3.0, 0.0]


def frame(time_us: int = 7, points: int = 20, labels: tuple[int, ...] = (0,)) -> Frame:
    annotations = Annotations(
        Boxes3D(torch.tensor([CAR] * len(labels))), torch.tensor(labels), CLASSES,
        num_lidar_pts=torch.full((len(labels),), points),
    )
    return Frame(f"drive/{time_us}", time_us * 1000, scene="drive", annotations=annotations)


def predictions(time_us: int = 7, classes: tuple[str, ...] = CLASSES) -> Predictions:
    car = Boxes3D(torch.tensor([CAR]))
    return Predictions(f"drive/{time_us}", time_us * 1000, car, torch.tensor([0.9]), torch.tensor([0]), classes)


def test_a_frame_becomes_rows_of_waymos_convention():
    rows = waymo_ground_truth(frame(labels=(0, 3)))
    assert rows.boxes[0].tolist() == CAR[:7]
    assert rows.speed[0].tolist() == CAR[7:]
    assert (rows.types.tolist(), rows.num_points.tolist(), rows.timestamp_us.tolist()) == ([1, 4], [20, 20], [7, 7])
    assert waymo_predictions(predictions(), "drive").scores.tolist() == pytest.approx([0.9])


def test_objects_outside_the_class_list_are_no_ground_truth():
    assert len(waymo_ground_truth(frame(labels=(0, -1)))) == 1


def test_classes_of_other_names_are_translated_left_out_or_refused():
    cars = predictions(classes=("car", "pedestrian", "sign", "cyclist"))
    assert waymo_predictions(cars, "drive", {"car": "VEHICLE"}).types.tolist() == [1]
    assert len(waymo_predictions(cars, "drive", {"car": ""})) == 0
    with pytest.raises(ValueError, match="predictions hold the class 'car', which is none of Waymo's"):
        waymo_predictions(cars, "drive")


def test_the_metric_scores_the_frames_that_were_tested_and_writes_the_file(tmp_path: Path):
    metric = METRICS.build({"type": "WaymoDetectionMetric", "output_dir": str(tmp_path)})
    metric.process([frame(7), frame(8), frame(7)], [predictions(7), predictions(8), predictions(7)])
    flat = metric.evaluate(size=3)
    assert flat["waymo/VEHICLE_L1_AP"] == 1.0
    written = read_waymo_objects(tmp_path / "predictions.bin")
    assert written.timestamp_us.tolist() == [7, 8]         # the frame that came twice counts once
    assert written.scores.tolist() == pytest.approx([0.9, 0.9])


def test_a_ground_truth_file_takes_the_place_of_annotations(tmp_path: Path):
    truth = objects(CAR[:7], box(60.0), frames=7, difficulty=[1, 2])
    path = write_waymo_objects(tmp_path / "truth.bin", truth)
    metric = WaymoDetectionMetric(str(tmp_path / "out"), ground_truth=str(path))
    metric.process([Frame("drive/7", 7000, scene="drive")], [predictions(7)])
    flat = metric.evaluate(size=1)
    assert (flat["waymo/VEHICLE_L1_AP"], flat["waymo/VEHICLE_L2_AP"]) == (1.0, 0.5)


def test_boxes_that_went_to_disk_are_scored_as_those_in_memory_and_survive_a_broken_run(tmp_path: Path):
    whole, spilled = (WaymoDetectionMetric(str(tmp_path / str(bound)), memory_mb=bound) for bound in (16.0, 0.0))
    for metric in (whole, spilled):
        metric.process([frame(7), frame(8, labels=(0, 1))], [predictions(7), predictions(8)])
        metric.process([frame(9)], [predictions(9)[:0]])               # nothing found there
    (left,) = (tmp_path / "0.0").glob(".rows-*")           # what a run that breaks off here leaves behind
    scores = spilled.evaluate_stored(left)
    assert scores["waymo/VEHICLE_L1_AP"] < 1.0
    assert scores == pytest.approx(whole.evaluate(size=3), nan_ok=True)
    assert scores == pytest.approx(spilled.evaluate(size=3), nan_ok=True)


@pytest.mark.parametrize("lacking", ["annotations", "numbers of LiDAR points in its annotations"])
def test_frames_that_cannot_be_ground_truth_are_refused(lacking: str):
    annotations = None
    if lacking != "annotations":
        annotations = Annotations(Boxes3D(torch.tensor([CAR])), torch.tensor([0]), CLASSES)
    with pytest.raises(ValueError, match=f"frame 'drive/7' has no {lacking}"):
        waymo_ground_truth(Frame("drive/7", 7000, annotations=annotations))
