from __future__ import annotations

import pytest
import torch
from torch.nn.functional import one_hot

from perception_plugins.kmax import instances, panoptic_map, pixel_shares, semantic_scores
from perception_plugins.kmax.decoding import PanopticRule, content_size, masks_in_image

SURE = 40.0
RULE = PanopticRule()
THINGS = (1,)


def clusters(labels: list[int], owner: list[list[int]], num_classes: int = 2) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits of clusters that are sure of their classes (``num_classes`` is void) and of the pixels they own."""
    logits = SURE * one_hot(torch.tensor(labels), num_classes + 1).float()
    return logits, SURE * one_hot(torch.tensor(owner), len(labels)).permute(2, 0, 1).float()


def test_things_are_counted_and_stuff_is_one():
    logits, masks = clusters([0, 1, 1, 0, 2], [[0, 0, 1, 1], [3, 3, 2, 4]])
    found = panoptic_map(logits, pixel_shares(masks), THINGS, RULE)
    names = {int(found.ids[0, 0]): "stuff", int(found.ids[0, 2]): "one", int(found.ids[1, 2]): "other"}
    assert sorted(names) == [1, 2, 3]
    assert found.ids[1, :2].tolist() == found.ids[0, :2].tolist()
    assert found.ids[1, 3] == 0                      # a void cluster takes nothing
    assert [found.labels[number - 1].item() for number in names] == [0, 1, 1]
    assert found.is_thing.tolist() == [label == 1 for label in found.labels.tolist()]
    assert found.ids.dtype == torch.int32


def test_a_cluster_that_others_have_covered_is_left_out():
    logits, masks = clusters([1, 1], [[0, 0, 0, 0, 0]])
    logits[1, 1] -= 35.0                             # asked second, and still sure enough
    masks[1] = masks[0].clone()
    masks[1, 0, 4] += 5.0                            # has the last pixel to itself, half of the others
    rule = PanopticRule(pixel=0.4, thing=0.5, overlap=0.5, mask_power=0.0)
    found = panoptic_map(logits, pixel_shares(masks), THINGS, rule)
    assert found.labels.tolist() == [1]
    assert found.ids.tolist() == [[1, 1, 1, 1, 0]]


def test_a_threshold_is_exclusive():
    logits, masks = torch.zeros(1, 2), torch.zeros(1, 1, 3)                                # class score one half
    assert len(panoptic_map(logits, pixel_shares(masks), (), PanopticRule(stuff=0.5)).labels) == 0
    assert len(panoptic_map(logits, pixel_shares(masks), (), PanopticRule(stuff=0.49)).labels) == 1


def test_nothing_sure_gives_an_empty_map():
    found = panoptic_map(torch.zeros(3, 5), torch.full((3, 4, 6), 1 / 3), THINGS, RULE)
    assert found.labels.shape == found.is_thing.shape == (0,)
    assert not found.ids.any()


def test_scores_of_a_pixel_are_those_of_its_cluster():
    logits, masks = clusters([0, 1, 2], [[0, 1, 2]])
    scores = semantic_scores(logits, pixel_shares(masks))
    torch.testing.assert_close(scores, torch.tensor([[[1.0, 0.0, 0.0]], [[0.0, 1.0, 0.0]]]))


def test_instances_are_things_with_the_best_first():
    logits, masks = clusters([0, 1, 1], [[0, 1, 1, 2]])
    logits[1, 1] -= 39.0                             # 1 against 0 and 0
    found = instances(logits, pixel_shares(masks), things=THINGS, top_k=3)
    assert found.labels.tolist() == [1, 1]
    assert found.masks[:, 0].tolist() == [[False, False, False, True], [False, True, True, False]]
    torch.testing.assert_close(found.scores, torch.tensor([1.0, 0.5761]), atol=1e-4, rtol=0)    # e / (e + 2)
    assert 0 in instances(logits, pixel_shares(masks), top_k=3).labels


def test_no_more_instances_than_pairs_are_asked_for():
    assert len(instances(torch.zeros(2, 4), torch.full((2, 3, 3), 0.5), top_k=100).labels) == 6


@pytest.mark.parametrize(
    ("padded", "output", "content"),
    [((1025, 2049), (1024, 2048), (1024, 2049)), ((1281, 1281), (480, 640), (961, 1281)),
     ((64, 64), (80, 60), (64, 48))],                                # halves go to the even number, as published
)
def test_the_longer_side_fills_the_input(padded, output, content):
    assert content_size(padded, output) == content


def test_padding_does_not_reach_the_image():
    masks = torch.zeros(1, 17, 17)
    masks[:, :, :9] = torch.linspace(0, 1, 9)
    found = masks_in_image(masks, (65, 65), (65, 33), (65, 33))
    torch.testing.assert_close(found[0, 0], torch.linspace(0, 1, 33))    # corners align: a ramp stays a ramp
