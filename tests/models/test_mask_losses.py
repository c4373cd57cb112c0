"""Costs and losses of masks, and the points that they are read at."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from perception.models.losses.mask import dice_loss, mask_cross_entropy, most_uncertain, sample_points
from perception.models.matching.mask_costs import dice_cost, mask_entropy_cost

close = torch.testing.assert_close


def test_the_entropy_cost_is_the_mean_cross_entropy_of_each_pair():
    logits, masks = torch.randn(3, 10), torch.rand(2, 10).round()
    pairs = [[F.binary_cross_entropy_with_logits(q, g) for g in masks] for q in logits]
    close(mask_entropy_cost(logits, masks), torch.tensor(pairs))


def test_dice_cost_by_hand():
    values, masks = torch.tensor([[1.0, 1.0, 0.0]]), torch.tensor([[1.0, 0.0, 0.0], [1.0, 1.0, 0.0]])
    close(dice_cost(values, masks), torch.tensor([[1 - 3 / 4, 1 - 5 / 5]]))


@given(seed=st.integers(0, 2**31), cells=st.integers(1, 30))
def test_the_losses_of_a_pair_are_its_costs(seed, cells):
    draw = torch.Generator().manual_seed(seed)
    logits, masks = 4 * torch.randn(5, cells, generator=draw), torch.rand(5, cells, generator=draw)
    close(mask_cross_entropy(logits, masks), mask_entropy_cost(logits, masks).diagonal(), atol=1e-5, rtol=1e-5)
    close(dice_loss(logits.sigmoid(), masks), dice_cost(logits.sigmoid(), masks).diagonal(), atol=1e-6, rtol=1e-6)


def test_an_unsure_mask_costs_the_logarithm_of_two():
    close(mask_cross_entropy(torch.zeros(1, 4), torch.tensor([[0.0, 1.0, 1.0, 0.5]])), torch.tensor([math.log(2)]))


def test_no_masks_have_no_losses():
    empty = torch.zeros(0, 6)
    assert mask_cross_entropy(empty, empty).shape == dice_loss(empty, empty).shape == (0,)


def test_points_read_cells_between_cells_and_beyond_the_border():
    maps = torch.tensor([[[[1.0, 2.0, 3.0, 4.0], [5.0, 6.0, 7.0, 8.0]]]])
    points = torch.tensor([[[0.125, 0.25], [0.25, 0.25], [0.5, 0.5], [0.0, 0.25], [1.0, 1.0]]])
    # the first cell, half way to the next, the middle of four, half beyond one side, and half beyond two
    close(sample_points(maps, points), torch.tensor([[[1.0, 1.5, 4.5, 0.5, 2.0]]]))


def test_every_channel_is_read_at_the_same_points():
    maps, points = torch.rand(2, 3, 5, 4), torch.rand(2, 7, 2)
    alone = torch.stack([sample_points(maps[:, c : c + 1], points)[:, 0] for c in range(3)], dim=1)
    close(sample_points(maps, points), alone)


def test_the_points_kept_are_those_nearest_to_an_even_chance():
    logits = torch.tensor([[[-8.0, 0.5, 3.0, -0.1]], [[0.2, 5.0, -0.3, 9.0]]])                      # (2, 1, 4)
    centres = torch.stack([(torch.arange(4) + 0.5) / 4, torch.full((4,), 0.5)], dim=1)
    kept = most_uncertain(logits, centres.expand(2, 4, 2), 2)
    assert sorted(kept[0, :, 0].tolist()) == [0.375, 0.875]
    assert sorted(kept[1, :, 0].tolist()) == [0.125, 0.625]


def test_the_choice_of_points_has_no_gradient_and_may_be_of_no_masks():
    logits = torch.randn(2, 4, 4, requires_grad=True)
    assert not most_uncertain(logits, torch.rand(2, 9, 2), 3).requires_grad
    assert most_uncertain(logits[:0], torch.rand(0, 9, 2), 3).shape == (0, 3, 2)


def test_a_loss_read_at_points_reaches_the_cells_around_them_only():
    logits = torch.zeros(1, 1, 4, 4, requires_grad=True)
    sample_points(logits, torch.tensor([[[0.375, 0.375]]])).sum().backward()                        # centre of (1, 1)
    assert logits.grad is not None
    assert logits.grad.nonzero().tolist() == [[0, 0, 1, 1]]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_points_of_another_precision_are_read(dtype):
    assert sample_points(torch.rand(1, 1, 3, 3, dtype=dtype), torch.rand(1, 2, 2)).dtype == dtype
