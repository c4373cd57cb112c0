"""From queries to scores, panoptic maps and instances."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from perception_plugins.pem.post_processing import instances, panoptic_map, semantic_scores

close = torch.testing.assert_close
SURE = 20.0


def queries(labels: list[int], masks: list[list[list[int]]], num_classes: int = 3) -> tuple[Tensor, Tensor]:
    """Queries sure of their class (num_classes for no object) and of their mask of zeros and ones."""
    logits = torch.full((len(labels), num_classes + 1), -SURE)
    logits[torch.arange(len(labels)), torch.tensor(labels)] = SURE
    return logits, SURE * (2.0 * torch.tensor(masks) - 1)


def test_scores_are_the_masks_of_all_queries_of_a_class():
    scores = semantic_scores(*queries([0, 0, 2, 3], [[[1, 0]], [[1, 1]], [[0, 1]], [[1, 1]]]))
    close(scores, torch.tensor([[[2.0, 1.0]], [[0.0, 0.0]], [[0.0, 1.0]]]), atol=1e-6, rtol=0)


def test_things_are_segments_of_their_own_and_stuff_is_one():
    masks = [[[1, 0, 0, 0, 0]], [[0, 1, 0, 0, 0]], [[0, 0, 1, 0, 0]], [[0, 0, 0, 1, 0]]]
    found = panoptic_map(*queries([0, 2, 2, 0], masks), things=(2,))
    assert found.ids.tolist() == [[1, 2, 3, 1, 0]]
    assert found.labels.tolist() == [0, 2, 2]
    close(found.scores, torch.ones(3))


def test_a_query_that_keeps_little_of_its_mask_is_dropped_and_its_pixels_stay_empty():
    logits, masks = queries([2, 2], [[[1, 1, 1, 0]], [[0, 1, 1, 1]]])
    logits[1, 2] = -SURE + 43.0                                          # surer than the other, so it wins the overlap
    logits[0] = torch.tensor([0.0, 0.0, 3.0, 0.0])
    found = panoptic_map(logits, masks, things=(2,), overlap_threshold=0.8)
    assert found.ids.tolist() == [[0, 1, 1, 1]]
    assert panoptic_map(logits, masks, things=(2,), overlap_threshold=0.3).ids.tolist() == [[1, 2, 2, 2]]


def test_queries_of_no_object_or_unsure_of_their_class_do_not_count():
    logits, masks = queries([3, 1], [[[1, 1]], [[1, 1]]])
    logits[1] = torch.tensor([0.0, 1.0, 0.0, 0.0])                       # 0.48 sure
    found = panoptic_map(logits, masks, things=(), object_threshold=0.5)
    assert found.ids.tolist() == [[0, 0]]
    assert len(found) == 0


def test_a_region_of_stuff_is_as_sure_as_its_surest_query():
    logits, masks = queries([0, 0], [[[1, 0]], [[0, 1]]])
    logits[0] = torch.tensor([3.0, 0.0, 0.0, 0.0])
    found = panoptic_map(logits, masks, things=())
    assert found.ids.tolist() == [[1, 1]]
    close(found.scores, torch.ones(1))


@given(seed=st.integers(0, 2**31), object_threshold=st.sampled_from([0.0, 0.4]), overlap=st.sampled_from([0.0, 0.8]))
def test_every_segment_has_pixels_and_every_pixel_a_segment_or_none(seed, object_threshold, overlap):
    draw = torch.Generator().manual_seed(seed)
    logits, masks = 3 * torch.randn(6, 4, generator=draw), 4 * torch.randn(6, 5, 7, generator=draw)
    found = panoptic_map(
        logits, masks, things=(2,), object_threshold=object_threshold, overlap_threshold=overlap
    )
    assert set(found.ids.unique().tolist()) - {0} == set(range(1, len(found.labels) + 1))
    stuff = [label for label in found.labels.tolist() if label != 2]
    assert len(stuff) == len(set(stuff))


def test_instances_are_scored_by_class_and_mask_and_come_surest_first():
    logits, masks = queries([2, 2, 0], [[[1, 0]], [[0, 1]], [[1, 1]]])
    masks[0, 0, 0] = 1.0                                                 # its mask is 0.73 sure
    found = instances(logits, masks, things=(2,), max_instances=3)
    assert found.labels.tolist() == [2, 2]
    close(found.scores, torch.tensor([1.0, 0.7311]), atol=1e-4, rtol=0)
    assert found.masks.tolist() == [[[False, True]], [[True, False]]]


def test_an_empty_mask_is_worth_nothing():
    found = instances(*queries([1], [[[0, 0]]]), max_instances=1)
    assert found.scores.tolist() == [0.0]
    assert not found.masks.any()


def test_no_more_instances_than_pairs_of_query_and_class():
    assert len(instances(*queries([1], [[[1, 1]]]), max_instances=100).labels) == 3
