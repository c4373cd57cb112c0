"""Instances of points: means, peaks, the nearest peak of a vote, and the class of the majority."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from perception.models.heads.point_instances import (
    group_by_centers,
    heatmap_peaks,
    instance_centers,
    majority_classes,
)


@pytest.mark.parametrize("has_none", [False, True])
def test_centres_are_the_means_of_the_points_of_each_instance(has_none):
    xy = torch.tensor([[0.0, 0.0], [4.0, 2.0], [9.0, 9.0], [2.0, 2.0]])
    instances = torch.tensor([17, 5, 0 if has_none else 30, 17])
    centers, row = instance_centers(xy, instances)
    assert centers[:2].tolist() == [[4.0, 2.0], [1.0, 1.0]]
    assert row.tolist() == [1, 0, -1 if has_none else 2, 1]


def test_points_without_instances_have_no_centre():
    centers, row = instance_centers(torch.rand(3, 2), torch.zeros(3, dtype=torch.int64))
    assert centers.shape == (0, 2)
    assert row.tolist() == [-1, -1, -1]
    assert instance_centers(torch.zeros(0, 2), torch.zeros(0, dtype=torch.int64))[0].shape == (0, 2)


def test_peaks_are_the_largest_of_their_window_best_first():
    heatmap = torch.zeros(5, 7)
    heatmap[1, 2], heatmap[1, 3], heatmap[4, 6], heatmap[0, 6] = 0.5, 0.6, 0.9, 0.1
    assert heatmap_peaks(heatmap, threshold=0.2, max_peaks=9).tolist() == [[6, 4], [3, 1]]
    assert heatmap_peaks(heatmap, threshold=0.05, max_peaks=9).tolist() == [[6, 4], [3, 1], [6, 0]]
    assert heatmap_peaks(heatmap, threshold=0.2, max_peaks=1).tolist() == [[6, 4]]
    assert heatmap_peaks(heatmap, threshold=0.95, max_peaks=9).shape == (0, 2)


def test_things_share_the_centre_that_is_nearest_to_their_votes():
    votes = torch.tensor([[0.2, 0.0], [9.0, 0.0], [0.0, 0.4], [5.0, 0.0], [10.5, 0.0]])
    is_thing = torch.tensor([True, True, True, True, False])
    centers = torch.tensor([[30.0, 0.0], [0.0, 0.0], [10.0, 0.0]])
    assert group_by_centers(votes, is_thing, centers, max_distance=2.0).tolist() == [1, 2, 1, 0, 0]
    assert group_by_centers(votes, is_thing, centers, max_distance=9.0)[3] > 0
    assert group_by_centers(votes, is_thing, centers[:0], max_distance=2.0).tolist() == [0] * 5


@given(seed=st.integers(0, 10_000), centers=st.integers(0, 6), points=st.integers(0, 30))
def test_instances_are_numbered_without_a_gap_and_only_things_have_one(seed, centers, points):
    draw = torch.Generator().manual_seed(seed)
    votes, is_thing = torch.rand(points, 2, generator=draw) * 10, torch.rand(points, generator=draw) < 0.7
    instances = group_by_centers(votes, is_thing, torch.rand(centers, 2, generator=draw) * 10, max_distance=3.0)
    found = instances[instances > 0].unique().tolist()
    assert found == list(range(1, len(found) + 1))
    assert not instances[~is_thing].any()


def test_an_instance_takes_the_class_of_its_majority_and_the_rest_keeps_its_own():
    classes, instances = torch.tensor([3, 3, 1, 2, 0, 2]), torch.tensor([1, 1, 1, 2, 0, 0])
    assert majority_classes(classes, instances, 4).tolist() == [3, 3, 3, 2, 0, 2]
    assert majority_classes(classes[:0], instances[:0], 4).shape == (0,)
