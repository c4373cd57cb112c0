"""Distances of many pairs at once against the same distance of one pair, written out."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from map_cases import random_map
from scipy.spatial.distance import cdist

from perception.evaluation.maps.dilated_lines import dilated, dilations_meet, iou_pairs
from perception.evaluation.maps.elements import MapElements
from perception.evaluation.maps.matching import (
    Nearest,
    area_under_curve,
    eleven_point_precision,
    pairs_of_groups,
)
from perception.evaluation.maps.point_distances import (
    PointSets,
    chamfer_pairs,
    frechet_pairs,
    near_share_pairs,
    undirected_frechet_pairs,
)
from perception.evaluation.maps.resampling import resample_lines

SEEDS = st.integers(0, 2**31)


def random_sets(seed: int, dim: int, points: int = 30) -> tuple[PointSets, PointSets, np.ndarray]:
    """Lines of two maps and all their pairs."""
    rng = np.random.default_rng(seed)
    first, second = (random_map(rng, count, scored=False, dim=dim).resampled(points) for count in (4, 5))
    pairs = np.stack(np.meshgrid(np.arange(4), np.arange(5), indexing="ij"), axis=2).reshape(-1, 2)
    return PointSets.full(first), PointSets.full(second), pairs


# Worked by hand.

def test_a_bent_line_is_sampled_by_its_length_in_the_plane_and_keeps_its_ends():
    """3 m along x, then 1 m along y and 5 m up: five points 1 m apart."""
    points = resample_lines(np.array([[0.0, 0.0, 0.0], [3.0, 0.0, 0.0], [3.0, 1.0, 5.0]]), np.array([3]), 5)
    np.testing.assert_allclose(points[0], [[0, 0, 0], [1, 0, 0], [2, 0, 0], [3, 0, 0], [3, 1, 5]], atol=1e-12)


def test_a_line_of_no_length_repeats_its_first_vertex():
    vertices = np.array([[1.0, 2.0], [1.0, 2.0], [7.0, 8.0]])
    points = resample_lines(vertices, np.array([2, 1]), 4)
    assert points.tolist() == [[[1.0, 2.0]] * 4, [[7.0, 8.0]] * 4]


def test_the_chamfer_distance_of_a_point_and_two_is_the_mean_of_both_directions():
    first, second = PointSets.padded([np.array([[0.0, 0.0]])]), PointSets.padded([np.array([[3.0, 4.0], [6.0, 8.0]])])
    assert chamfer_pairs(first, second, np.array([[0, 0]])).tolist() == [0.5 * (5.0 + 7.5)]


def test_the_frechet_distance_heeds_the_direction_unless_told_otherwise():
    line = np.stack([np.arange(5.0), np.zeros(5)], axis=1)[None]
    first, second, pair = PointSets.full(line), PointSets.full(line[:, ::-1] + [0.0, 0.5]), np.array([[0, 0]])
    assert frechet_pairs(first, second, pair)[0] == pytest.approx(np.hypot(4.0, 0.5))
    assert undirected_frechet_pairs(first, second, pair)[0] == pytest.approx(0.5)


def test_the_share_of_near_points_is_that_of_the_worse_direction():
    """All of three points lie within 1 m of the five, but only four of those near one of the three."""
    first = PointSets.full(np.array([[[0.0, 0.0], [1.0, 0.0], [2.0, 0.0]]]))
    second = PointSets.full(np.array([[[0.0, 0.0], [1.0, 0.0], [2.0, 0.0], [3.0, 0.0], [4.5, 0.0]]]))
    assert near_share_pairs(first, second, np.array([[0, 0]])).tolist() == [0.8]


def test_the_closing_point_of_a_ring_is_left_out_and_that_of_an_open_line_kept():
    ring, line = np.array([[0.0, 0], [1, 0], [1, 1], [0, 0]]), np.array([[0.0, 0], [1, 0], [1, 1], [0, 1]])
    assert PointSets.full(np.stack([ring, line])).without_closing_points().counts.tolist() == [3, 4]


# Against one pair after the other.

@settings(max_examples=20)
@given(seed=SEEDS, dim=st.sampled_from([2, 3]), shift=st.sampled_from([0.0, 1e5]))
def test_chamfer_distances_equal_those_of_a_distance_matrix(seed: int, dim: int, shift: float):
    first, second, pairs = random_sets(seed, dim)
    expected = []
    for a, b in pairs:
        distances = cdist(first.points[a], second.points[b])
        expected.append(0.5 * (distances.min(axis=0).mean() + distances.min(axis=1).mean()))
    first, second = (PointSets.full(side.points + shift) for side in (first, second))
    found = chamfer_pairs(first, second, pairs)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-9)       # a float64 step at 100 km is 1.5e-11 m
    limit = float(np.median(expected))
    within = chamfer_pairs(first, second, pairs, limit + 1e-6)
    assert (np.isfinite(within) == (np.array(expected) <= limit + 1e-6)).all()


def test_equal_lines_are_at_no_distance_at_all():
    """The product form alone would leave about a micrometre."""
    first, _, _ = random_sets(3, 2)
    assert chamfer_pairs(first, first, np.array([[0, 0], [3, 3]])).tolist() == [0.0, 0.0]


@settings(max_examples=10)
@given(seed=SEEDS, points=st.sampled_from([1, 2, 13]))
def test_frechet_distances_equal_the_recursion_of_one_pair(seed: int, points: int):
    rng = np.random.default_rng(seed)
    first, second = PointSets.full(rng.normal(size=(2, points, 3))), PointSets.full(rng.normal(size=(2, 7, 3)))
    pairs = np.array([[0, 0], [1, 0], [1, 1]])
    expected = [recursive_frechet(cdist(first.points[a], second.points[b])) for a, b in pairs]
    np.testing.assert_allclose(frechet_pairs(first, second, pairs), expected, rtol=0, atol=1e-12)
    limit = float(np.median(expected)) + 1e-9
    within = frechet_pairs(first, second, pairs, limit)
    assert (np.isfinite(within) == (np.array(expected) <= limit)).all()


def recursive_frechet(distances: np.ndarray) -> float:
    leash = np.full((distances.shape[0] + 1, distances.shape[1] + 1), np.inf)
    leash[0, 0] = -np.inf
    for i in range(distances.shape[0]):
        for j in range(distances.shape[1]):
            leash[i + 1, j + 1] = max(distances[i, j], min(leash[i, j], leash[i, j + 1], leash[i + 1, j]))
    return float(leash[-1, -1])


@settings(max_examples=20)
@given(seed=SEEDS)
def test_whether_dilated_lines_meet_is_what_their_polygons_say(seed: int):
    first, second, pairs = random_sets(seed, 2)
    polygons = [dilated(side.points, 2.0) for side in (first, second)]
    expected = [bool(polygons[0][a].intersects(polygons[1][b])) for a, b in pairs]
    assert dilations_meet(first, second, pairs, 2.0).tolist() == expected


def test_the_common_share_of_two_ribbons():
    lines = np.array([[[0.0, 0.0], [10.0, 0.0]], [[0.0, 1.0], [10.0, 1.0]], [[0.0, 9.0], [10.0, 9.0]]])
    iou = iou_pairs(PointSets.full(lines), PointSets.full(lines), np.array([[0, 0], [0, 1], [0, 2]]))
    np.testing.assert_allclose(iou, [1.0, 1 / 3, 0.0], atol=1e-12)


# Clipping, matching and curves.

def test_the_pieces_of_a_clipped_line_keep_label_score_and_height():
    crossing = [[-20.0, 0.0, 1.0], [20.0, 0.0, 3.0]]
    elements = MapElements.from_lines([crossing, [[30.0, 0.0, 0.0], [40.0, 0.0, 0.0]]], [2, 1], [0.7, 0.6], dim=3)
    clipped = elements.clipped((-10.0, -5.0, 10.0, 5.0))
    np.testing.assert_allclose(clipped.vertices, [[-10, 0, 1.5], [10, 0, 2.5]])
    assert (clipped.labels.tolist(), clipped.scores.tolist()) == ([2], [0.7])      # type: ignore[union-attr]


def test_the_published_frame_shrinks_the_region_and_two_metres_into_the_region():
    elements = MapElements.from_lines([[[-30.0, -15.0], [32.0, 17.0]]], [0]).shrunken((-30.0, -15.0, 30.0, 15.0))
    np.testing.assert_allclose(elements.vertices, [[-30.0, -15.0], [30.0, 15.0]])


def test_pairs_join_equal_groups_only():
    pairs = pairs_of_groups(np.array([1, 0, 5, 1]), np.array([1, 0, 1]))
    assert pairs.tolist() == [[0, 0], [0, 2], [1, 1], [3, 0], [3, 2]]


def test_on_ties_the_first_truth_is_nearest_and_a_strict_threshold_is_not_met_by_its_equal():
    pairs = np.array([[0, 1], [0, 0], [1, 1]])
    nearest = Nearest.of_pairs(pairs, np.array([0.5, 0.5, np.inf]), np.array([0.9, 0.8]))
    assert nearest.truth.tolist() == [0, -1]
    assert nearest.matched(0.5).tolist() == [0, -1]
    assert nearest.matched(0.5, is_strict=True).tolist() == [-1, -1]


@pytest.mark.parametrize("tenths", range(11))
def test_a_recall_of_exact_tenths_reaches_its_point_of_the_grid(tenths: int):
    scores = np.linspace(1.0, 0.5, 10)[:tenths]
    found = eleven_point_precision(scores, np.ones(tenths, bool), 10)
    assert found == pytest.approx((tenths + 1) / 11 if tenths else 0.0)


def test_a_set_without_truth_and_predictions_counts_by_the_rule_of_each_curve():
    nothing = np.zeros(0), np.zeros(0, bool), 0
    assert (area_under_curve(*nothing), eleven_point_precision(*nothing)) == (0.0, 1.0)


def test_fewer_than_two_points_are_refused():
    with pytest.raises(ValueError, match="num_points must be >= 2, got 1"):
        resample_lines(np.zeros((2, 2)), np.array([2]), 1)
