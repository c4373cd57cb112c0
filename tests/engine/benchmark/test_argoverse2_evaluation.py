"""Seeded Argoverse 2 boxes repeat, and the rows say what was timed and that both evaluations agree."""

from __future__ import annotations

import pandas as pd
import torch

from perception.engine.benchmark.argoverse2_evaluation import benchmark_argoverse2
from perception.engine.benchmark.argoverse2_logs import seeded_boxes
from perception.engine.benchmark.setting import Setting


def test_seeded_boxes_repeat_and_their_scores_differ_from_each_other():
    one, other = seeded_boxes(2, 30), seeded_boxes(2, 30)
    for left, right in zip(one, other, strict=True):
        pd.testing.assert_frame_equal(left, right)
    assert one[0]["score"].is_unique


def test_there_is_a_row_with_and_without_the_region_of_interest():
    setting = Setting(torch.float32, torch.device("cpu"), gbps=1.0, gflops=1.0)
    rows = list(benchmark_argoverse2(setting, samples=2, predictions=20, repeats=1))
    assert [(row.name, row.samples, row.size, row.dtype) for row in rows] == [
        ("argoverse2", 2, 40, "float64"), ("argoverse2/region", 2, 40, "float64"),
    ]
    assert all(row.identical for row in rows)
    assert rows[0].score != rows[1].score
    assert all(row.score == row.reference_score for row in rows)
