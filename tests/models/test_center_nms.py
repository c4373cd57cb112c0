from __future__ import annotations

import pytest
import torch

from perception.models.heads.center_coder import Detections
from perception.models.heads.center_nms import CircleNMS, RotateNMS


def detections(*rows: tuple[float, float, float, int]) -> Detections:
    """Cubes of 2 m at (x, y) with score and label, best first."""
    boxes = torch.tensor([[x, y, 0, 2, 2, 2, 0, 0, 0] for x, y, _, _ in rows], dtype=torch.float32).view(-1, 9)
    return Detections(boxes, torch.tensor([r[2] for r in rows]), torch.tensor([r[3] for r in rows], dtype=torch.int64))


PAIRS = ((0.0, 0.0, 0.9, 0), (0.2, 0.0, 0.8, 1), (0.0, 0.3, 0.7, 0), (9.0, 0.0, 0.6, 1))


def test_one_threshold_suppresses_across_the_classes_of_a_task():
    kept = RotateNMS(0.2)(detections(*PAIRS), 0)
    torch.testing.assert_close(kept.scores, torch.tensor([0.9, 0.6]))


def test_a_threshold_a_class_suppresses_within_classes_and_orders_by_class():
    kept = RotateNMS((0.2, 0.2), (10, 10), (10, 10))(detections(*PAIRS), 0)
    assert kept.labels.tolist() == [0, 1, 1]
    torch.testing.assert_close(kept.scores, torch.tensor([0.9, 0.8, 0.6]))


def test_caps_of_each_class_hold():
    apart = detections(*((10.0 * i, 0.0, 0.9 - 0.1 * i, i % 2) for i in range(6)))
    kept = RotateNMS((0.2, 0.2), (10, 2), (1, 10))(apart, 0)
    assert kept.labels.tolist() == [0, 1, 1]


def test_centres_outside_the_final_range_go():
    assert len(RotateNMS(0.2, center_range=(-5, -5, -5, 5, 5, 5))(detections(*PAIRS), 0)) == 1


def test_circle_suppression_compares_the_squared_distance_with_the_tasks_number():
    row = detections((0.0, 0.0, 0.9, 0), (1.9, 0.0, 0.8, 0), (2.1, 0.0, 0.7, 0))
    nms = CircleNMS(squared_radius=(4.0, 0.01), post_max=10)
    torch.testing.assert_close(nms(row, 0).scores, torch.tensor([0.9, 0.7]))
    assert len(nms(row, 1)) == 3
    assert len(CircleNMS((0.01,), post_max=2)(row, 0)) == 2


@pytest.mark.parametrize(
    "nms", [RotateNMS(0.2), RotateNMS((0.2, 0.3), (5, 5), (5, 5)), CircleNMS()], ids=["all", "by class", "circle"]
)
def test_nothing_in_nothing_out(nms):
    kept = nms(detections(), 0)
    assert kept.boxes.shape == (0, 9)
    assert kept.labels.dtype == torch.int64


@pytest.mark.parametrize("settings", [((0.2, 0.2), 10, 10), ((0.2, 0.2), (10,), (10, 10))])
def test_settings_of_unlike_length_are_refused(settings):
    with pytest.raises(ValueError, match="must all be numbers or as many"):
        RotateNMS(*settings)


def test_a_label_without_threshold_is_refused():
    with pytest.raises(ValueError, match="labels beyond the 1 thresholds"):
        RotateNMS((0.2,), (10,), (10,))(detections(*PAIRS), 0)


def test_a_task_without_radius_is_refused():
    with pytest.raises(ValueError, match="has 1 radii, task 1"):
        CircleNMS((1.0,))(detections(*PAIRS), 1)
