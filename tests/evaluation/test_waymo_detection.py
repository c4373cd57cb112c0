"""Waymo's detection scores on boxes worked out by hand, by every breakdown, and in crowds."""

from __future__ import annotations

import io
import logging
import math
from typing import Any

import numpy as np
import pytest
from rich.console import Console
from waymo_cases import CYCLIST, PEDESTRIAN, SIGN, VEHICLE, box, crowd, objects

from perception.evaluation.waymo import WaymoObjects, WaymoScores, evaluate_waymo, prepare_ground_truth, waymo_table
from perception.evaluation.waymo.box_iou import FramedObjects, overlapping_pairs
from perception.evaluation.waymo.breakdowns import BREAKDOWNS
from perception.evaluation.waymo.detection import IOU_THRESHOLDS

ALL = tuple(BREAKDOWNS)
CAR = "OBJECT_TYPE_TYPE_VEHICLE_LEVEL_1"


def counts(scores: WaymoScores, name: str = CAR, cutoff: int = 0) -> tuple[int, int, int]:
    """True and false positives, and misses, of a shard at a cut-off."""
    shard = scores[name]
    return int(shard.tp[cutoff]), int(shard.fp[cutoff]), int(shard.fn[cutoff])


# Worked by hand.

def test_the_truth_against_itself_scores_one():
    truth = objects(box(10), box(20, size=(0.8, 0.8, 1.7)), box(40, 5, 1.0), types=[VEHICLE, PEDESTRIAN, CYCLIST])
    flat = evaluate_waymo(truth, truth).flat()
    for level in ("L1", "L2"):
        assert flat[f"ALL_NS_{level}_AP"] == flat[f"ALL_NS_{level}_APH"] == 1.0
    assert flat["RANGE_VEHICLE_[0, 30)_L1_AP"] == 1.0
    assert flat["SIGN_L1_AP"] == 0.0                       # there is none, which scores nothing


@pytest.mark.parametrize(("turned", "apart"), [(math.pi, 1.0), (math.pi / 2, 0.5), (-0.1, 0.1 / math.pi)])
def test_the_heading_weighs_true_positives(turned: float, apart: float):
    truth, found = objects(box(10, size=(2, 2, 2))), objects(box(10, heading=turned, size=(2, 2, 2)))
    scores = evaluate_waymo(truth, found, iou_thresholds={"VEHICLE": 0.5})
    assert scores[CAR].sum_ha[0] == pytest.approx(1 - apart)
    assert scores[CAR].ap == 1.0
    assert scores[CAR].aph == pytest.approx(1 - apart, abs=1e-6)       # in float32


@pytest.mark.parametrize(("shift", "found"), [(0.7, True), (0.71, False)])
def test_a_vehicle_must_overlap_by_seven_tenths(shift: float, found: bool):
    scores = evaluate_waymo(objects(box(10)), objects(box(10 + shift)))        # IoU (4 - d) / (4 + d): 0.702, 0.698
    assert counts(scores) == ((1, 0, 0) if found else (0, 1, 1))


def test_a_prediction_counts_at_the_cut_offs_that_its_score_passes():
    scores = evaluate_waymo(objects(box(10)), objects(box(10), scores=[0.35]))
    assert scores[CAR].tp.tolist() == [1] * 36 + [0] * 65
    assert scores[CAR].fn.tolist() == [0] * 36 + [1] * 65


def test_boxes_on_both_sides_of_a_range_never_match():
    truth, found = objects(box(50.1, z=0.0)), objects(box(49.9, z=0.0))
    scores = evaluate_waymo(truth, found)
    assert counts(scores) == (1, 0, 0)
    assert counts(scores, "RANGE_TYPE_VEHICLE_[30, 50)_LEVEL_1") == (0, 1, 0)
    assert counts(scores, "RANGE_TYPE_VEHICLE_[50, +inf)_LEVEL_1") == (0, 0, 1)


