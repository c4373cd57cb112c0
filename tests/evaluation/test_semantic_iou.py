"""Class IoU of pictures and points: by hand, against torchmetrics and the nuScenes devkit, and its edges."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from perception.datasets.compact_labels import compact
from perception.evaluation.segmentation.pair_counts import pair_counts
from perception.evaluation.segmentation.semantic_iou import LidarsegIoU, SemanticIoU

IGNORED = 255
LABELS = hnp.arrays(np.int32, hnp.array_shapes(min_dims=1, max_dims=2, min_side=0, max_side=12),
                    elements=st.integers(-3, 3))


def scored(truth: list[int] | np.ndarray, predictions: list[int] | np.ndarray, num_classes: int = 3) -> SemanticIoU:
    iou = SemanticIoU(num_classes)
    iou.update(truth, predictions)
    return iou


@given(first=LABELS, data=st.data())
def test_pairs_are_counted_as_one_by_one(first: np.ndarray, data: st.DataObject):
    second = data.draw(hnp.arrays(np.uint8, first.shape, elements=st.integers(0, 200)))
    pairs = pair_counts(first, second)
    expected = sorted({(int(a), int(b)) for a, b in zip(first.flat, second.flat, strict=True)})
    assert list(zip(pairs.first.tolist(), pairs.second.tolist(), strict=True)) == expected
    assert pairs.counts.tolist() == [((first == a) & (second == b)).sum() for a, b in expected]


@given(labels=LABELS)
def test_compact_labels_give_the_map_back(labels: np.ndarray):
    values, place = compact(labels)
    np.testing.assert_array_equal(values[place], labels)
    assert values.tolist() == sorted(set(labels.ravel().tolist()))


def test_labels_too_far_apart_to_count_are_refused():
    with pytest.raises(ValueError, match="labels must span less than 63 bits together"):
        pair_counts(np.array([0, 2**40]), np.array([0, 2**40]))


def test_scores_by_hand():
    """Class 0: 2 right of 3, one more predicted; class 1: 1 right of 2; class 2 does not occur, though predicted."""
    scores = scored([0, 0, 0, 1, 1, IGNORED], [0, 0, 2, 1, 0, 1]).compute()
    np.testing.assert_allclose(scores.iou, [2 / 4, 1 / 2, np.nan])
    np.testing.assert_allclose(scores.accuracy, [2 / 3, 1 / 2, np.nan])
    assert scores.num_averaged == 2
    expected = {"mIoU": 50.0, "fwIoU": 50.0, "mACC": 100 * 7 / 12, "pACC": 60.0}
    assert scores.percent() == pytest.approx(expected)


def test_predicting_none_of_the_classes_is_wrong():
    scores = scored([0, 0, 1], [0, 3, 1]).compute()
    np.testing.assert_allclose(scores.iou, [1 / 2, 1.0, np.nan])
    assert scores.pacc == pytest.approx(2 / 3)


def test_pictures_without_a_known_pixel_give_no_score():
    scores = scored([IGNORED] * 4, [0, 1, 2, 0]).compute()
    assert np.isnan([*scores.iou, scores.miou, scores.fwiou, scores.macc, scores.pacc]).all()
    assert scores.num_averaged == 0


def test_iou_equals_torchmetrics_where_every_class_occurs():
    classification = pytest.importorskip("torchmetrics.classification")
    rng = np.random.default_rng(0)
    truth, predictions = rng.integers(0, 5, (40, 50)), rng.integers(0, 5, (40, 50))
    truth[rng.random(truth.shape) < 0.1] = IGNORED
    theirs = classification.MulticlassJaccardIndex(5, average="none", ignore_index=IGNORED, validate_args=False)
    expected = theirs(torch.from_numpy(predictions), torch.from_numpy(truth))
    np.testing.assert_allclose(scored(truth, predictions, 5).compute().iou, expected, rtol=1e-6)      # float32 there


def test_counts_add_up_over_processes():
    rng = np.random.default_rng(1)
    parts = [rng.integers(0, 4, (2, 30)) for _ in range(2)]
    whole = scored(np.stack([part[0] for part in parts]), np.stack([part[1] for part in parts]), 4)
    halves = [scored(*part, 4) for part in parts]
    halves[0].merge(halves[1])
    np.testing.assert_array_equal(halves[0].counts, whole.counts)


@pytest.mark.parametrize("seed", range(3))
def test_points_score_as_in_the_devkit(seed: int):
    from nuscenes.eval.lidarseg.utils import ConfusionMatrix

    rng = np.random.default_rng(seed)
    theirs, ours = ConfusionMatrix(17, ignore_idx=0), LidarsegIoU()
    for _ in range(3):
        truth, predictions = rng.integers(0, 9, 500), rng.integers(1, 14, 500)
        predictions = np.where(rng.random(500) < 0.6, np.maximum(truth, 1), predictions)
        theirs.update(truth, predictions)
        ours.update(truth, predictions)
    scores = ours.compute()
    np.testing.assert_allclose(scores.iou, theirs.get_per_class_iou(), rtol=1e-12)
    assert scores.miou == pytest.approx(theirs.get_mean_iou(), rel=1e-12)
    assert scores.fwiou == pytest.approx(theirs.get_freqweighted_iou(), rel=1e-12)


def test_points_of_a_whole_data_set_score_as_in_the_devkit():
    """Two hundred million points: the devkit's union is a float32, which is 3e-8 beside the exact ratio."""
    from nuscenes.eval.lidarseg.utils import ConfusionMatrix

    theirs, ours = ConfusionMatrix(17, ignore_idx=0), LidarsegIoU()
    ours.counts[1:, 1:] = np.random.default_rng(0).integers(0, 3_000_000, (16, 16))
    theirs.global_cm = ours.counts
    scores = ours.compute()
    np.testing.assert_array_equal(scores.iou, theirs.get_per_class_iou())
    assert scores.miou == pytest.approx(theirs.get_mean_iou(), rel=1e-15)       # another order of the sum
    assert scores.fwiou == theirs.get_freqweighted_iou()


