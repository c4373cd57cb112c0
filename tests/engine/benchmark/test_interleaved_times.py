"""Calls are made in turn, and what comes of their times."""

from __future__ import annotations

import time

import numpy as np
import pytest
import torch

from perception.engine.benchmark.rows import Row, as_records, as_table, compared, percentiles
from perception.engine.benchmark.scaling import r_squared
from perception.engine.benchmark.timing import interleaved_ms

CPU = torch.device("cpu")


def test_functions_take_turns_after_one_untimed_call_of_each():
    called: list[str] = []
    times = interleaved_ms([lambda: called.append("a"), lambda: called.append("b")], 3, CPU)
    assert "".join(called) == "ab" * 4
    assert times.shape == (3, 2)


def test_times_are_those_of_each_function():
    times = interleaved_ms([lambda: time.sleep(0.02), lambda: None], 3, CPU)
    assert times[:, 0].min() >= 20.0                       # ms; a sleep is never shorter
    assert np.median(times[:, 1]) < np.median(times[:, 0])


def test_a_spent_budget_ends_the_rounds_after_the_first():
    called: list[int] = []
    times = interleaved_ms([lambda: called.append(1)], 100, CPU, budget_s=0.0)
    assert (len(times), len(called)) == (1, 2)


@pytest.mark.parametrize(("calls", "repeats"), [([], 3), ([print], 0)])
def test_nothing_to_time_is_refused(calls: list, repeats: int):
    with pytest.raises(ValueError, match="calls must not be empty and repeats must be >= 1"):
        interleaved_ms(calls, repeats, CPU)


def test_a_ratio_is_taken_round_by_round():
    columns = compared(np.array([1.0, 2.0, 10.0]), np.array([2.0, 8.0, 30.0]))
    assert columns == {"ms": 2.0, "reference_ms": 8.0, "ratio": 3.0, "ratio_q1": 2.5, "ratio_q3": 3.5}


def test_percentiles_of_a_hundred_and_one_times():
    assert percentiles(np.arange(101.0)) == {"ms": 50.0, "p50_ms": 50.0, "p90_ms": 90.0, "p99_ms": 99.0}


@pytest.mark.parametrize(("y", "expected"), [([3, 5, 7, 9], 1.0), ([2, 2, 2, 2], 1.0), ([0, 1, 1, 0], 0.0)])
def test_the_straight_line_explains(y: list[float], expected: float):
    assert r_squared([1, 2, 3, 4], y) == pytest.approx(expected, abs=1e-12)


def test_a_record_has_what_is_promised_and_what_was_measured():
    (record,) = as_records([Row("voxelize", 1000, "float32", 2, 0.5, gbps=3.0)])
    assert record == {
        "name": "voxelize", "size": 1000, "dtype": "float32", "threads": 2, "ms": 0.5, "reference_ms": None,
        "ratio": None, "gbps": 3.0,
    }


def test_a_table_shows_the_columns_that_tell_something():
    headings, cells = as_table([
        Row("a", 1000, "float32", 1, 0.5), Row("a", 1000, "float32", 2, 0.25, reference_ms=0.5, ratio=2.0)
    ])
    assert headings == ["", "size", "threads", "median (ms)", "reference (ms)", "ratio"]
    assert cells == [["a", "1,000", "1", "0.50", "", ""], ["a", "1,000", "2", "0.25", "0.50", "2.00"]]