def test_level_one_profits_from_matches_with_level_two():
    truth = objects(box(10), box(20), box(30), difficulty=[2, 2, 1])
    scores = evaluate_waymo(truth, objects(box(10)))
    assert counts(scores) == (1, 0, 1)                     # the match counts, the miss of level 2 does not
    assert counts(scores, "OBJECT_TYPE_TYPE_VEHICLE_LEVEL_2") == (1, 0, 2)


def test_unmatched_predictions_in_zones_without_labels_do_not_count():
    found = objects(box(10), box(30), box(40), overlap_with_nlz=[True, True, False])
    assert counts(evaluate_waymo(objects(box(10)), found)) == (1, 1, 0)


def test_frames_of_one_side_only_count():
    scores = evaluate_waymo(objects(box(10), box(10), frames=[0, 1]), objects(box(10), box(10), frames=[1, 2]))
    assert counts(scores) == (1, 1, 1)
    assert scores.num_frames == 3


def test_cameras_are_frames_of_their_own():
    scores = evaluate_waymo(objects(box(10), camera=1), objects(box(10), camera=2))
    assert counts(scores) == (0, 1, 1)


def test_types_never_match_each_other():
    scores = evaluate_waymo(objects(box(10)), objects(box(10), types=CYCLIST), breakdowns=["one_shard"])
    assert counts(scores, "ONE_SHARD_LEVEL_1") == (0, 1, 1)


@pytest.mark.parametrize("size", [(4.0, 2.0, 0.01), (4.0, 0.0, 1.5), (1e6, 2.0, 1.5)])
def test_a_box_without_size_or_beyond_measure_overlaps_with_nothing(size: tuple[float, ...]):
    flat_box = objects(box(10, size=size))
    assert counts(evaluate_waymo(flat_box, flat_box)) == (0, 1, 1)


def test_seen_from_above_heights_do_not_count():
    truth, found = objects(box(10)), objects(box(10, z=5, size=(4, 2, 0)))
    assert counts(evaluate_waymo(truth, found)) == (0, 1, 1)
    assert counts(evaluate_waymo(truth, found, box_type="2d")) == (1, 0, 0)


def test_the_best_total_of_overlaps_is_matched_and_by_score_the_best_overlap():
    truth, found = objects(box(10), box(10.6)), objects(box(10.25), box(9.85), scores=[0.9, 0.1])
    assert counts(evaluate_waymo(truth, found)) == (2, 0, 0)
    assert counts(evaluate_waymo(truth, found, matching="score_first")) == (1, 1, 1)


# Breakdowns.

@pytest.mark.parametrize(
    ("speed", "shard"), [(0.1, "STATIONARY"), (0.2, "SLOW"), (2.9, "MEDIUM"), (3.0, "FAST"), (10.0, "VERY_FAST")]
)
def test_a_truth_is_found_in_the_shard_of_its_own_speed(speed: float, shard: str):
    scores = evaluate_waymo(objects(box(10), speed=[[0, speed]]), objects(box(10)), breakdowns=["velocity"])
    for part in ("STATIONARY", "SLOW", "MEDIUM", "FAST", "VERY_FAST"):
        wanted = (1, 0, 0) if part == shard else (0, 0, 0)
        assert counts(scores, f"VELOCITY_TYPE_VEHICLE_{part}_LEVEL_1") == wanted


def test_a_false_positive_near_a_truth_belongs_to_the_shard_of_that_truth():
    truth = objects(box(10), speed=[[5.0, 0.0]])
    near, far = box(12), box(50)
    scores = evaluate_waymo(truth, objects(near, far), breakdowns=["velocity"])
    assert counts(scores, "VELOCITY_TYPE_VEHICLE_FAST_LEVEL_1") == (0, 2, 1)
    assert counts(scores, "VELOCITY_TYPE_VEHICLE_SLOW_LEVEL_1") == (0, 1, 0)           # that far from any truth, in all
    assert counts(scores, "VELOCITY_TYPE_CYCLIST_SLOW_LEVEL_1") == (0, 0, 0)


