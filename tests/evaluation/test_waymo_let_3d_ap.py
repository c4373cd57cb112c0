"""LET-3D-AP, worked by hand from the paper's definitions."""

from __future__ import annotations

import math

import numpy as np
import pytest
from waymo_cases import box, objects

from perception.evaluation.waymo import evaluate_let_3d, evaluate_waymo
from perception.evaluation.waymo.let_3d_ap import LineOfSight

AT_ORIGIN = (0.0, 0.0, 0.0)
CAR = "OBJECT_TYPE_TYPE_VEHICLE_LEVEL_1"


@pytest.mark.parametrize(
    ("distance", "error", "expected"),
    [(50.0, 0.0, 1.0), (50.0, 2.5, 0.5), (50.0, -2.5, 0.5), (50.0, 5.0, 0.0), (50.0, 9.0, 0.0), (2.0, 0.25, 0.5)],
    ids=["none", "half of it", "too near", "all of it", "beyond", "at least half a metre"],
)
def test_affinity_falls_with_the_error_along_the_line_of_sight(distance: float, error: float, expected: float):
    truth, found = objects(box(distance)), objects(box(distance + error))
    shard = evaluate_let_3d(truth, found, sensor_m=AT_ORIGIN)[CAR]
    assert shard.tp[0] == (expected > 0)
    assert shard.sum_affinity[0] == pytest.approx(expected)
    assert shard.apl == pytest.approx(expected, abs=1e-6)
    assert shard.ap == (1.0 if expected > 0 else 0.0)


def test_a_depth_error_that_3d_ap_punishes_is_forgiven():
    truth, found = objects(box(60.0)), objects(box(62.0))
    assert evaluate_waymo(truth, found)[CAR].ap == 0.0
    assert evaluate_let_3d(truth, found)[CAR].ap == 1.0


def test_an_error_across_the_line_of_sight_is_not_forgiven():
    truth, found = objects(box(60.0)), objects(box(60.0, 2.0))
    assert evaluate_let_3d(truth, found, sensor_m=AT_ORIGIN)[CAR].tp[0] == 0


def test_predictions_are_moved_along_their_own_line_of_sight():
    true = np.array([[10.0, 0.0, 0.0]])
    found = np.array([[6.0, 6.0, 0.0]])                    # at 45 degrees
    nearest, ranged = (
        LineOfSight(np.zeros(3), 0.1, 0.5, alignment).aligned(found, true) for alignment in ("nearest", "range")
    )
    np.testing.assert_allclose(nearest, [[5.0, 5.0, 0.0]])
    np.testing.assert_allclose(ranged, [[10 / math.sqrt(2), 10 / math.sqrt(2), 0.0]])


def test_a_prediction_at_the_sensor_stays_there():
    shard = evaluate_let_3d(objects(box(0.3)), objects(box(0.0)), sensor_m=AT_ORIGIN)[CAR]
    assert shard.tp[0] == 1
    assert shard.sum_affinity[0] == pytest.approx(0.4)


def test_flat_names_tell_the_three_averages():
    truth = objects(box(20.0))
    flat = evaluate_let_3d(truth, truth).flat()
    assert [flat[f"VEHICLE_L1_LET_{column}"] for column in ("AP", "APH", "APL")] == [1.0, 1.0, 1.0]
    assert flat["ALL_NS_L2_LET_APL"] == pytest.approx(1 / 3)


def test_bad_options_are_refused():
    truth = objects(box(20.0))
    with pytest.raises(ValueError, match="alignment must be one of nearest, range, got 'none'"):
        evaluate_let_3d(truth, truth, alignment="none")
    with pytest.raises(ValueError, match=r"tolerances must be > 0, got tolerance 0, least_tolerance_m 0\.5"):
        evaluate_let_3d(truth, truth, tolerance=0)
