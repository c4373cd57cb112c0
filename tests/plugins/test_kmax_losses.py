from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from perception.structures.segmentation import Segments
from perception_plugins.kmax.cluster_targets import TrueSegments, match_clusters, true_segments
from perception_plugins.kmax.losses import (
    WEIGHTS,
    KMaXLoss,
    contrastive_loss,
    gumbel_top_k,
    mask_loss,
    nonzero_mean,
    targets_of,
    thinned,
)
from perception_plugins.kmax.predictor import ClusterPredictions

SURE = 40.0                                          # a logit that leaves nothing to the others


def halves() -> TrueSegments:
    """Class 1 on the left half of four by four pixels, class 0 on the upper right quarter, nothing below it."""
    masks = torch.zeros(2, 4, 4)
    masks[0, :, :2] = 1
    masks[1, :2, 2:] = 1
    semantic = torch.where(masks[0] > 0, 1, torch.where(masks[1] > 0, 0, -1))
    return TrueSegments(torch.tensor([1, 0]), masks, semantic)


def perfect() -> ClusterPredictions:
    """Three clusters of two classes; cluster 2 has the left half, cluster 0 the upper right, cluster 1 is void."""
    truth = halves()
    owner = torch.full((4, 4), 1)
    owner[truth.masks[0] > 0], owner[truth.masks[1] > 0] = 2, 0
    masks = SURE * torch.nn.functional.one_hot(owner, 3).permute(2, 0, 1).float()
    logits = SURE * torch.nn.functional.one_hot(torch.tensor([0, 2, 1]), 3).float()
    pixels = torch.nn.functional.one_hot(owner, 3).permute(2, 0, 1).float()
    return ClusterPredictions(logits[None], masks[None], pixels[None])


def test_perfect_predictions_find_their_segments():
    found = perfect()
    match = match_clusters(found.logits[0], found.masks[0], halves())
    assert match.clusters.tolist() == [0, 2]
    assert match.segments.tolist() == [1, 0]
    torch.testing.assert_close(match.dice, torch.ones(2), atol=1e-5, rtol=0)               # 1e-5 keeps 0/0 away
    targets = targets_of(found, [halves()])
    assert targets.labels.tolist() == [[0, 2, 1]]
    assert targets.is_void.sum() == 4
    assert targets.inverse_area[0, 0].tolist() == [2.0, 2.0, 4.0, 4.0]                     # 16 pixels by 8 and by 4
    assert targets.semantic[0, 3].tolist() == [1, 1, 2, 2]


def test_perfect_predictions_cost_nothing_but_the_contrast():
    losses = KMaXLoss()(perfect(), [halves()])
    assert set(losses) == set(WEIGHTS) - {"loss_aux_semantic"}
    for name in ("loss_ce", "loss_mask", "loss_dice"):
        assert float(losses[name]) == pytest.approx(0.0, abs=1e-5)
    assert losses["loss_pixel_insdis"] > 0


def test_predictions_of_void_pixels_do_not_count_in_masks():
    found, other = perfect(), perfect()
    other.masks[:, :, 2:, 2:] = torch.randn(1, 3, 2, 2)
    for name in ("loss_mask", "loss_dice"):
        assert float(KMaXLoss()(other, [halves()])[name]) == pytest.approx(float(KMaXLoss()(found, [halves()])[name]))


def test_weights_scale_their_losses():
    torch.manual_seed(0)
    found = ClusterPredictions(torch.randn(1, 3, 3), torch.randn(1, 3, 4, 4), torch.randn(1, 2, 4, 4))
    options = {"pixels": {"count": 16}}
    plain = KMaXLoss(weights=dict.fromkeys(WEIGHTS, 1.0), **options)(found, [halves()])
    for name, value in KMaXLoss(**options)(found, [halves()]).items():
        torch.testing.assert_close(value, WEIGHTS[name] * plain[name])


@pytest.mark.parametrize(("power", "shares"), [(0.0, (8 / 12, 4 / 12)), (1.0, (0.5, 0.5))])
def test_the_power_of_the_area_says_how_much_a_small_segment_counts(power, shares):
    torch.manual_seed(0)
    targets, masks = targets_of(perfect(), [halves()]), torch.randn(1, 3, 4, 4)
    entropy = torch.nn.functional.cross_entropy(masks, targets.masks, reduction="none")
    left, right = entropy[0, :, :2].mean(), entropy[0, :2, 2:].mean()                      # of eight and four pixels
    torch.testing.assert_close(mask_loss(masks, targets, power), shares[0] * left + shares[1] * right)


def test_overlapping_segments_share_their_pixels():
    truth = halves()
    both = TrueSegments(truth.labels, torch.ones(2, 4, 4), truth.semantic)
    targets = targets_of(perfect(), [both])
    assert targets.masks.sum(dim=1).unique().tolist() == [1.0]
    assert targets.masks.unique().tolist() == [0.0, 0.5]


def test_every_fourth_pixel_of_a_segment_is_kept_and_the_rest_is_nothing():
    masks = torch.zeros(2, 9, 6, dtype=torch.bool)
    masks[0, 8], masks[1, :, 4] = True, True
    truth = true_segments(Segments(torch.tensor([3, 5]), masks), (4, 3))
    assert truth.masks[0].tolist() == [[0, 0, 0], [0, 0, 0], [1, 1, 0], [0, 0, 0]]
    assert truth.semantic.tolist() == [[-1, 5, -1], [-1, 5, -1], [3, 5, -1], [-1, -1, -1]]


def test_pixels_of_one_cluster_that_look_alike_cost_the_least():
    owners = torch.tensor([[[1.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 1.0]]])
    apart = contrastive_loss(owners.clone(), owners)
    mixed = contrastive_loss(owners[:, :, [0, 2, 1, 3]], owners)
    e = math.exp(1 / 0.3)                            # likeness 1 within a cluster, 0 across
    assert float(apart) == pytest.approx(-math.log(e / (2 * e + 2)), rel=1e-5)
    assert mixed > apart


def test_void_pixels_are_drawn_last_and_small_segments_more_often():
    generator = torch.Generator().manual_seed(0)
    weights = torch.tensor([4.0, 1.0, 1.0]).log() - torch.tensor([0.0, 0.0, 99999.0])
    drawn = gumbel_top_k(weights.expand(20_000, 3), 2, torch.rand(20_000, 3, generator=generator))
    assert not (drawn == 2).any()
    share = float((drawn[:, 0] == 0).float().mean())
    assert share == pytest.approx(0.8, abs=0.015)    # five standard deviations of 20,000 draws


def test_the_mean_is_of_what_is_not_zero():
    assert float(nonzero_mean(torch.tensor([[0.0, 2.0, 4.0], [0.0, 0.0, 0.0]]))) == 1.5


@given(height=st.integers(1, 300), width=st.integers(1, 300))
def test_thinning_to_stride_32_gives_as_many_pixels_as_the_branch_predicts(height, width):
    size = (-(-height // 32), -(-width // 32))
    plane = torch.zeros(1, -(-height // 4), -(-width // 4))
    assert thinned(plane, size).shape[1:] == size
    assert thinned(plane, plane.shape[1:]).shape == plane.shape
