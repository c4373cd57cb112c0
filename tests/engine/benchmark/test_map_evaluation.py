"""The evaluation at once and the one pair by pair give the same, and their rows say what was timed."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from perception.engine.benchmark.map_evaluation import benchmark_map_evaluation, evaluate_pair_by_pair, seeded_maps
from perception.engine.benchmark.setting import Setting
from perception.evaluation.maps.vector_map_ap import evaluate_vector_map


@pytest.mark.parametrize("convention", ["vectormapnet", "maptr", "streammapnet"])
@pytest.mark.parametrize("seed", [1, 2])
def test_both_evaluations_give_the_same_average_precisions(convention: str, seed: int):
    truth, predictions = seeded_maps(samples=4, predictions=20, seed=seed)
    ours = evaluate_vector_map(truth, predictions, convention=convention).ap
    assert 0.05 < ours.mean() < 0.95                       # neither all right nor all wrong
    np.testing.assert_allclose(evaluate_pair_by_pair(truth, predictions, convention), ours, rtol=0, atol=1e-6)


def test_seeded_maps_repeat():
    one, other = seeded_maps(2, 5), seeded_maps(2, 5)
    for left, right in zip(one[1], other[1], strict=True):
        np.testing.assert_array_equal(left.vertices, right.vertices)


def test_there_is_a_row_for_each_convention():
    setting = Setting(torch.float32, torch.device("cpu"), gbps=1.0, gflops=1.0)
    rows = list(benchmark_map_evaluation(setting, samples=2, predictions=5, repeats=1))
    assert [(row.name, row.size, row.dtype) for row in rows] == [
        ("map_evaluation/maptr", 10, "float64"), ("map_evaluation/streammapnet", 10, "float64"),
    ]
    assert all(row.ratio is not None and row.ratio > 0 for row in rows)
    assert all(row.identical and row.samples == 2 and row.score == row.reference_score for row in rows)
