"""Waymo's area under a curve, worked by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perception.evaluation.waymo.average_precision import average_precision, precision_and_recall

counts = st.lists(st.integers(0, 50), min_size=1, max_size=20)


def area(*points: tuple[float, float]) -> float:
    recall, precision = np.array(points, np.float32).reshape(-1, 2).T
    return average_precision(recall, precision)


@pytest.mark.parametrize(
    ("points", "expected"),
    [
        ([], 0.0),
        ([(0.0, 1.0)], 0.0),
        ([(1.0, 1.0)], 1.0),
        ([(0.5, 1.0)], 0.5),                                           # nothing above the largest recall
        ([(0.5, 0.2)], 0.1),                                           # level down to 0
        ([(0.5, 0.2), (0.5, 0.8)], 0.4),                               # the better of two
        ([(1.0, 0.5), (0.96, 1.0)], 0.96 + 0.04 * 0.75),               # less than a step apart: joined by a line
        ([(1.0, 0.5), (0.5, 1.0)], 0.5 + 0.45 * 0.5 + 0.05 * 0.75),    # further: level, the last step is the line
        ([(1.0, 0.5), (0.5, 0.4)], 0.5),                               # never falls towards smaller recalls
    ],
)
def test_area_worked_by_hand(points: list[tuple[float, float]], expected: float):
    assert area(*points) == pytest.approx(expected, abs=1e-6)          # float32


def test_precision_is_one_where_nothing_is_found():
    precision, recall = precision_and_recall(np.array([0, 0, 2]), np.array([3, 0, 2]), np.array([4, 0, 2]))
    assert precision.tolist() == [1.0, 1.0, 0.5]
    assert recall.tolist() == [0.0, 0.0, 0.5]


@given(tp=counts, fp=counts, fn=counts)
def test_an_area_lies_between_zero_and_the_largest_recall(tp: list[int], fp: list[int], fn: list[int]):
    size = min(map(len, (tp, fp, fn)))
    precision, recall = precision_and_recall(*(np.array(column[:size]) for column in (tp, fp, fn)))
    assert -1e-6 <= average_precision(recall, precision) <= recall.max() + 1e-6