def test_points_that_are_predicted_as_a_class_that_does_not_occur_lower_the_mean():
    iou = LidarsegIoU()
    iou.update([1, 1, 0], [1, 2, 3])
    scores = iou.compute()
    assert scores.iou[[1, 2]].tolist() == [0.5, 0.0]
    assert (scores.miou, scores.num_averaged) == (0.25, 2)
    assert np.isnan(LidarsegIoU().compute().miou)


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: scored([0, 3], [0, 0]), r"truth must lie in \[0, 2\], got 3"),
        (lambda: scored([0, -1], [0, 0]), r"truth must lie in \[0, 2\], got -1"),
        (lambda: scored([0, IGNORED], [0, 4]), r"predictions must lie in \[0, 3\], got 4"),
        (lambda: scored([0], [0, 1]), r"true labels are \(1,\), the predicted ones \(2,\)"),
        (lambda: scored(np.zeros(2), [0, 1]), "labels must be integers, got float64"),
        (lambda: SemanticIoU(0), "num_classes must be >= 1, got 0"),
        (lambda: SemanticIoU(300), "ignore_label must not be one of 300 classes, got 255"),
        (lambda: SemanticIoU(3).merge(SemanticIoU(4)), "cannot merge counts of 4 classes into those of 3"),
        (lambda: LidarsegIoU().update([1], [0]), r"predictions must lie in \[1, 16\], got 0"),
        (lambda: LidarsegIoU().update([17], [1]), r"truth must lie in \[0, 16\], got 17"),
        (lambda: LidarsegIoU().merge(LidarsegIoU(20)), "cannot merge counts of 20 classes into those of 17"),
    ],
)
def test_labels_that_cannot_be_counted_are_refused(call, match):
    with pytest.raises(ValueError, match=match):
        call()
