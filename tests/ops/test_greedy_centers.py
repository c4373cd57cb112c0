"""The matching of centres: by hand, against its reference and against NumPy's norm of one vector."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perception_ops.greedy_centers import greedy_centers, greedy_centers_reference, row_norms

THRESHOLDS = np.array([0.5, 1.0, 2.0, 4.0])


def match(centers: Any, samples: Any, truth: Any, starts: Any, thresholds: np.ndarray = THRESHOLDS) -> np.ndarray:
    return greedy_centers(
        np.array(centers, float).reshape(-1, 2), np.array(samples, np.int32), np.array(truth, float).reshape(-1, 2),
        np.array(starts, np.int64), thresholds,
    )


def test_a_better_prediction_takes_the_nearest_and_the_next_one_what_is_left():
    #  truth at x =  0      3
    #  predictions      1, then 0.2: at 0.5 m only the second is near enough, further out the first takes x = 0
    got = match([[1.0, 0], [0.2, 0]], [0, 0], [[0, 0], [3, 0]], [0, 2])
    assert got.tolist() == [[-1, 0], [-1, 0], [0, -1], [0, 1]]


def test_of_equally_near_ones_the_first_is_taken():
    assert match([[0, 0]], [0], [[1, 0], [-1, 0], [0, 1]], [0, 3])[2].tolist() == [0]


def test_a_distance_at_the_threshold_is_too_far():
    assert match([[3.0, 4.0]], [0], [[0, 0]], [0, 1], np.array([5.0, np.nextafter(5.0, 6.0)])).tolist() == [[-1], [0]]


def test_samples_do_not_mix_and_none_matches_none():
    got = match([[0, 0], [0, 0], [0, 0]], [1, -1, 2], [[0, 0], [0, 0]], [0, 1, 2, 2])
    assert got[0].tolist() == [1, -1, -1]


@pytest.mark.parametrize(("centers", "samples", "truth", "starts"), [
    ([], [], [], [0]), ([], [], [[0, 0]], [0, 1]), ([[0, 0]], [0], [], [0, 0]),
])
def test_nothing_matches_nothing(centers: Any, samples: Any, truth: Any, starts: Any):
    assert (match(centers, samples, truth, starts) == -1).all()


def scattered(seed: int, step: float) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Crowds in 5 samples; coordinates are multiples of the step, so that a large one makes ties."""
    rng = np.random.default_rng(seed)
    counts, ranks = rng.integers(0, 12, 5), int(rng.integers(0, 80))
    truth, centers = (
        np.round(rng.uniform(-4, 4, (count, 2)) / step) * step + 1000.0 for count in (counts.sum(), ranks)
    )
    return centers, rng.integers(-1, 5, ranks).astype(np.int32), truth, np.concatenate([[0], np.cumsum(counts)])


@given(st.integers(0, 2**32), st.sampled_from([1e-6, 0.1, 0.5]))
def test_the_kernel_gives_what_the_reference_gives(seed: int, step: float):
    crowd = scattered(seed, step)
    np.testing.assert_array_equal(greedy_centers(*crowd, THRESHOLDS), greedy_centers_reference(*crowd, THRESHOLDS))


def test_threads_change_nothing(num_threads: Callable[[int], Any]):
    crowd = scattered(3, 0.5)
    with num_threads(1):
        alone = greedy_centers(*crowd, THRESHOLDS)
    with num_threads(3):
        np.testing.assert_array_equal(greedy_centers(*crowd, THRESHOLDS), alone)


@pytest.mark.parametrize("odd", [np.nan, np.inf, -np.inf])
def test_a_centre_that_is_nowhere_matches_nothing(odd: float):
    crowd = (np.array([[odd, 0.0], [0.0, 0.0]]), np.zeros(2, np.int32), np.array([[0.0, 0.0]]), np.array([0, 1]))
    for function in (greedy_centers, greedy_centers_reference):
        with np.errstate(invalid="ignore"):
            assert function(*crowd, THRESHOLDS)[0].tolist() == [-1, 0]


@pytest.mark.parametrize("width", [2, 4])
def test_norms_of_rows_are_those_of_each_row_alone_to_the_last_bit(width: int):
    vectors = np.random.default_rng(0).normal(scale=10.0, size=(500, width))
    np.testing.assert_array_equal(row_norms(vectors), [np.linalg.norm(vector) for vector in vectors])


@pytest.mark.parametrize(("wrong", "text"), [
    ({"samples": np.zeros(1)}, "samples must be int32"),
    ({"samples": np.full(1, 1, np.int32)}, r"samples must lie in \[-1, 1\), got 1 to 1"),
    ({"centers": np.zeros((1, 3))}, r"centers must be float64 \(1, 2\), got float64 \(1, 3\)"),
    ({"starts": np.array([0, 2])}, "starts must rise from 0 to the 1 true centres"),
    ({"starts": np.array([], np.int64)}, "starts must rise from 0"),
])
def test_arrays_that_do_not_fit_are_refused(wrong: dict[str, np.ndarray], text: str):
    fitting = {"centers": np.zeros((1, 2)), "samples": np.zeros(1, np.int32), "truth": np.zeros((1, 2)),
               "starts": np.array([0, 1]), "thresholds": THRESHOLDS}
    with pytest.raises(ValueError, match=text):
        greedy_centers(**{**fitting, **wrong})