def test_sizes_and_signs_are_split():
    truth = objects(box(10, size=(7.0, 2, 2)), box(20, size=(6.9, 2, 2)), box(30), types=[VEHICLE, VEHICLE, SIGN])
    scores = evaluate_waymo(truth, truth, breakdowns=["SIZE", "ALL_BUT_SIGN", "ONE_SHARD"])
    assert counts(scores, "SIZE_TYPE_VEHICLE_large_LEVEL_1") == (1, 0, 0)
    assert counts(scores, "SIZE_TYPE_VEHICLE_small_LEVEL_1") == (1, 0, 0)
    assert counts(scores, "ALL_BUT_SIGN_LEVEL_1") == (2, 0, 0)
    assert counts(scores, "SIGN_LEVEL_1") == (1, 0, 0)
    assert counts(scores, "ONE_SHARD_LEVEL_1") == (3, 0, 0)


@pytest.mark.parametrize("matching", ["hungarian", "score_first"])
@pytest.mark.parametrize("seed", range(3))
def test_shards_of_a_type_add_up_in_crowds(matching: str, seed: int):
    """Where objects are matched by type, its five speeds share out the truths that were found and missed."""
    scores = evaluate_waymo(*crowd(seed), matching=matching, breakdowns=ALL)
    for name in IOU_THRESHOLDS:
        whole = scores[f"OBJECT_TYPE_TYPE_{name}_LEVEL_2"]
        parts = [shard for shard in scores.shards if shard.name.startswith(f"VELOCITY_TYPE_{name}")]
        level_two = [shard for shard in parts if shard.name.endswith("LEVEL_2")]
        np.testing.assert_array_equal(sum(shard.tp for shard in level_two), whole.tp)
        np.testing.assert_array_equal(sum(shard.fn for shard in level_two), whole.fn)
    both = [scores[f"{name}_LEVEL_2"] for name in ("ALL_BUT_SIGN", "SIGN")]
    np.testing.assert_array_equal(both[0].tp + both[1].tp, scores["ONE_SHARD_LEVEL_2"].tp)


# Crowds.

@pytest.mark.parametrize("seed", range(3))
def test_every_cut_off_equals_scoring_what_passes_it(seed: int):
    """What is added one at a time must equal the matching of the remaining predictions alone."""
    truth, found = crowd(seed)
    scores = evaluate_waymo(truth, found)
    for cutoff in (0, 13, 50, 88):
        kept = found[found.scores >= np.float32(cutoff / 100)]
        alone = evaluate_waymo(truth, kept)
        for shard in scores.shards:
            assert counts(scores, shard.name, cutoff) == counts(alone, shard.name), (shard.name, cutoff)
            assert shard.sum_ha[cutoff] == pytest.approx(alone[shard.name].sum_ha[0], abs=1e-9)


def test_the_order_in_the_files_does_not_matter():
    truth, found = crowd(4)
    rng = np.random.default_rng(0)
    mixed = truth[rng.permutation(len(truth))], found[rng.permutation(len(found))]
    assert evaluate_waymo(*mixed).flat() == pytest.approx(evaluate_waymo(truth, found).flat(), abs=1e-6)


def test_a_crowd_tells_the_official_confusion_of_places_from_the_right_ones():
    truth, found = crowd(0)
    right, quirky = (
        evaluate_waymo(truth, found, matching="score_first", reference_index_quirk=quirk) for quirk in (False, True)
    )
    assert any((a.tp != b.tp).any() for a, b in zip(right.shards, quirky.shards, strict=True))


def test_the_official_confusion_of_places_worked_by_hand():
    """A pedestrian stands first in both files: the car's weights are then looked up among the pedestrian's."""
    person = box(30, size=(0.8, 0.8, 1.7))
    truth = objects(person, box(10.3), box(10), types=[PEDESTRIAN, VEHICLE, VEHICLE])
    found = objects(person, box(10), box(10.8), types=[PEDESTRIAN, VEHICLE, VEHICLE], scores=[0.9, 0.8, 0.1])
    options = {"matching": "score_first", "breakdowns": ["OBJECT_TYPE"]}
    right = evaluate_waymo(truth, found, **options)
    quirky = evaluate_waymo(truth, found, **options, reference_index_quirk=True)
    assert counts(right) == (2, 0, 0)                      # the first car takes the truth that it covers, at 10
    assert counts(quirky) == (1, 1, 1)                     # it takes the other: the person's IoU 1 is looked up for it


