from __future__ import annotations

import numpy as np
import pytest
import torch

from perception.engine.benchmark.nuscenes_boxes import rack_rows, seeded_nuscenes
from perception.engine.benchmark.nuscenes_evaluation import Devkit, benchmark_nuscenes
from perception.engine.benchmark.setting import Setting
from perception.evaluation.detection.nuscenes_evaluation import evaluate_nuscenes_boxes

SETTING = Setting(torch.float32, torch.device("cpu"), gbps=10.0, gflops=50.0)


def test_both_evaluations_are_timed_and_give_the_same_numbers():
    (row,) = benchmark_nuscenes(SETTING, samples=6, predictions=80, repeats=1)
    assert (row.name, row.samples, row.size, row.dtype) == ("nuscenes", 6, 480, "float64")
    assert row.identical
    assert row.score == row.reference_score
    assert row.score is not None
    assert 0.05 < row.score < 0.95                         # neither nothing found nor all
    assert row.ratio is not None
    assert row.ratio > 0


def test_the_devkit_may_be_asked_again():
    devkit = Devkit(*seeded_nuscenes(3, 40))
    assert devkit.evaluate().curves == devkit.evaluate().curves


def test_seeded_boxes_repeat_and_differ_by_seed():
    (_, first, _), (_, again, _), (_, other, _) = (seeded_nuscenes(4, 30, seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first.translation, again.translation)
    assert not np.array_equal(first.translation, other.translation)


def test_a_split_has_all_classes_racks_and_unknown_velocities():
    truth, predictions, surroundings = seeded_nuscenes(300, 20)
    assert len(truth) / 300 == pytest.approx(31, rel=0.05)
    assert set(truth.label.tolist()) == set(predictions.label.tolist()) == set(range(10))
    assert np.isnan(truth.velocity).any()
    assert sum(map(len, rack_rows(surroundings).values())) == len(surroundings.rack_sample) > 20


def test_a_sample_may_be_empty_of_predictions():
    truth, predictions, surroundings = seeded_nuscenes(3, 0)
    assert evaluate_nuscenes_boxes(truth, predictions, surroundings).summary["mean_ap"] == 0.0
