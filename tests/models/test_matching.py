"""Assignment of queries to true elements, and the costs of pairs."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from perception.models.losses.focal import sigmoid_focal_loss
from perception.models.matching.costs import focal_cost, giou_cost, l1_cost, pairwise_giou
from perception.models.matching.hungarian import hungarian

close = torch.testing.assert_close


def test_the_cheapest_pairs_are_taken_even_if_no_query_gets_its_favourite():
    queries, truths = hungarian(torch.tensor([[1.0, 2.0], [1.0, 9.0], [5.0, 5.0]]))
    assert queries.tolist() == [0, 1]
    assert truths.tolist() == [1, 0]


@given(seed=st.integers(0, 2**31), num_queries=st.integers(1, 5), num_truths=st.integers(1, 5))
def test_no_other_assignment_is_cheaper(seed, num_queries, num_truths):
    cost = torch.rand(num_queries, num_truths, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    rows, columns = hungarian(cost)
    tall = cost if num_queries >= num_truths else cost.T
    choices = itertools.permutations(range(len(tall)), tall.shape[1])
    best = min(sum(tall[q, g] for g, q in enumerate(chosen)) for chosen in choices)
    assert len(rows) == min(num_queries, num_truths)
    assert len(set(rows.tolist())) == len(rows) == len(set(columns.tolist()))
    close(cost[rows, columns].sum(), best, atol=1e-12, rtol=0)               # sums of at most five numbers below 1


@pytest.mark.parametrize("shape", [(4, 0), (0, 4), (0, 0)])
def test_nothing_is_assigned_if_one_side_is_empty(shape):
    queries, truths = hungarian(torch.zeros(shape))
    assert queries.shape == truths.shape == (0,)
    assert queries.dtype == truths.dtype == torch.int64


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_cost_that_is_not_finite_is_refused(bad):
    cost = torch.zeros(3, 2)
    cost[1, 1] = bad
    with pytest.raises(ValueError, match="cost must be finite, but 1 of its 6 entries"):
        hungarian(cost)


def test_a_cost_that_is_no_matrix_is_refused():
    with pytest.raises(ValueError, match=r"cost must be \(Q, G\), got \(3,\)"):
        hungarian(torch.zeros(3))


def test_focal_cost_of_even_odds_worked_by_hand():
    cost = focal_cost(torch.zeros(1, 2), torch.tensor([1, 0, 1]))
    close(cost, torch.full((1, 3), (0.25 - 0.75) * 0.25 * math.log(2)))      # both terms are 0.25 * log 2 at p = 0.5


def test_focal_cost_falls_as_the_class_grows_surer():
    cost = focal_cost(torch.linspace(-8, 8, 33)[:, None], torch.tensor([0]))
    assert (cost.diff(dim=0) < 0).all()


@pytest.mark.parametrize("logit", [-1000.0, 1000.0])
def test_focal_cost_of_extreme_logits_is_finite(logit):
    assert torch.isfinite(focal_cost(torch.tensor([[logit]]), torch.tensor([0]))).all()


def test_l1_cost_adds_the_coordinates():
    cost = l1_cost(torch.tensor([[0.0, 0.0], [1.0, 2.0]]), torch.tensor([[1.0, -2.0]]))
    assert cost.tolist() == [[3.0], [4.0]]


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        ([0, 0, 2, 2], [0, 0, 2, 2], 1.0),
        ([0, 0, 2, 2], [1, 0, 3, 2], 2 / 6),                                 # hull equals the union
        ([0, 0, 1, 1], [2, 0, 3, 1], -1 / 3),                                # union 2 in a hull of 3
        ([0, 0, 1, 1], [3, 3, 4, 4], 2 / 16 - 1),
    ],
)
def test_generalised_iou_worked_by_hand(a, b, expected):
    boxes = torch.tensor([a, b], dtype=torch.float32)
    close(pairwise_giou(boxes[:1], boxes[1:]), torch.tensor([[expected]]))
    close(giou_cost(boxes[1:], boxes[:1]), torch.tensor([[-expected]]))


def test_boxes_without_area_have_a_finite_overlap():
    points = torch.tensor([[1.0, 1.0, 1.0, 1.0], [4.0, 4.0, 4.0, 4.0]])
    assert torch.isfinite(pairwise_giou(points, points)).all()


@pytest.mark.parametrize("target", [0.0, 1.0])
def test_focal_loss_without_focus_or_balance_is_half_the_cross_entropy(target):
    logits = torch.linspace(-5, 5, 11)
    targets = torch.full_like(logits, target)
    expected = torch.nn.functional.binary_cross_entropy_with_logits(logits, targets, reduction="none") / 2
    close(sigmoid_focal_loss(logits, targets, alpha=0.5, gamma=0.0, reduction="none"), expected)


def test_focal_loss_of_even_odds_worked_by_hand():
    loss = sigmoid_focal_loss(torch.zeros(2), torch.tensor([1.0, 0.0]), alpha=0.25, gamma=2.0)
    close(loss, torch.tensor(math.log(2) * 0.25))                            # (0.25 + 0.75) * 0.5^2 * log 2


def test_focal_loss_means_over_entries():
    logits, targets = torch.linspace(-2, 2, 12).view(3, 4), torch.ones(3, 4)
    loss = sigmoid_focal_loss(logits, targets, reduction="mean")
    close(loss, sigmoid_focal_loss(logits, targets) / 12)


@pytest.mark.parametrize(
    ("targets", "reduction", "message"),
    [(torch.zeros(3), "sum", r"targets must be \(2,\)"), (torch.zeros(2), "median", "reduction must be .*'median'")],
)
def test_focal_loss_refuses_other_shapes_and_reductions(targets, reduction, message):
    with pytest.raises(ValueError, match=message):
        sigmoid_focal_loss(torch.zeros(2), targets, reduction=reduction)
