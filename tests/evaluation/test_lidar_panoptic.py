"""Panoptic quality and tracking of points: by hand, against the nuScenes devkit, and their edges."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from lidar_label_cases import FIRST_STUFF, NUM_CLASSES, random_scene

from perception.datasets.nuscenes_lidarseg import CHALLENGE_CLASSES, challenge_class_table
from perception.evaluation.segmentation.lidar_panoptic import MIN_POINTS, LidarPanopticQuality
from perception.evaluation.segmentation.lidar_tracking import LidarPanopticTracking
from perception.synthetic.taxonomy import CATEGORY_INDEX

CAR, ROAD = 4000, 11000


def points(**segments: int) -> np.ndarray:
    """Labels given as c4001=20: twenty points of label 4001."""
    return np.concatenate([np.full(count, int(name[1:])) for name, count in segments.items()])


def devkit_tracking(scenes: list[tuple[list[np.ndarray], ...]]) -> dict[str, Any]:
    from nuscenes.eval.panoptic.panoptic_track_evaluator import PanopticTrackingEval

    theirs = PanopticTrackingEval(NUM_CLASSES, FIRST_STUFF, ignore=[0], min_points=MIN_POINTS)
    for number, scene in enumerate(scenes):
        columns: list[list[Any]] = [[None], [None], [None], [None]]
        for truth, predicted in zip(*scene, strict=True):
            scan = (predicted // 1000, predicted, truth // 1000, truth)
            for column, values in zip(columns, scan, strict=True):
                column[:] = [*column, values.copy()][-2:]                # the devkit changes its arguments
            theirs.add_batch(f"scene-{number}", *columns)
    pat, pq, tq = theirs.get_pat()
    ptq, _, sptq, _ = theirs.get_ptq()
    lstq, association = theirs.get_lstq()
    motsa, smotsa, motsp = theirs.get_motsa()
    return {
        "PAT": pat, "PQ": pq, "TQ": tq, "PTQ": ptq, "sPTQ": sptq, "LSTQ": lstq, "mIoU": theirs.getSemIoU()[0],
        "S_assoc": association, "MOTSA": motsa, "sMOTSA": smotsa, "MOTSP": motsp,
    }


@pytest.mark.parametrize("seed", range(6))
def test_quality_equals_the_devkit(seed: int):
    from nuscenes.eval.panoptic.panoptic_seg_evaluator import PanopticEval

    theirs, ours = PanopticEval(NUM_CLASSES, ignore=[0], min_points=MIN_POINTS), LidarPanopticQuality()
    for truth, predicted in zip(*random_scene(np.random.default_rng(seed), 6), strict=True):
        theirs.addBatch(predicted // 1000, predicted, truth // 1000, truth)
        ours.update(truth, predicted)
    scores = ours.compute()
    pq, sq, rq, *by_class = theirs.getPQ()
    means, iou = scores.means(), theirs.getSemIoU()
    np.testing.assert_allclose([means["PQ"], means["SQ"], means["RQ"], means["mIoU"]], [pq, sq, rq, iou[0]], rtol=1e-9)
    np.testing.assert_allclose([scores.pq, scores.sq, scores.rq, scores.iou], [*by_class, iou[1]], rtol=1e-9)
    np.testing.assert_array_equal([scores.tp, scores.fp, scores.fn], [theirs.pan_tp, theirs.pan_fp, theirs.pan_fn])


@pytest.mark.parametrize("seed", range(8))
def test_tracking_equals_the_devkit(seed: int):
    rng = np.random.default_rng(seed)
    scenes = [random_scene(rng, int(rng.integers(1, 7))) for _ in range(3)]
    ours = LidarPanopticTracking()
    for truth, predicted in scenes:
        ours.update(truth, predicted)
    expected = devkit_tracking(scenes)
    summary = ours.compute().summary()
    for name, value in expected.items():
        np.testing.assert_allclose(summary[name], value, rtol=0, atol=1e-6, err_msg=name)    # float32 in the devkit


def test_misses_of_few_points_are_forgiven_and_matches_of_few_points_count():
    quality = LidarPanopticQuality()
    quality.update(points(c4001=14, c4002=15, c4003=5), points(c11000=29, c4007=5))
    scores = quality.compute()
    assert (scores.tp[4], scores.fn[4], scores.fp[11]) == (1, 1, 1)
    assert scores.pq[4] == pytest.approx(1 / 1.5)


def test_the_mean_takes_in_classes_that_do_not_occur():
    quality = LidarPanopticQuality()
    quality.update(points(c4001=20, c11000=20), points(c4009=20, c11000=20))
    means = quality.compute().means()
    assert means["PQ"] == means["mIoU"] == means["PQ_dagger"] == pytest.approx(2 / 16)


def test_instances_of_two_categories_of_one_class_stay_apart():
    """Number 1 of the adults (general index 2) and of the children (3), both pedestrians."""
    truth, predicted = points(c2001=20, c3001=20), points(c7001=20, c7002=20)
    table = challenge_class_table()
    quality = LidarPanopticQuality()
    quality.update(truth, predicted, table[truth // 1000])
    assert quality.compute().pq[CHALLENGE_CLASSES.index("pedestrian")] == 1.0
    tracking = LidarPanopticTracking()
    tracking.update([truth], [predicted], [table[truth // 1000]])
    assert tracking.compute().tq == 1.0


def test_a_switch_of_the_id_costs_one_match():
    tracking = LidarPanopticTracking()
    tracking.update([points(c4001=20)] * 3, [points(c4001=20), points(c4001=20), points(c4002=20)])
    scores = tracking.compute()
    assert scores.id_switches[4] == 1
    assert scores.ptq[4] == pytest.approx(2 / 3)
    assert scores.motsa == pytest.approx(2 / 3)
    assert scores.tq == pytest.approx(np.sqrt((2**2 / 3 + 1 / 3) / 3 * 0.5))     # AQ, and one switch of two steps


def test_scenes_do_not_follow_each_other():
    tracking = LidarPanopticTracking()
    for label in (4001, 4002):
        tracking.update([np.full(20, 4001)], [np.full(20, label)])
    assert tracking.compute().id_switches.sum() == 0


def test_counts_add_up_over_processes():
    rng = np.random.default_rng(3)
    scenes = [random_scene(rng, 3) for _ in range(4)]
    whole, halves = LidarPanopticTracking(), (LidarPanopticTracking(), LidarPanopticTracking())
    for number, scene in enumerate(scenes):
        whole.update(*scene)
        halves[number % 2].update(*scene)
    halves[0].merge(halves[1])
    assert halves[0].compute().summary() == pytest.approx(whole.compute().summary(), rel=1e-12)


def test_scans_without_points_or_true_classes_score_nothing():
    tracking = LidarPanopticTracking()
    tracking.update([np.zeros(0, np.uint16), np.zeros(9, np.uint16)], [np.zeros(0, np.uint16), points(c4001=9)])
    summary = tracking.compute().summary()
    assert summary["PQ"] == summary["LSTQ"] == summary["PAT"] == 0.0
    assert np.isnan(summary["PTQ"])


def test_the_classes_of_the_challenge_are_those_of_the_devkit():
    from nuscenes.eval.lidarseg.utils import LidarsegClassMapper

    mapper = LidarsegClassMapper(SimpleNamespace(lidarseg_name2idx_mapping=CATEGORY_INDEX))
    assert dict(enumerate(challenge_class_table().tolist())) == mapper.fine_idx_2_coarse_idx_mapping
    theirs = sorted(mapper.coarse_name_2_coarse_idx_mapping.items(), key=lambda item: item[1])
    assert CHALLENGE_CLASSES[1:] == tuple(name for name, index in theirs if index > 0)


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda q: q.update([17000], [4001]), r"classes of truth must lie in \[0, 16\], got 17"),
        (lambda q: q.update([4001], [17001]), r"classes of predictions must lie in \[0, 16\], got 17"),
        (lambda q: q.update([4001], [-1]), r"predictions must lie in \[0, 65535\], got -1"),
        (lambda q: q.update([4001], [4001, 4001]), r"true labels are \(1,\), the predicted ones \(2,\)"),
        (lambda q: q.merge(LidarPanopticQuality(min_points=30)), "with min_points 30 into those of 17 with 15"),
        (lambda q: LidarPanopticQuality(5, first_stuff=6), r"first_stuff must lie in \(1, 5\], got 6"),
        (lambda q: LidarPanopticTracking().update([[1000]], []), "must have as many scans, got 1 and 0"),
    ],
)
def test_labels_that_cannot_be_counted_are_refused(call, match):
    with pytest.raises(ValueError, match=match):
        call(LidarPanopticQuality())
