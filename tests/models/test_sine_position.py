from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from perception.models.attention.sine_position import sine_position

close = torch.testing.assert_close


def test_the_codes_of_two_rows_and_one_column_by_hand():
    code = sine_position((2, 1), 8, normalize=False)                     # waves of 1 and 100 cells
    close(code[:4, 1, 0], torch.tensor([math.sin(2), math.cos(2), math.sin(0.02), math.cos(0.02)]))
    close(code[4:, 1, 0], torch.tensor([math.sin(1), math.cos(1), math.sin(0.01), math.cos(0.01)]))


def test_the_last_row_and_column_are_a_full_turn():
    code = sine_position((3, 7), 4)
    close(code[:, 2, 6], torch.tensor([0.0, 1.0, 0.0, 1.0]), atol=1e-5, rtol=0)     # 2 pi less the eps of 1e-6


@given(rows=st.integers(1, 40), columns=st.integers(1, 40), quarter=st.integers(1, 8))
def test_rows_and_columns_are_coded_alike(rows, columns, quarter):
    code, turned = sine_position((rows, columns), 4 * quarter), sine_position((columns, rows), 4 * quarter)
    assert code.shape == (4 * quarter, rows, columns)
    assert torch.equal(code.transpose(1, 2).roll(2 * quarter, dims=0), turned)


def test_no_two_cells_have_the_same_code():
    code = sine_position((12, 15), 16).flatten(1).T
    assert torch.pdist(code).min() > 1e-3


def test_a_width_that_is_no_multiple_of_four_is_refused():
    with pytest.raises(ValueError, match="channels must be divisible by 4, got 10"):
        sine_position((2, 2), 10)
