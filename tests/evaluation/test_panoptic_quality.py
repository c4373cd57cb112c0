"""Panoptic quality: by hand, against torchmetrics where the two agree, properties and edges."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from perception.evaluation.segmentation.panoptic_quality import PanopticQuality, PanopticScores, SegmentTable

CATEGORIES = {1: True, 2: True, 7: False}
IDS = hnp.arrays(np.int64, (8, 9), elements=st.integers(0, 5))
NONE = SegmentTable(np.zeros(0), np.zeros(0))


def table(segments: dict[int, int], crowd: tuple[int, ...] = (), areas: npt.ArrayLike | None = None) -> SegmentTable:
    """Segments given as {id: category}; ``crowd`` are ids."""
    ids = np.array(list(segments), np.int64)
    columns = None if areas is None else np.asarray(areas)
    return SegmentTable(ids, np.array(list(segments.values()), np.int64), np.isin(ids, crowd), columns)


def row(*runs: tuple[int, int]) -> np.ndarray:
    """One row of pixels from (id, length)."""
    return np.concatenate([np.full(length, label) for label, length in runs])[None]


def scored(
    truth: np.ndarray, segments: SegmentTable, predictions: np.ndarray, predicted: SegmentTable
) -> PanopticScores:
    quality = PanopticQuality(CATEGORIES)
    quality.update(truth, segments, predictions, predicted)
    return quality.compute()


def counts(scores: PanopticScores, category: int) -> tuple[int, int, int]:
    """TP, FP and FN."""
    place = scores.categories.tolist().index(category)
    return int(scores.tp[place]), int(scores.fp[place]), int(scores.fn[place])


def test_an_iou_of_a_half_is_no_match():
    segments, predicted = table({5: 1, 6: 7}), table({9: 1})
    assert counts(scored(row((5, 3), (6, 1)), segments, row((9, 4)), predicted), 1) == (1, 0, 0)
    half = scored(row((5, 2), (6, 2)), segments, row((9, 4)), predicted)
    assert (counts(half, 1), counts(half, 7)) == ((0, 1, 1), (0, 0, 1))


def test_void_of_the_truth_leaves_the_union_and_void_of_the_prediction_stays():
    assert scored(row((5, 2), (0, 2)), table({5: 1}), row((9, 4)), table({9: 1})).iou_sum[0] == 1.0
    assert counts(scored(row((5, 4)), table({5: 1}), row((9, 2), (0, 2)), table({9: 1})), 1) == (0, 1, 1)


def test_a_prediction_mostly_on_void_and_on_the_crowd_of_its_category_is_ignored():
    """Two of its five pixels lie on void, one on the crowd, two on an object of another category."""
    truth, predictions = row((0, 2), (6, 1), (7, 2)), row((9, 5))
    segments = table({6: 1, 7: 2}, crowd=(6,))
    assert counts(scored(truth, segments, predictions, table({9: 1})), 1) == (0, 0, 0)
    other = scored(truth, table({6: 7, 7: 2}, crowd=(6,)), predictions, table({9: 1}))
    assert counts(other, 1) == (0, 1, 0)                                  # the crowd of another category does not help


def test_of_several_crowds_of_a_category_the_last_one_counts():
    truth, predictions = row((5, 3), (6, 1)), row((9, 3), (0, 1))
    assert counts(scored(truth, table({6: 1, 5: 1}, crowd=(5, 6)), predictions, table({9: 1})), 1) == (0, 0, 0)
    assert counts(scored(truth, table({5: 1, 6: 1}, crowd=(5, 6)), predictions, table({9: 1})), 1) == (0, 1, 0)


def test_areas_of_the_files_go_before_those_of_the_map():
    """Told of 8 pixels where the map has 4: IoU 4 / 8 instead of 1."""
    assert counts(scored(row((5, 4)), table({5: 1}, areas=[8]), row((9, 4)), table({9: 1})), 1) == (0, 1, 1)


def test_pq_is_that_of_the_counts_of_all_pictures_and_not_their_mean():
    quality = PanopticQuality(CATEGORIES)
    quality.update(row((5, 4)), table({5: 1}), row((9, 4)), table({9: 1}))
    quality.update(row((5, 2), (6, 2)), table({5: 1, 6: 1}), row((0, 4)), NONE)
    scores = quality.compute()
    assert scores.pq[0] == pytest.approx(1 / (1 + 2 / 2))
    assert scores.averages["all"].num_averaged == scores.averages["things"].num_averaged == 1


def test_means_of_nothing_are_not_numbers():
    scores = scored(row((0, 4)), NONE, row((0, 4)), NONE)
    assert scores.averages["all"].num_averaged == 0
    assert np.isnan(scores.averages["all"].pq)
    assert scores.pq.tolist() == [0.0, 0.0, 0.0]


def test_quality_equals_torchmetrics_where_predictions_cover_all_and_there_is_no_crowd():
    detection = pytest.importorskip("torchmetrics.detection")
    rng = np.random.default_rng(0)
    theirs = detection.PanopticQuality(things={1, 2}, stuffs={7}, return_per_class=True)
    ours = PanopticQuality(CATEGORIES)
    for _ in range(3):
        truth = np.repeat(np.repeat(rng.integers(1, 6, (5, 6)), 4, axis=0), 4, axis=1)
        predictions = np.roll(truth, 1, axis=1)
        predictions[:7] = rng.integers(1, 6)
        categories = {1: 1, 2: 1, 3: 2, 4: 2, 5: 7}
        pairs = [np.stack([np.vectorize(categories.get)(ids), ids], axis=-1)[None] for ids in (predictions, truth)]
        theirs.update(*(torch.from_numpy(pair) for pair in pairs))
        tables = [table({int(i): categories[int(i)] for i in np.unique(ids)}) for ids in (truth, predictions)]
        ours.update(truth, tables[0], predictions, tables[1])
    np.testing.assert_allclose(ours.compute().pq, theirs.compute()[0], rtol=1e-6)        # float32 there


@given(ids=IDS)
def test_the_truth_as_prediction_is_perfect(ids: np.ndarray):
    segments = table({int(label): 1 + label % 2 for label in np.unique(ids[ids > 0])})
    scores = scored(ids, segments, ids, segments)
    assert scores.fp.sum() == scores.fn.sum() == 0
    np.testing.assert_allclose(scores.iou_sum, scores.tp)


@given(truth=IDS, predictions=IDS, ids=st.permutations(range(10, 16)))
def test_names_of_segments_do_not_matter(truth: np.ndarray, predictions: np.ndarray, ids: list[int]):
    renamed = np.where(predictions > 0, np.array(ids)[predictions], 0)
    segments = table({int(label): 1 for label in np.unique(truth[truth > 0])})
    first = scored(truth, segments, predictions, table({int(i): 1 for i in np.unique(predictions[predictions > 0])}))
    second = scored(truth, segments, renamed, table({int(i): 1 for i in np.unique(renamed[renamed > 0])}))
    assert (first.tp[0], first.fp[0], first.fn[0]) == (second.tp[0], second.fp[0], second.fn[0])
    assert first.iou_sum[0] == pytest.approx(second.iou_sum[0])


def test_counts_add_up_over_processes():
    whole, halves = PanopticQuality(CATEGORIES), (PanopticQuality(CATEGORIES), PanopticQuality(CATEGORIES))
    for number, length in enumerate((4, 3, 2, 5)):
        picture = row((5, length), (6, 6 - length)), table({5: 1, 6: 7}), row((9, 4), (8, 2)), table({9: 1, 8: 7})
        whole.update(*picture)
        halves[number % 2].update(*picture)
    halves[0].merge(halves[1])
    np.testing.assert_allclose(halves[0].compute().pq, whole.compute().pq, rtol=1e-12)


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: scored(row((0, 2)), NONE, row((9, 2)), NONE), "got 9, which is not in predicted.ids"),
        (lambda: scored(row((0, 2)), NONE, row((0, 2)), table({9: 1})), "got id 9, which has no pixel"),
        (lambda: scored(row((0, 2)), NONE, row((0, 2)), table({0: 1})), "got id 0, which has no pixel"),
        (lambda: scored(row((0, 2)), NONE, row((9, 2)), table({9: 3})), "categories among 1, 2, 7, got 3"),
        (lambda: scored(row((5, 2)), table({5: 4}), row((0, 2)), NONE), "truth_segments must have categories among"),
        (lambda: scored(row((0, 2)), NONE, row((0, 3)), NONE), r"labels are \(1, 2\), the predicted ones \(1, 3\)"),
        (lambda: SegmentTable(np.array([5, 5]), np.array([1, 1])), "ids must be distinct, got 5 twice"),
        (lambda: SegmentTable(np.array([5, 6]), np.array([1])), r"categories must be \(2,\), got \(1,\)"),
        (lambda: PanopticQuality({}), "categories must name at least one category"),
        (lambda: PanopticQuality({1: True}).merge(PanopticQuality({2: True})), r"cannot merge categories \[2\] into"),
    ],
)
def test_what_the_official_script_refuses_is_refused(call, match):
    with pytest.raises(ValueError, match=match):
        call()