# What it says, and what it refuses.

def test_unset_difficulties_come_from_the_points():
    prepared = prepare_ground_truth(objects(
        box(1), box(2), box(3), box(4), num_points=[0, 5, 6, 3], difficulty=[1, 0, 0, 1]
    ))
    assert prepared.boxes[:, 0].tolist() == [2, 3, 4]
    assert prepared.difficulty.tolist() == [2, 1, 1]


def test_ground_truth_without_any_points_is_told():
    truth = objects(box(10), num_points=0)
    with pytest.raises(ValueError, match="none of the 1 objects has num_lidar_points_in_box > 0"):
        evaluate_waymo(truth, truth)
    assert counts(evaluate_waymo(truth, truth, prepare=False)) == (1, 0, 0)


@pytest.mark.parametrize(
    ("truth", "found", "text"),
    [
        (objects(box(10)), objects(box(10), frames=7), "none of the 1 predicted frames has ground truth"),
        (objects(box(10)), objects(box(10), box(10), frames=[0, 1]), "1 of 2 predicted frames have no ground truth"),
        (objects(box(10)), objects(box(10), scores=-0.5), "1 of 1 scores are negative and never count"),
        (objects(box(10)), objects(box(10), scores=0.0), "all scores are 0"),
    ],
)
def test_what_makes_scores_zero_is_told(
    truth: WaymoObjects, found: WaymoObjects, text: str, caplog: pytest.LogCaptureFixture
):
    with caplog.at_level(logging.WARNING):
        evaluate_waymo(truth, found)
    assert text in caplog.text


def test_no_prediction_and_no_truth_score_zero():
    nothing = WaymoObjects.empty()
    for truth, found in ((objects(box(10)), nothing), (nothing, objects(box(10))), (nothing, nothing)):
        assert set(evaluate_waymo(truth, found, breakdowns=ALL).flat().values()) == {0.0}


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"box_type": "4d"}, "box_type must be one of 3d, 2d, got '4d'"),
        ({"matching": "greedy"}, "matching must be one of hungarian, score_first, got 'greedy'"),
        ({"breakdowns": ["ranges"]}, r"breakdowns must be of OBJECT_TYPE, .* \(did you mean \"RANGE\"\?\)"),
        ({"iou_thresholds": {"CAR": 0.5}}, "iou_thresholds must be of VEHICLE, .*, got 'CAR'"),
        ({"iou_thresholds": {"SIGN": 0.0}}, r"iou_thresholds must lie in \[0.01, 1\], got 0.0 for SIGN"),
        ({"coincident_boxes": "official"}, "coincident_boxes must be one of exact, reference, got 'official'"),
    ],
)
def test_unknown_names_are_refused(options: dict[str, Any], text: str):
    with pytest.raises(ValueError, match=text):
        evaluate_waymo(objects(box(10)), objects(box(10)), **options)


def test_pairs_are_found_whatever_the_number_of_chunks(monkeypatch: pytest.MonkeyPatch):
    framed = FramedObjects.of(*crowd(1))
    whole = overlapping_pairs(framed)
    monkeypatch.setattr("perception.evaluation.waymo.box_iou._PAIRS_AT_ONCE", 7)
    parts = overlapping_pairs(framed)
    assert len(whole) > 100
    for name in ("predictions", "truths", "iou"):
        np.testing.assert_array_equal(getattr(parts, name), getattr(whole, name))


def test_the_table_shows_every_shard_and_the_mean_last():
    truth = objects(box(10))
    stream = io.StringIO()
    flat = {f"waymo/{name}": value for name, value in evaluate_waymo(truth, truth).flat().items()}
    Console(file=stream, width=120).print(waymo_table(flat))
    lines = [line for line in stream.getvalue().splitlines() if "│" in line]
    assert sum("RANGE_VEHICLE" in line for line in lines) == 3
    assert "ALL_NS" in lines[-1]
    assert "0.3333" in lines[-1]
