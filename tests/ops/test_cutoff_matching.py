"""Matching at every score cut-off: by hand, against solving each cut-off anew, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from perception_ops import native_available
from perception_ops.cutoff_matching import CutoffTask, match_at_cutoffs, match_at_cutoffs_reference

needs_native = pytest.mark.skipif(not native_available(), reason="native kernels are not in use")
MATCHERS = [match_at_cutoffs, match_at_cutoffs_reference]


def task_of(cutoffs: list[int], edges: list[tuple[int, int, int]], /, truths: int, **columns: Any) -> CutoffTask:
    """One frame, one shard, one level; pairs are (prediction, truth, weight) by prediction, worth their weight."""
    of_row, to, weights = (np.array([edge[place] for edge in edges], np.int64) for place in range(3))
    standard = {
        "frame_starts": [0, len(cutoffs)], "cutoffs": cutoffs,
        "edge_starts": np.searchsorted(of_row, np.arange(len(cutoffs) + 1)), "edge_truths": to, "edge_weights": weights,
        "edge_values": weights[:, None], "false_shards": np.zeros(len(cutoffs)), "false_counts": np.ones(len(cutoffs)),
        "truth_shards": np.zeros(truths), "truth_levels": np.zeros(truths), "num_shards": 1, "num_cutoffs": 3,
        "num_levels": 1,
    }
    return CutoffTask(**{**standard, **columns})


def random_task(rng: np.random.Generator, frames: int = 60) -> CutoffTask:
    """Crowds of up to 9 predictions and 8 truths; all weights differ, some shards and levels do not count."""
    rows, edges, cutoffs, truths = [0], [], [], 0
    for _ in range(frames):
        wide, deep = rng.integers(0, 10), rng.integers(0, 9)
        cutoffs += sorted(rng.integers(-1, 20, wide).tolist(), reverse=True)
        for row in range(rows[-1], rows[-1] + wide):
            edges += [(row, truths + column) for column in range(deep) if rng.random() < 0.5]
        rows.append(rows[-1] + int(wide))
        truths += int(deep)
    weights = rng.permutation(len(edges)) * 997 + rng.integers(1, 997, len(edges))
    first = rng.integers(0, 3, rows[-1])
    return task_of(
        cutoffs, [(row, truth, int(weight)) for (row, truth), weight in zip(edges, weights, strict=True)], truths,
        frame_starts=rows, edge_values=rng.random((len(edges), 2)), false_shards=first,
        false_counts=rng.integers(0, 4 - first), truth_shards=rng.integers(-1, 3, truths),
        truth_levels=rng.integers(0, 2, truths), num_shards=3, num_cutoffs=20, num_levels=2,
    )


@pytest.mark.parametrize("match", MATCHERS)
def test_the_best_total_displaces_a_better_pair(match: Any):
    crossed = task_of([2, 0], [(0, 0, 8), (0, 1, 7), (1, 0, 6)], truths=2)     # alone, 0 takes truth 0; with 1, truth 1
    counts = match(crossed)
    assert counts.hits[0, :, 0].tolist() == [2, 1, 1]
    assert counts.false_positives[0].tolist() == [0, 0, 0]
    assert counts.values[0, :, 0].tolist() == pytest.approx([7 + 6, 8, 8])


@pytest.mark.parametrize("match", MATCHERS)
def test_a_better_prediction_of_less_score_leaves_the_other_unmatched(match: Any):
    counts = match(task_of([2, 1], [(0, 0, 5), (1, 0, 9)], truths=1))
    assert counts.hits[0, :, 0].tolist() == [1, 1, 1]
    assert counts.false_positives[0].tolist() == [1, 1, 0]
    assert counts.values[0, :, 0].tolist() == pytest.approx([9, 9, 5])


@pytest.mark.parametrize("match", MATCHERS)
def test_by_score_the_first_keeps_what_it_took(match: Any):
    counts = match(task_of([2, 0], [(0, 0, 8), (0, 1, 7), (1, 0, 6)], truths=2), "score_first")
    assert counts.hits[0, :, 0].tolist() == [1, 1, 1]
    assert counts.false_positives[0].tolist() == [1, 0, 0]


@pytest.mark.parametrize("match", MATCHERS)
def test_of_equal_weights_the_first_truth_is_taken_by_score(match: Any):
    counts = match(task_of([0], [(0, 0, 5), (0, 1, 5)], truths=2, truth_levels=[1, 0], num_levels=2), "score_first")
    assert counts.hits[0, 0].tolist() == [0, 1]


@needs_native
@pytest.mark.parametrize("rule", ["hungarian", "score_first"])
@pytest.mark.parametrize("seed", range(4))
def test_the_kernel_equals_its_reference(rule: str, seed: int):
    task = random_task(np.random.default_rng(seed))
    ours, reference = match_at_cutoffs(task, rule), match_at_cutoffs_reference(task, rule)
    np.testing.assert_array_equal(ours.hits, reference.hits)
    np.testing.assert_array_equal(ours.false_positives, reference.false_positives)
    np.testing.assert_allclose(ours.values, reference.values, rtol=0, atol=1e-9)     # added in another order


@needs_native
def test_threads_change_no_bit():
    task = random_task(np.random.default_rng(5), frames=700)   # three blocks of frames
    threads = torch.get_num_threads()
    sums = []
    try:
        for count in (1, 2):
            torch.set_num_threads(count)
            sums.append(match_at_cutoffs(task).values)
    finally:
        torch.set_num_threads(threads)
    np.testing.assert_array_equal(*sums)


@pytest.mark.parametrize("match", MATCHERS)
def test_nothing_to_match_counts_nothing(match: Any):
    nothing = match(task_of([], [], truths=0, frame_starts=[0], edge_values=np.zeros((0, 1))))
    assert nothing.hits.sum() == nothing.false_positives.sum() == 0
    assert match(task_of([1, -1], [], truths=3)).false_positives[0].tolist() == [1, 1, 0]


@pytest.mark.parametrize(
    ("columns", "text"),
    [
        ({"frame_starts": [0, 1]}, "frame_starts must rise from 0 to 2"),
        ({"cutoffs": [3, 0]}, r"cutoffs must lie in \[-1, 3\), got 0 to 3"),
        ({"edge_truths": [5]}, r"edge_truths must lie in \[0, 1\), got 5 to 5"),
        ({"edge_weights": [0]}, r"edge_weights must lie in \[1, .*\), got 0 to 0"),
        ({"edge_weights": [1, 2]}, r"edge_weights must be \(1,\), got \(2,\)"),
        ({"false_shards": [1, 0]}, r"false_shards must lie in \[0, 1\)"),
        ({"truth_levels": [1]}, r"truth_levels must lie in \[0, 1\)"),
    ],
)
def test_columns_that_do_not_fit_are_refused(columns: dict[str, Any], text: str):
    with pytest.raises(ValueError, match=text):
        task_of([1, 0], [(0, 0, 5)], truths=1, **columns)


def test_an_unknown_rule_is_refused():
    task = replace(task_of([0], [(0, 0, 5)], truths=1))
    with pytest.raises(ValueError, match="rule must be one of hungarian, score_first, got 'greedy'"):
        match_at_cutoffs(task, "greedy")
