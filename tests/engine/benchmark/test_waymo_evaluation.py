"""The seeded Waymo objects repeat and are neither all right nor all wrong, and the rows say what was timed."""

from __future__ import annotations

import numpy as np
import torch

from perception.engine.benchmark.setting import Setting
from perception.engine.benchmark.waymo_evaluation import benchmark_waymo_evaluation, seeded_waymo_objects
from perception.evaluation.waymo import evaluate_waymo


def test_seeded_objects_repeat_and_score_in_between():
    truth, predictions = seeded_waymo_objects(40, 30, seed=1)
    assert (len(truth), len(predictions)) == (1000, 1200)
    np.testing.assert_array_equal(predictions.boxes, seeded_waymo_objects(40, 30, seed=1)[1].boxes)
    flat = evaluate_waymo(truth, predictions).flat()
    assert 0.1 < flat["ALL_NS_L1_APH"] < flat["ALL_NS_L1_AP"] < 0.9


def test_there_is_a_row_for_each_rule_of_matching():
    setting = Setting(torch.float32, torch.device("cpu"), gbps=1.0, gflops=1.0)
    rows = list(benchmark_waymo_evaluation(setting, frames=3, predictions=5))
    assert [(row.name, row.size, row.dtype) for row in rows] == [
        ("waymo_evaluation/hungarian", 15, "float64"), ("waymo_evaluation/score_first", 15, "float64"),
    ]
    assert all(row.ms is not None and row.ms > 0 for row in rows)
