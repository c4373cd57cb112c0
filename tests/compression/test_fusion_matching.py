"""Costs, plans, single layers and junctions of optimal-transport fusion."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from perception.compression.fusion.activations import central_tokens, record_outputs, standardised
from perception.compression.fusion.ground_metric import GroundMetric
from perception.compression.fusion.heads import head_plans
from perception.compression.fusion.linear import Linear, fuse_linear
from perception.compression.fusion.matching import Matching
from perception.compression.fusion.residual import combine

pytest.importorskip("ot", reason="POT is not installed: pip install -e '.[compress]'")
X, Y = torch.tensor([[0.0, 0.0], [3.0, 4.0]]), torch.tensor([[0.0, 0.0], [3.0, 0.0]])


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"norm": "none"}, [[0, 3], [5, 4]]),
        ({"norm": "none", "squared": True}, [[0, 9], [25, 16]]),
        ({"norm": "max"}, [[0, 0.6], [1, 0.8]]),
        ({"norm": "mean"}, [[0, 1], [5 / 3, 4 / 3]]),
        ({"norm": "median"}, [[0, 1], [5 / 3, 4 / 3]]),
        ({"norm": "log"}, [[0, math.log(4)], [math.log(6), math.log(5)]]),
        ({"norm": "none", "clip": (1.0, 4.5)}, [[1, 3], [4.5, 4]]),
        ({"norm": "none", "kind": "cosine"}, [[1, 1], [1, 0.4]]),
    ],
)
def test_costs_worked_by_hand(options: dict[str, Any], expected: list[list[float]]):
    torch.testing.assert_close(GroundMetric(**options)(X, Y), torch.tensor(expected, dtype=torch.float32))


def test_units_that_are_all_alike_cost_nothing():
    same = torch.ones(3, 4)
    assert torch.equal(GroundMetric()(same, same), torch.zeros(3, 3))


def assert_uniform(plan: Tensor) -> None:
    """Rows and columns have equal shares of a mass of 1."""
    for dim in (0, 1):
        share = torch.full_like(plan.sum(dim=dim), 1 / plan.shape[1 - dim])
        torch.testing.assert_close(plan.sum(dim=dim), share, atol=1e-6, rtol=0)


@given(rows=st.integers(1, 7), columns=st.integers(1, 7), seed=st.integers(0, 99),
       solver=st.sampled_from(("emd", "sinkhorn")))
def test_a_plan_has_uniform_marginals(rows: int, columns: int, seed: int, solver: str):
    cost = torch.rand(rows, columns, generator=torch.Generator().manual_seed(seed))
    plan = Matching(solver=solver, reg=0.2).plan(cost)
    assert_uniform(plan)


@pytest.mark.parametrize(
    ("scale", "columns", "read_rows"), [("code", 1.5, 1.0), ("paper", 1.0, 2 / 3), ("balanced", 1.0, 1.0)]
)
def test_what_the_scales_mean_when_three_units_become_two(scale: str, columns: float, read_rows: float):
    matching = Matching(solver="emd", scale=scale)
    transport = matching.transport(torch.rand(3, 2))
    torch.testing.assert_close(transport.sum(dim=0), torch.full((2,), columns))
    torch.testing.assert_close(matching.incoming(transport).sum(dim=1), torch.full((3,), read_rows))


def test_soft_plans_tend_to_the_exact_one_and_a_small_reg_does_not_underflow():
    cost = torch.rand(5, 5, generator=torch.Generator().manual_seed(1))
    exact = Matching(solver="emd").plan(cost)
    gaps = [(Matching(reg=reg).plan(cost) - exact).abs().max().item() for reg in (1.0, 0.1, 1e-2, 1e-4)]
    assert gaps == sorted(gaps, reverse=True)
    assert gaps[-1] < 1e-3                                       # exp(-1 / 1e-4) is 0 even in float64


def test_widening_alone_is_soft():
    cost = torch.rand(4, 4)
    matching = Matching(solver="sinkhorn_for_widening")
    assert torch.equal(matching.plan(cost, torch.eye(4)), Matching(solver="emd").plan(cost))
    assert torch.equal(matching.plan(cost, torch.ones(4, 3)), Matching().plan(cost))
    assert torch.equal(matching.plan(cost), Matching(solver="emd").plan(cost))


@pytest.mark.parametrize("seed", range(3))
def test_a_hidden_layer_in_another_order_gives_the_anchor_back(seed: int):
    draw = torch.Generator().manual_seed(seed)
    weight, bias, acts = (torch.randn(shape, generator=draw) for shape in ((6, 4), (6,), (20, 6)))
    order = torch.randperm(6, generator=draw)
    moved = Linear(weight[order], bias[order])
    fused = fuse_linear(moved, Linear(weight, bias), Matching(solver="emd"), acts=(acts[:, order], acts))
    torch.testing.assert_close(fused.layer.weight, weight)
    torch.testing.assert_close(fused.layer.bias, bias)
    after = torch.randn(3, 6, generator=draw)
    last = fuse_linear(
        Linear(after[:, order], None), Linear(after, None), Matching(), incoming=fused.transport, last=True
    )
    torch.testing.assert_close(last.layer.weight, after)


def test_heads_stay_whole_and_give_their_order_back():
    draw = torch.Generator().manual_seed(0)
    features = [torch.randn(12, 30, generator=draw) for _ in range(2)]                     # 3 heads of 4 channels
    order = torch.cat([head * 4 + torch.randperm(4, generator=draw) for head in (2, 0, 1)])
    costs = [GroundMetric()(x[order], x) for x in features]
    for plan in head_plans(costs, (3, 3), Matching(solver="emd")):
        torch.testing.assert_close(plan * 12, torch.eye(12, dtype=torch.float64)[order])


def test_four_heads_become_two_with_uniform_marginals():
    (plan,) = head_plans([torch.rand(8, 6)], (4, 2), Matching(reg=0.2))
    assert_uniform(plan)


def test_a_channel_that_is_silent_in_both_weighs_both_alike():
    residual, branch = torch.eye(2), torch.eye(2).flip(0)
    acts = torch.tensor([[0.0, 3.0]]), torch.tensor([[0.0, 1.0]])
    found = combine(residual, branch, "weighted_matrix", acts)
    torch.testing.assert_close(found, torch.tensor([[0.5, 0.25], [0.5, 0.75]]))


def test_standardised_activations():
    acts = torch.tensor([[1.0, 5.0], [3.0, 5.0]])
    torch.testing.assert_close(standardised(acts), torch.tensor([[-(0.5**0.5), 0.0], [0.5**0.5, 0.0]]))
    torch.testing.assert_close(standardised(acts, std=False), torch.tensor([[-1.0, 0.0], [1.0, 0.0]]))
    lengths = standardised(acts, std=False, center=False).norm(dim=0)
    torch.testing.assert_close(lengths, torch.ones(2))
    assert torch.equal(standardised(acts, std=False, center=False, norm=False), acts)


def test_the_middle_of_the_tokens():
    tokens = torch.arange(17.0).view(1, 17, 1)
    assert central_tokens(tokens, 2).flatten().tolist() == [0, 6, 7, 10, 11]
    assert central_tokens(tokens, 0).flatten().tolist() == [0]
    assert central_tokens(tokens[:, 1:], 2, class_token=False).flatten().tolist() == [6, 7, 10, 11]


def test_outputs_are_recorded_by_name_and_hooks_are_gone_after_an_error():
    model = nn.Sequential(nn.Linear(2, 3), nn.Sequential(nn.Linear(3, 4)))
    batches = [torch.rand(2, 5, 2), torch.rand(1, 5, 2)]
    found = record_outputs(model, batches, select=lambda name, x: x[:, :3] if name == "0" else x)
    assert {name: tuple(rows.shape) for name, rows in found.items()} == {"0": (9, 3), "1.0": (15, 4), "1.data": (15, 4)}
    with pytest.raises(RuntimeError):
        record_outputs(model, [torch.rand(1, 5, 7)])
    assert not any(module._forward_hooks for module in model.modules())


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda: GroundMetric("manhattan"), "kind must be one of .* got 'manhattan'"),
        (lambda: GroundMetric(norm="min"), "norm must be one of .* got 'min'"),
        (lambda: GroundMetric(clip=(5.0, 0.0)), r"clip must be a lower and an upper bound, got \(5.0, 0.0\)"),
        (lambda: GroundMetric()(torch.ones(2, 3), torch.ones(2, 4)), "equally many features, got 3 and 4"),
        (lambda: Matching(solver="greedy"), "solver must be one of .* got 'greedy'"),
        (lambda: Matching(scale="none"), "scale must be one of .* got 'none'"),
        (lambda: Matching(reg=0.0), r"reg must be > 0, got 0.0"),
        (lambda: combine(torch.eye(2), torch.eye(2), "median"), "policy must be one of .* got 'median'"),
        (lambda: combine(torch.eye(2), torch.eye(2), "weighted_scalar"), "needs activations .* got None"),
        (lambda: head_plans([X], (4, 3), Matching()), r"\(2, 2\) channels are not divisible by \(4, 3\)"),
        (lambda: central_tokens(torch.ones(1, 8, 2), 2), "7 tokens form no square map"),
        (lambda: central_tokens(torch.ones(1, 17, 2), 3), "window must lie in the middle of 4 x 4 tokens, got 3"),
    ],
)
def test_slips_are_refused(call: Any, told: str):
    with pytest.raises(ValueError, match=told):
        call()
