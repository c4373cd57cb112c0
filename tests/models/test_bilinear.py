from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional as F

from perception.models.bilinear import bilinear_corners, sum_rows


def read(plane: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
    """(C, H, W) at (V, 2) -> (V, C)."""
    C, H, W = plane.shape
    cells, weights = bilinear_corners(positions, (H, W))
    counts = torch.full((len(positions),), 4)
    return sum_rows(plane.permute(1, 2, 0).reshape(-1, C), cells.flatten(), weights.flatten(), counts)


@pytest.mark.parametrize(
    ("x", "y", "expected"),
    [
        (1.0, 0.0, 1.0),                             # the centre of the second cell
        (0.5, 0.5, 1.5),                             # the middle of all four: (0 + 1 + 2 + 3) / 4
        (-0.25, 1.0, 1.5),                           # a quarter beyond the left border: 2 * 3/4
        (1.5, 1.5, 0.75),                            # half beyond the lower right corner: 3 / 4
        (2.0, 0.0, 0.0),                             # a whole cell beyond
    ],
)
def test_positions_of_a_map_of_four_cells(x, y, expected):
    plane = torch.tensor([[[0.0, 1.0], [2.0, 3.0]]])
    assert read(plane, torch.tensor([[x, y]])).item() == expected


@pytest.mark.parametrize("size", [(1, 1), (5, 3), (4, 9)])
def test_reading_equals_grid_sample(size):
    draw = torch.Generator().manual_seed(1)
    plane = torch.rand(3, *size, generator=draw, dtype=torch.float64)
    grid = torch.rand(200, 2, generator=draw, dtype=torch.float64) * 4 - 2
    expected = F.grid_sample(plane[None], grid[None, None], align_corners=False)[0, :, 0].T
    positions = ((grid + 1) * torch.tensor([size[1], size[0]]) - 1) / 2
    torch.testing.assert_close(read(plane, positions), expected)


def test_gradients_reach_rows_and_weights():
    rows = torch.rand(5, 3, dtype=torch.float64, requires_grad=True)
    weights = torch.rand(6, dtype=torch.float64, requires_grad=True)
    index, counts = torch.tensor([0, 4, 4, 2, 0, 1]), torch.tensor([2, 0, 3, 1])
    assert torch.autograd.gradcheck(lambda r, w: sum_rows(r, index, w, counts), (rows, weights))


def test_an_empty_group_is_zero():
    sums = sum_rows(torch.ones(2, 3), torch.tensor([1]), torch.tensor([2.0]), torch.tensor([0, 1, 0]))
    assert sums.tolist() == [[0.0] * 3, [2.0] * 3, [0.0] * 3]


def test_groups_that_are_all_empty_give_zeros_and_a_gradient_of_zero():
    rows = torch.ones(2, 3, requires_grad=True)
    sums = sum_rows(rows, torch.empty(0, dtype=torch.int64), torch.empty(0), torch.zeros(4, dtype=torch.int64))
    sums.sum().backward()
    assert torch.equal(sums, torch.zeros(4, 3))
    assert torch.equal(rows.grad, torch.zeros(2, 3))


def test_half_precision_is_summed_in_float32():
    rows = torch.tensor([[256.0], [1.0]], dtype=torch.bfloat16)            # bfloat16 knows no 257
    sums = sum_rows(rows, torch.tensor([0] + [1] * 64), torch.ones(65), torch.tensor([65]))
    assert sums.dtype == torch.bfloat16
    assert sums.item() == 320.0


@pytest.mark.parametrize(("wrong", "is_nan"), [(math.nan, True), (math.inf, True), (1e30, False)])
def test_a_position_out_of_reach_reads_nothing_and_one_that_is_no_number_reads_none(wrong, is_nan):
    value = read(torch.ones(1, 2, 2), torch.tensor([[wrong, 0.0]])).item()
    assert math.isnan(value) if is_nan else value == 0.0


def test_rows_without_columns_give_groups_without_columns():
    index, weights = torch.tensor([1, 0, 2]), torch.ones(3)
    assert sum_rows(torch.zeros(3, 0), index, weights, torch.tensor([1, 2])).shape == (2, 0)
