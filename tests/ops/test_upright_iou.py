"""Exact IoU of pairs of upright boxes: by hand, against polygons, kernel against reference."""

from __future__ import annotations

import math

import numpy as np
import pytest
from shapely.geometry import Polygon

from perception_ops import native_available
from perception_ops.upright_iou import upright_iou_pairs, upright_iou_pairs_reference

CAR = (0.0, 0.0, 0.0, 4.0, 2.0, 1.0, 0.0)
ZERO = np.zeros(1, np.int64)


def boxes(*rows: tuple[float, ...]) -> np.ndarray:
    return np.array(rows, np.float64).reshape(-1, 7)


def random_boxes(rng: np.random.Generator, count: int) -> np.ndarray:
    """Close together, so that most share something."""
    return np.concatenate([
        rng.uniform(-2.0, 2.0, (count, 3)), rng.uniform(0.1, 5.0, (count, 3)), rng.uniform(-7.0, 7.0, (count, 1))
    ], axis=1)


def rectangle(row: np.ndarray) -> Polygon:
    x, y, _, length, width, _, yaw = row.tolist()
    corners = [(sx * length / 2, sy * width / 2) for sx, sy in ((1, 1), (-1, 1), (-1, -1), (1, -1))]
    cos, sin = math.cos(yaw), math.sin(yaw)
    return Polygon([(x + cos * u - sin * v, y + sin * u + cos * v) for u, v in corners])


@pytest.mark.parametrize(
    ("other", "volumes", "areas"),
    [
        (CAR, 1.0, 1.0),
        ((0, 0, 0, 4, 2, 1, math.pi), 1.0, 1.0),
        ((0, 0, 0.5, 4, 2, 1, 0), 1 / 3, 1.0),
        ((0, 0, 1, 4, 2, 1, 0), 0.0, 1.0),
        ((2, 0, 0, 4, 2, 1, 0), 1 / 3, 1 / 3),
        ((0, 0, 0, 4, 2, 1, math.pi / 2), 1 / 3, 1 / 3),
        ((0, 0, 0, 2, 1, 0.5, 0), 1 / 8, 1 / 4),
        ((4, 0, 0, 4, 2, 1, 0), 0.0, 0.0),
        ((0, 0, 0, 4, 0, 1, 0), 0.0, 0.0),
    ],
    ids=["itself", "turned around", "half as high", "on top", "half beside", "crossed", "inside", "touching", "flat"],
)
def test_iou_worked_by_hand(other: tuple[float, ...], volumes: float, areas: float):
    for bev, expected in ((False, volumes), (True, areas)):
        iou = upright_iou_pairs(boxes(CAR), boxes(other), ZERO, ZERO, bev=bev)
        assert iou.tolist() == pytest.approx([expected], abs=1e-12)


def test_iou_equals_that_of_polygons():
    rng = np.random.default_rng(3)
    a, b = random_boxes(rng, 60), random_boxes(rng, 60)
    rows = np.arange(60)
    expected = []
    for left, right in zip(a, b, strict=True):
        top, bottom = (op(*(box[2] + side * box[5] / 2 for box in (left, right))) for op, side in ((min, 1), (max, -1)))
        shared = rectangle(left).intersection(rectangle(right)).area * max(top - bottom, 0.0)
        expected.append(shared / (left[3:6].prod() + right[3:6].prod() - shared))
    assert sum(value > 0 for value in expected) > 20
    np.testing.assert_allclose(upright_iou_pairs(a, b, rows, rows), expected, rtol=0, atol=1e-12)


@pytest.mark.skipif(not native_available(), reason="native kernels are not in use")
@pytest.mark.parametrize("bev", [False, True])
def test_the_kernel_equals_its_reference(bev: bool):
    rng = np.random.default_rng(4)
    a, b = random_boxes(rng, 100), random_boxes(rng, 90)
    first, second = rng.integers(0, 100, 9000), rng.integers(0, 90, 9000)
    ours, reference = (
        iou(a, b, first, second, bev=bev) for iou in (upright_iou_pairs, upright_iou_pairs_reference)
    )
    np.testing.assert_allclose(ours, reference, rtol=0, atol=1e-14)   # the same steps; sums of two may differ by an ulp


def test_no_pair_gives_no_iou():
    none = np.zeros(0, np.int64)
    assert upright_iou_pairs(boxes(), boxes(CAR), none, none).shape == (0,)


@pytest.mark.parametrize(
    ("a", "rows", "text"),
    [
        (np.zeros((1, 5)), ZERO, r"a must be \(K, 7\), got \(1, 5\)"),
        (boxes((math.nan, *CAR[1:])), ZERO, "a must be finite with sizes >= 0, row 0 is"),
        (boxes((*CAR[:3], -1.0, *CAR[4:])), ZERO, "a must be finite with sizes >= 0, row 0 is"),
        (boxes(CAR), ZERO + 1, r"first must be \(E,\) rows in \[0, 1\)"),
        (boxes(CAR), np.zeros(2, np.int64), "first and second must have the same length, got 2 and 1"),
    ],
)
def test_bad_arguments_are_refused(a: np.ndarray, rows: np.ndarray, text: str):
    with pytest.raises(ValueError, match=text):
        upright_iou_pairs(a, boxes(CAR), rows, ZERO)
