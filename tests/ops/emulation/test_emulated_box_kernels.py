"""The CUDA kernels on boxes, executed on the host: the references' results to the last bit."""

from __future__ import annotations

import math

import pytest
import torch

from perception_ops import cuda
from perception_ops.circle_nms import circle_nms_reference
from perception_ops.points_in_boxes import points_in_boxes_reference
from perception_ops.rotated_iou import rotated_iou_bev_aligned_reference, rotated_iou_bev_reference
from perception_ops.rotated_nms import rotated_nms_reference

COUNTS = [0, 1, 63, 64, 65, 200]
DEFAULT_STREAM = 0


def bev(count: int, seed: int = 0, extent: float = 12.0) -> torch.Tensor:
    """(count, 5) boxes of which some have no area and some are equal."""
    generator = torch.Generator().manual_seed(seed)
    boxes = torch.rand(count, 5, generator=generator) * torch.tensor([extent, extent, 4.0, 2.0, 6.3])
    boxes[::9, 2] = 0.0
    boxes[1::5] = boxes[::5][: len(boxes[1::5])]
    return boxes


def scores(count: int, levels: int) -> torch.Tensor:
    return (torch.rand(count, generator=torch.Generator().manual_seed(3)) * levels).floor() / levels


@pytest.mark.parametrize("columns", [0, 1, 33, 129])
@pytest.mark.parametrize("rows", [0, 1, 31, 130])
def test_the_iou_matrix_equals_its_reference(shuffled, rows, columns):
    a, b = bev(rows), bev(columns, seed=1)
    assert torch.equal(cuda.rotated_iou_bev(shuffled, DEFAULT_STREAM, a, b), rotated_iou_bev_reference(a, b))


@pytest.mark.parametrize("rows", [0, 1, 257])
def test_the_iou_of_rows_equals_its_reference(shuffled, rows):
    a, b = bev(rows, extent=2.0), bev(rows, seed=1, extent=2.0)
    ours = cuda.rotated_iou_bev_aligned(shuffled, DEFAULT_STREAM, a, b)
    assert torch.equal(ours, rotated_iou_bev_aligned_reference(a, b))


@pytest.mark.parametrize("levels", [3, 10**6])
@pytest.mark.parametrize("threshold", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("count", COUNTS)
def test_rotated_nms_equals_its_reference(shuffled, count, threshold, levels):
    arguments = bev(count), scores(count, levels), threshold
    assert torch.equal(cuda.rotated_nms(shuffled, DEFAULT_STREAM, *arguments), rotated_nms_reference(*arguments))


@pytest.mark.parametrize("squared_radius", [0.0, 0.7, math.inf])
@pytest.mark.parametrize("count", COUNTS)
def test_circle_nms_equals_its_reference(shuffled, count, squared_radius):
    arguments = bev(count)[:, :2], scores(count, 50), squared_radius
    assert torch.equal(cuda.circle_nms(shuffled, DEFAULT_STREAM, *arguments), circle_nms_reference(*arguments))


def test_a_chain_over_many_words_is_settled_from_its_best_end(emulated):
    centers = torch.stack([torch.arange(700.0), torch.zeros(700)], 1)
    kept = cuda.circle_nms(emulated, DEFAULT_STREAM, centers, torch.arange(700.0).flip(0), 1.0)
    assert kept.tolist() == list(range(0, 700, 2))


@pytest.mark.parametrize("num_boxes", [0, 1, 127, 129])
@pytest.mark.parametrize("num_points", [0, 1, 300])
def test_points_in_boxes_equals_its_reference(shuffled, num_points, num_boxes):
    generator = torch.Generator().manual_seed(5)
    points = torch.rand(num_points, 3, generator=generator).mul(8).round()                 # on faces
    boxes = torch.rand(num_boxes, 7, generator=generator) * torch.tensor([8.0, 8, 8, 3, 3, 3, 6])
    points[::50], boxes[::40, 3] = math.nan, math.inf
    boxes[1::2] = boxes[1::2].round()
    ours = cuda.points_in_boxes(shuffled, DEFAULT_STREAM, points, boxes)
    assert torch.equal(ours, points_in_boxes_reference(points, boxes))


def test_bad_boxes_are_refused(emulated):
    with pytest.raises(ValueError, match="boxes must have sizes >= 0, row 0"):
        cuda.rotated_nms(emulated, DEFAULT_STREAM, -bev(2) - 1, torch.ones(2), 0.5)
    with pytest.raises(ValueError, match="scores must be finite, row 0 is nan"):
        cuda.circle_nms(emulated, DEFAULT_STREAM, bev(1)[:, :2], torch.tensor([math.nan]), 1.0)
