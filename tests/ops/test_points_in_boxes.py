import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from perception_ops import native_kernels, points_in_boxes
from perception_ops.points_in_boxes import points_in_boxes_reference

CAR = [10.0, 0.0, 1.0, 4.0, 2.0, 1.5, math.pi / 2]        # its 4 m point along y
needs_native = pytest.mark.skipif("points_in_boxes" not in native_kernels(), reason="native kernels are not in use")


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


@needs_native
@settings(max_examples=80, deadline=None)
@given(
    seed=st.integers(0, 9999), num_points=st.sampled_from([1, 31, 800]), num_boxes=st.sampled_from([0, 1, 2, 33, 300]),
    extent=st.sampled_from([0.0, 3.0, 50.0]), size=st.sampled_from([0.0, 1.0, 8.0, 1e4]), snap=st.booleans(),
    outlier=st.sampled_from([0.0, 1e6, 1e38, math.inf, math.nan]), offset=st.sampled_from([0.0, -1e6]),
    dtype=st.sampled_from([torch.float32, torch.float64, torch.bfloat16]),
)
def test_native_equals_the_reference(seed, num_points, num_boxes, extent, size, snap, outlier, offset, dtype):
    generator = torch.Generator().manual_seed(seed)
    points = (torch.rand(num_points, 3, generator=generator) - 0.5) * extent
    boxes = torch.rand(num_boxes, 7, generator=generator) - 0.25                           # some sizes below 0
    boxes = boxes * torch.tensor([extent, extent, extent, size, size, size, 9.0])
    if snap:
        points, boxes = points.round(), torch.cat([boxes[:, :6].round(), torch.zeros(num_boxes, 1)], 1)   # on faces
    points[:, 0] += offset
    boxes[:, 0] += offset
    if outlier:
        points[::10, :2] = outlier
        boxes[1::10, seed % 7] = outlier
    points, boxes = points.to(dtype), boxes.to(dtype)
    assert torch.equal(points_in_boxes(points, boxes), points_in_boxes_reference(points, boxes))


def test_boxes_as_large_as_the_scene_leave_the_grid_small():
    boxes = torch.tensor([[0.0, 0, 0, 90, 90, 1, 0.3]]).repeat(3000, 1)
    boxes[:, 2] = torch.arange(3000.0) * 2
    points = torch.tensor([[3.0, 4, 5998], [3, 4, 5997], [-40, 10, 0]])
    assert points_in_boxes(points, boxes).tolist() == [2999, -1, 0]


def test_threads_change_nothing(num_threads):
    generator = torch.Generator().manual_seed(0)
    points = torch.rand(9001, 3, generator=generator) * 20
    boxes = torch.rand(77, 7, generator=generator) * torch.tensor([20.0, 20, 20, 5, 5, 5, 7])
    with num_threads(1):
        alone = points_in_boxes(points, boxes)
    for threads in (2, 3):
        with num_threads(threads):
            assert torch.equal(points_in_boxes(points, boxes), alone)


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
