import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from perception_ops import points_in_boxes

CAR = [10.0, 0.0, 1.0, 4.0, 2.0, 1.5, math.pi / 2]        # its 4 m point along y


@pytest.mark.parametrize(
    ("point", "found"),
    [
        ((10, 0, 1), 0),
        ((10, 1.9, 1), 0),
        ((11.9, 0, 1), -1),
        ((10, 0, 1.75), 0),
        ((10, 0, 1.76), -1),
        ((10, 0, 0.24), -1),
        ((math.nan, 0, 1), -1),
    ],
    ids=["centre", "along its length", "beyond its width", "on the roof", "above", "below", "nan"],
)
def test_a_turned_box_worked_by_hand(point, found):
    assert points_in_boxes(torch.tensor([point], dtype=torch.float32), torch.tensor([CAR])).tolist() == [found]


def test_the_first_of_overlapping_boxes_wins():
    boxes = torch.tensor([[50.0, 0, 0, 1, 1, 1, 0], CAR, CAR])
    assert points_in_boxes(torch.tensor([[10.0, 0, 1], [50, 0, 0], [0, 0, 0]]), boxes).tolist() == [1, 0, -1]


@settings(max_examples=30, deadline=None)
@given(yaw=st.floats(-7, 7), seed=st.integers(0, 999))
def test_turning_box_and_points_together_changes_nothing(yaw, seed):
    generator = torch.Generator().manual_seed(seed)
    points = torch.rand(50, 3, generator=generator, dtype=torch.float64) * 6 - 3
    box = torch.tensor([[0.0, 0, 0, 4, 2, 3, 0]], dtype=torch.float64)
    cos, sin = math.cos(yaw), math.sin(yaw)
    turned = points @ torch.tensor([[cos, sin, 0], [-sin, cos, 0], [0, 0, 1]], dtype=torch.float64)
    expected = points_in_boxes(points, box)
    assert torch.equal(expected == 0, (points.abs() <= torch.tensor([2.0, 1.0, 1.5])).all(1))
    assert torch.equal(points_in_boxes(turned, box + torch.tensor([0, 0, 0, 0, 0, 0, yaw])), expected)


def test_more_points_than_a_chunk_holds_are_all_answered():
    boxes = torch.cat([torch.tensor([CAR]), torch.full((299, 7), 100.0)])
    points = torch.tensor([[10.0, 0, 1], [0, 0, 0]]).repeat(4000, 1)
    assert torch.equal(points_in_boxes(points, boxes), torch.tensor([0, -1]).repeat(4000))


@pytest.mark.parametrize(("points", "boxes"), [(0, 2), (3, 0), (0, 0)])
def test_without_points_or_boxes_nothing_is_found(points, boxes):
    found = points_in_boxes(torch.zeros(points, 3), torch.tensor([CAR]).expand(boxes, 7))
    assert found.tolist() == [-1] * points
    assert found.dtype == torch.int64


def test_opcheck_passes():
    torch.library.opcheck(torch.ops.perception.points_in_boxes.default, (torch.rand(5, 3), torch.tensor([CAR])))


@pytest.mark.parametrize(
    ("points", "boxes", "message"),
    [
        (torch.zeros(2, 4), torch.zeros(1, 7), r"points must be floating \(N, 3\), got torch.float32 \(2, 4\)"),
        (torch.zeros(2, 3), torch.zeros(1, 9), r"boxes must be floating \(K, 7\), got torch.float32 \(1, 9\)"),
        (torch.zeros(2, 3).long(), torch.zeros(1, 7), r"points must be floating \(N, 3\), got torch.int64 \(2, 3\)"),
    ],
)
def test_bad_arguments_are_refused(points, boxes, message):
    with pytest.raises(ValueError, match=message):
        points_in_boxes(points, boxes)
