"""Masks, hidden units and heads, thin factors, and the front of what is not beaten."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from perception.compression.hidden_units import head_importance, keep_units, most_important, unit_importance
from perception.compression.low_rank import low_rank_factors, rank_of_share, saves_numbers
from perception.compression.magnitude import global_magnitude_masks, two_of_four_mask
from perception.compression.pareto import pareto_front


def _draw(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def test_one_threshold_serves_all_tensors():
    masks = global_magnitude_masks([torch.tensor([1.0, -5.0]), torch.tensor([[2.0], [-3.0]])], 0.5)
    assert [mask.tolist() for mask in masks] == [[False, True], [[False], [True]]]


@pytest.mark.parametrize(("sparsity", "kept"), [(0.0, 10), (0.24, 8), (0.26, 7), (1.0, 0)])
def test_a_share_of_the_weights_goes(sparsity: float, kept: int):
    assert sum(int(mask.sum()) for mask in global_magnitude_masks([_draw(4), _draw(2, 3, seed=1)], sparsity)) == kept


def test_weights_that_tie_with_the_threshold_go_too():
    assert not global_magnitude_masks([torch.ones(4)], 0.25)[0].any()


def test_a_share_beyond_all_is_refused():
    with pytest.raises(ValueError, match=r"sparsity must lie in \[0, 1\], got 1.5"):
        global_magnitude_masks([], 1.5)


def test_of_four_inputs_the_two_largest_stay_and_of_equal_ones_the_first():
    mask = two_of_four_mask(torch.tensor([[1.0, -4.0, 3.0, 2.0, 1.0, 1.0, 1.0, 1.0]]))
    assert mask.tolist() == [[False, True, True, False, True, True, False, False]]
    with pytest.raises(ValueError, match="inputs in fours, got 6"):
        two_of_four_mask(torch.ones(2, 6))


def test_a_unit_weighs_its_row_its_bias_and_its_column():
    fc1, bias, fc2 = torch.tensor([[1.0, 2.0], [0.0, 0.0]]), torch.tensor([2.0, 3.0]), torch.tensor([[4.0, 0.0]])
    assert unit_importance(fc1, bias, fc2).tolist() == [5.0, 3.0]
    assert unit_importance(fc1, None, fc2)[1] == 0.0
    with pytest.raises(ValueError, match="the hidden widths differ: 2 rows and 3 columns"):
        unit_importance(fc1, None, torch.ones(1, 3))


def test_a_head_weighs_what_a_loop_over_its_rows_and_columns_gives():
    qkv, bias, out, heads = _draw(24, 6), _draw(24, seed=1), _draw(6, 8, seed=2), 4
    found = head_importance(qkv, bias, out, heads)
    for head in range(heads):
        rows = [part * 8 + head * 2 + place for part in range(3) for place in range(2)]
        total = sum(qkv[row].square().sum() + bias[row] ** 2 for row in rows)
        total += out[:, head * 2 : head * 2 + 2].square().sum()
        torch.testing.assert_close(found[head], total.sqrt())
    with pytest.raises(ValueError, match=r"expected 3 \* 8 rows in 3 heads, got 24"):
        head_importance(qkv, bias, out, 3)


def test_what_weighs_most_stays_in_its_order():
    assert most_important(torch.tensor([1.0, 5.0, 3.0, 5.0]), 2).tolist() == [1, 3]
    assert most_important(torch.tensor([2.0, 2.0, 1.0]), 1).tolist() == [0]
    with pytest.raises(ValueError, match=r"count must lie in \[1, 2\], got 3"):
        most_important(torch.ones(2), 3)


@pytest.mark.parametrize("bias", [False, True])
def test_units_that_go_are_as_if_they_gave_nothing(bias: bool):
    torch.manual_seed(0)
    fc1, fc2, x = nn.Linear(4, 6, bias=bias), nn.Linear(6, 3), _draw(5, 4)
    kept = torch.tensor([0, 2, 5])
    mask = torch.zeros(6).index_fill_(0, kept, 1)
    expected = fc2(F.gelu(fc1(x)) * mask)
    keep_units(fc1, fc2, kept)
    torch.testing.assert_close(fc2(F.gelu(fc1(x))), expected)
    assert (fc1.out_features, fc2.in_features) == (3, 3)


def test_factors_are_the_nearest_of_their_rank():
    w = _draw(6, 9)
    values = torch.linalg.svdvals(w)
    for rank in (1, 3, 6):
        factors = low_rank_factors(w, rank)
        assert (factors.left.shape, factors.right.shape) == ((6, rank), (rank, 9))
        error = torch.linalg.norm(factors.left @ factors.right - w)
        torch.testing.assert_close(error, values[rank:].square().sum().sqrt(), rtol=1e-4, atol=1e-5)
    with pytest.raises(ValueError, match=r"rank must lie in \[1, 6\], got 7"):
        low_rank_factors(w, 7)


@pytest.mark.parametrize(("rank", "is_thin"), [(3, True), (4, False), (5, False)])
def test_factors_save_numbers_below_the_bound(rank: int, is_thin: bool):
    assert saves_numbers(6, 12, rank) is is_thin                       # 6 * 12 / 18 = 4


@given(rows=st.integers(1, 50), columns=st.integers(1, 50), share=st.floats(0.01, 0.99))
def test_a_share_is_not_exceeded_but_by_rank_one(rows: int, columns: int, share: float):
    rank = rank_of_share(rows, columns, share)
    assert rank == 1 or rank * (rows + columns) <= share * rows * columns * (1 + 1e-9)


def test_a_front_by_hand():
    points = [(3.0, 0.1), (1.0, 0.9), (2.0, 0.5), (2.0, 0.6), (4.0, 0.1), (2.0, 0.5)]
    assert pareto_front(points) == [1, 2, 5, 0]
    assert pareto_front([]) == []


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), max_size=12))
def test_the_front_is_what_no_point_dominates(points: list[tuple[int, int]]):
    def dominates(a: tuple[int, int], b: tuple[int, int]) -> bool:
        return a[0] <= b[0] and a[1] <= b[1] and a != b

    expected = {place for place, one in enumerate(points) if not any(dominates(other, one) for other in points)}
    found = pareto_front(points)
    assert set(found) == expected
    assert [points[place][0] for place in found] == sorted(points[place][0] for place in found)
