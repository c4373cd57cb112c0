"""Average precision of vector maps: by hand, then what must not matter, then edges and refusals."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from map_cases import DIVIDER, dividers, moved, random_map, straight

from perception.evaluation.maps.conventions import CONVENTIONS, Convention
from perception.evaluation.maps.elements import MapElements
from perception.evaluation.maps.vector_map_ap import evaluate_by_token, evaluate_vector_map

NOTHING = dividers(scores=[])
SEEDS = st.integers(0, 2**31)


# Worked by hand.

@pytest.mark.parametrize(("offset", "met"), [(0.0, 3), (0.5, 3), (0.6, 2), (1.0, 2), (1.5, 1), (1.6, 0)])
def test_a_parallel_line_counts_at_the_thresholds_that_its_offset_meets(offset: float, met: int):
    scores = evaluate_vector_map([dividers(straight(0))], [dividers(straight(offset), scores=[0.9])])
    assert scores.ap[DIVIDER].tolist() == [0.0] * (3 - met) + [1.0] * met
    assert scores.mean_ap == pytest.approx(met / 9)        # classes without truth count as 0


def test_a_second_prediction_of_an_element_is_false_though_another_element_is_near_enough():
    truth = dividers(straight(0), straight(2))
    found = dividers(straight(0.0), straight(0.9), scores=[0.9, 0.8])      # the other one is 1.1 m from the second line
    flat = evaluate_vector_map([truth], [found], thresholds=[1.5]).flat()
    assert flat["divider_AP_1.5m"] == pytest.approx(0.5)


def test_the_higher_score_takes_the_element_even_if_it_is_farther():
    found = dividers(straight(0.1), straight(0.4), scores=[0.3, 0.8])
    ap = evaluate_vector_map([dividers(straight(0))], [found], thresholds=[0.2, 0.5]).ap[DIVIDER]
    np.testing.assert_allclose(ap, [0.5, 1.0])             # at 0.2 m the first prediction is false


def test_the_area_below_a_curve_of_hit_miss_hit():
    """Recall 1/2, 1/2, 1 at precision 1, 1/2, 2/3: 1/2 * 1 + 1/2 * 2/3."""
    truth = dividers(straight(0), straight(10))
    found = dividers(straight(0), straight(5), straight(10), scores=[0.9, 0.8, 0.7])
    assert evaluate_vector_map([truth], [found]).ap[DIVIDER, 0] == pytest.approx(5 / 6)


def test_short_neighbours_end_to_end_never_match_under_the_filter_by_dilated_lines():
    """Their flat-ended dilations stay 0.1 m apart, whatever their Chamfer distance of 0.2 m."""
    frames = [dividers(straight(0, length=0.2))], [dividers(straight(0, length=0.2, x=0.3), scores=[0.9])]
    assert evaluate_vector_map(*frames, convention="maptr").ap[DIVIDER].tolist() == [0.0, 0.0, 0.0]
    assert evaluate_vector_map(*frames, convention="streammapnet").ap[DIVIDER].tolist() == [1.0, 1.0, 1.0]


def test_heights_count_in_three_dimensions_only():
    truth = MapElements.from_lines([[[0, 0, 0], [10, 0, 0]]], [DIVIDER], dim=3)
    found = MapElements.from_lines([[[0, 0, 1.2], [10, 0, 1.2]]], [DIVIDER], [0.9], dim=3)
    assert evaluate_vector_map([truth], [found]).ap[DIVIDER].tolist() == [1.0, 1.0, 1.0]
    assert evaluate_vector_map([truth], [found], dim=3).ap[DIVIDER].tolist() == [0.0, 0.0, 1.0]


@pytest.mark.parametrize(
    ("measure", "thresholds", "expected"),
    [
        ("frechet", [0.4, 0.6], [0.0, 1.0]),
        ("near_share", [0.3, 1.0], [1.0, 1.0]),
        ("iou", [0.55, 0.65], [1.0, 0.0]),                 # two ribbons 2 m wide, 0.5 m apart: 1.5 / 2.5
    ],
)
def test_other_measures_of_a_reversed_line_half_a_metre_beside(
    measure: str, thresholds: list[float], expected: list[float]
):
    found = dividers(straight(0.5)[::-1], scores=[0.9])
    scores = evaluate_vector_map([dividers(straight(0))], [found], measure=measure, thresholds=thresholds)
    assert scores.ap[DIVIDER].tolist() == expected


def test_predictions_that_are_not_resampled_are_averaged_over_their_own_points():
    """Vertices at 0, 1 and 10 m of a line that is true: all of them lie on it."""
    found = dividers([[0.0, 0.0], [1.0, 0.0], [10.0, 0.0]], straight(40), scores=[0.9, 0.1])
    truth = dividers(straight(0))
    raw = evaluate_vector_map([truth], [found], convention=Convention(predictions="never"), thresholds=[0.5, 1.5])
    assert raw.ap[DIVIDER].tolist() == [0.0, 1.0]          # the truth's points are up to 4.5 m from a vertex
    assert evaluate_vector_map([truth], [found], thresholds=[0.5]).ap[DIVIDER].tolist() == [1.0]


# What must not matter, and what must.

@pytest.mark.parametrize("convention", sorted(CONVENTIONS))
@settings(max_examples=10)
@given(seed=SEEDS)
def test_the_order_of_frames_the_direction_of_lines_and_a_common_shift_do_not_matter(convention: str, seed: int):
    rng = np.random.default_rng(seed)
    truth = [random_map(rng, 6, scored=False) for _ in range(3)]
    found = [moved(elements, rng) for elements in truth]
    expected = evaluate_vector_map(truth, found, convention=convention).ap
    shift, order = rng.uniform(-1000, 1000, 2), rng.permutation(3)
    changed = [
        [backwards(replace(frames[number], vertices=frames[number].vertices + shift)) for number in order]
        for frames in (truth, found)
    ]
    np.testing.assert_allclose(
        evaluate_vector_map(*changed, convention=convention).ap, expected, rtol=0, atol=1e-6,   # float32 areas
    )


def backwards(elements: MapElements) -> MapElements:
    lines = [line[::-1] for line in elements.lines()]
    return MapElements.from_lines(lines, elements.labels, elements.scores)


@settings(max_examples=10)
@given(seed=SEEDS)
def test_perfect_predictions_of_distinct_elements_score_one(seed: int):
    rng = np.random.default_rng(seed)
    truth = MapElements.from_lines([straight(4.0 * row) for row in range(9)], np.arange(9) % 3)
    found = MapElements(truth.vertices, truth.counts, truth.labels, rng.random(9))
    assert evaluate_vector_map([truth], [found], thresholds="hard").mean_ap == pytest.approx(1.0)


# Edges.

@pytest.mark.parametrize("convention", sorted(CONVENTIONS))
def test_nothing_predicted_nothing_true_and_no_frame_at_all_give_zero(convention: str):
    for truth, found in (
        ([dividers(straight(0))], [NOTHING]), ([dividers()], [dividers(straight(0), scores=[0.9])]),
        ([dividers()], [NOTHING]), ([], []),
    ):
        assert evaluate_vector_map(truth, found, convention=convention).mean_ap == 0.0


def test_false_positives_of_a_frame_without_truth_count_unless_such_frames_are_skipped():
    truth = [dividers(), dividers(straight(0))]
    found = [dividers(straight(0), scores=[0.9]), dividers(straight(0), scores=[0.8])]
    assert evaluate_vector_map(truth, found).ap[DIVIDER, 0] == pytest.approx(0.5)
    assert evaluate_vector_map(truth, found, skip_frames_without_truth=True).ap[DIVIDER, 0] == pytest.approx(1.0)


def test_a_frame_that_is_missing_in_the_predictions_has_none():
    truth = {"a": dividers(straight(0)), "b": dividers(straight(0))}
    assert evaluate_by_token(truth, {"b": dividers(straight(0), scores=[1.0])}).ap[DIVIDER, 0] == pytest.approx(0.5)


def test_a_prediction_of_one_vertex_is_dropped_or_refused_as_the_convention_says():
    truth, found = [dividers(straight(0))], [dividers([[0.0, 0.0]], straight(0), scores=[0.9, 0.5])]
    scores = evaluate_vector_map(truth, found, convention="maptr")
    assert scores.ap[DIVIDER, 0] == 1.0
    assert scores.num_predictions.tolist() == [0, 1, 0]
    with pytest.raises(ValueError, match="predictions must have lines of two vertices or more, got one of 1"):
        evaluate_vector_map(truth, found, convention="streammapnet")


def test_a_line_of_no_length_never_matches_where_lines_are_dilated():
    """All its points are one, 0.1 m from a line of 0.2 m."""
    frames = [dividers(straight(0, length=0.2))], [dividers([[0.1, 0.0], [0.1, 0.0]], scores=[0.9])]
    assert evaluate_vector_map(*frames, convention="vectormapnet").mean_ap == 0.0
    assert evaluate_vector_map(*frames, convention="streammapnet").ap[DIVIDER, 0] == 1.0


# Refusals.

def test_bad_columns_are_refused_by_name():
    with pytest.raises(ValueError, match="vertices must be finite, got 1 numbers that are not"):
        dividers([[0.0, float("nan")], [1.0, 0.0]])
    with pytest.raises(ValueError, match=r"labels must be >= 0, got -1"):
        MapElements.from_lines([straight(0)], [-1])
    with pytest.raises(ValueError, match=r"scores must be \(1,\), got \(2,\)"):
        dividers(straight(0), scores=[0.1, 0.2])
    with pytest.raises(ValueError, match=r"lines\[1\] must be \(V, 2\) or \(V, 3\) like all others, got \(1, 3\)"):
        dividers(straight(0), [[0.0, 0.0, 0.0]])
    with pytest.raises(ValueError, match=r"vertices must be \(V, 2\) or \(V, 3\), got \(2, 4\)"):
        dividers([[0.0] * 4] * 2)
    with pytest.raises(ValueError, match="counts add up to 3 for 2 vertices"):
        MapElements(np.zeros((2, 2)), np.array([3]), np.array([0]))


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"thresholds": "standart"}, r"thresholds must be one of .*, got 'standart' \(did you mean \"standard\"\?\)"),
        ({"thresholds": []}, "thresholds must be finite numbers, at least one"),
        ({"convention": "maptrv3"}, "convention must be one of .*, got 'maptrv3'"),
        ({"measure": "hausdorff"}, "measure must be one of chamfer, frechet, near_share, iou, got 'hausdorff'"),
        ({"dim": 4}, "dim must be 2 or 3, got 4"),
        ({"dim": 3}, r"truth\[0\].vertices must be \(V, 3\), got \(2, 2\)"),
        ({"classes": ["ped_crossing"]}, r"truth\[0\].labels must lie in \[0, 1\), got 1"),
    ],
)
def test_unknown_options_are_refused(options: dict[str, object], match: str):
    with pytest.raises(ValueError, match=match):
        evaluate_vector_map([dividers(straight(0))], [NOTHING], **options)      # type: ignore[arg-type]


def test_frames_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="predictions must be those of the 1 frames of truth, got 0"):
        evaluate_vector_map([dividers(straight(0))], [])
    with pytest.raises(ValueError, match=r"predictions\[0\].scores must be given, got None"):
        evaluate_vector_map([dividers()], [dividers(straight(0))])
    with pytest.raises(ValueError, match="truth must have lines of two vertices or more, got one of 1"):
        evaluate_vector_map([dividers([[0.0, 0.0]])], [NOTHING])
    with pytest.raises(ValueError, match="predictions of 'b', not one of the 1 frames of truth"):
        evaluate_by_token({"a": dividers()}, {"b": NOTHING})
    with pytest.raises(ValueError, match="predictions must be one of always, unless_sampled, never, got 'often'"):
        Convention(predictions="often")
