"""Waymo's mean IoU of points, worked by hand, and its files."""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np
import pytest

from perception.datasets.waymo.schema import MatrixInt32, SegmentationFrameList
from perception.errors import DataError
from perception.evaluation.waymo import evaluate_waymo_segmentation, read_waymo_segmentation

CAR, TRUCK = 1, 2
KEY = ("drive", 5)


def maps(*rows: list[int]) -> tuple[np.ndarray, ...]:
    return (np.array(rows),)


def test_iou_worked_by_hand():
    truth = maps([CAR, CAR, TRUCK], [TRUCK, 0, 0])
    found = maps([CAR, TRUCK, TRUCK], [0, CAR, 0])         # the last but one has no true class and does not count
    flat = evaluate_waymo_segmentation({KEY: truth}, {KEY: found}).flat()
    assert flat["car_IoU"] == pytest.approx(1 / 2)
    assert flat["truck_IoU"] == pytest.approx(1 / 3)       # one found, one missed, one car taken for it
    assert flat["road_IoU"] == 1.0                         # nobody speaks of it
    assert flat["mIoU"] == pytest.approx((1 / 2 + 1 / 3 + 20) / 22)


def test_a_frame_without_predictions_is_missed_and_one_without_truth_passed_over():
    truth = {KEY: maps([CAR, CAR]), ("drive", 6): maps([CAR, CAR])}
    scores = evaluate_waymo_segmentation(truth, {KEY: maps([CAR, CAR]), ("drive", 7): maps([TRUCK, TRUCK])})
    assert scores.flat()["car_IoU"] == 0.5
    assert scores.flat()["truck_IoU"] == 1.0
    assert (scores.num_frames, scores.num_missing) == (2, 1)


@pytest.mark.parametrize(
    ("found", "text"),
    [
        (maps([CAR, CAR, CAR]), r"must have the shapes \[\(1, 2\)\] of the ground truth, got \[\(1, 3\)\]"),
        (maps([CAR, 23]), r"predictions of frame .* must lie in \[0, 23\), got 1 to 23"),
        (maps([CAR, -1]), r"must lie in \[0, 23\), got -1 to 1"),
    ],
)
def test_maps_that_do_not_fit_are_refused(found: tuple[np.ndarray, ...], text: str):
    with pytest.raises(ValueError, match=text):
        evaluate_waymo_segmentation({KEY: maps([CAR, CAR])}, {KEY: found})


def frame_list(*labels: np.ndarray, laser: int = 1) -> SegmentationFrameList:
    """A frame for each map, the first return of one laser."""
    message = SegmentationFrameList()
    for number, values in enumerate(labels):
        frame = message.frames.add(context_name="drive", frame_timestamp_micros=number)
        matrix = MatrixInt32(data=values.ravel().tolist())
        matrix.shape.dims.extend(values.shape)
        stored = frame.segmentation_labels.add(name=laser).ri_return1
        stored.segmentation_label_compressed = zlib.compress(matrix.SerializeToString())
    return message


def test_files_hold_classes_or_instances_and_classes(tmp_path: Path):
    classes = np.array([[CAR, TRUCK], [0, 22]])
    both = np.stack([np.full_like(classes, 300), classes], axis=2)
    path = tmp_path / "labels.bin"
    path.write_bytes(frame_list(classes, both).SerializeToString())
    for read in read_waymo_segmentation(path).values():
        np.testing.assert_array_equal(read[0], classes)


def test_other_lasers_are_passed_over(tmp_path: Path):
    path = tmp_path / "labels.bin"
    path.write_bytes(frame_list(np.ones((2, 2), int), laser=2).SerializeToString())
    assert read_waymo_segmentation(path) == {}


def test_bad_files_are_told(tmp_path: Path):
    path = tmp_path / "labels.bin"
    with pytest.raises(DataError, match="expected a readable file"):
        read_waymo_segmentation(path)
    path.write_bytes(b"")
    with pytest.raises(DataError, match="got an empty file"):
        read_waymo_segmentation(path)
    path.write_bytes(b"{}")
    with pytest.raises(DataError, match="expected a serialized SegmentationFrameList"):
        read_waymo_segmentation(path)
    path.write_bytes(frame_list(np.ones(3, int)).SerializeToString())
    with pytest.raises(DataError, match=r"ri_return1: expected a matrix of rows and columns, got the shape \(3,\)"):
        read_waymo_segmentation(path)
    twice = frame_list(np.ones((1, 1), int))
    twice.frames.append(twice.frames[0])
    path.write_bytes(twice.SerializeToString())
    with pytest.raises(DataError, match="expected one entry a frame, got a second one"):
        read_waymo_segmentation(path)
