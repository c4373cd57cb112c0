"""Codes of 8 and 4 bits, scales that are moved, and rounding that passes gradients."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from perception.compression.fake_quantize import fake_quantize_range, fake_quantize_rows
from perception.compression.int4_groups import dequantize_groups, quantize_groups
from perception.compression.int8 import (
    Rows,
    dequantize_range,
    dequantize_rows,
    integer_linear,
    linear_dynamic,
    linear_static,
    quantize_range,
    quantize_rows,
    range_of,
)
from perception.compression.nibbles import pack_nibbles, unpack_nibbles
from perception.compression.smooth_scale import smooth_scale


def _draw(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def test_rows_by_hand():
    rows = quantize_rows(torch.tensor([[127.0, -63.5, 0.5, 1.5], [0.0, 0.0, 0.0, 0.0]]))
    assert rows.scale.tolist() == [1.0, 1.0]
    assert rows.codes.tolist() == [[127, -64, 0, 2], [0, 0, 0, 0]]       # halves go to the even code


@pytest.mark.parametrize(
    ("bounds", "scale", "zero"),
    [((-1.0, 254.0), 1.0, 1), ((10.0, 255.0), 1.0, 0), ((-510.0, -1.0), 2.0, 255), ((0.0, 0.0), 1.0, 0)],
)
def test_a_range_is_widened_to_hold_zero(bounds: tuple[float, float], scale: float, zero: int):
    of = range_of(*map(torch.tensor, bounds))
    assert (of.scale.item(), of.zero.item()) == (scale, zero)
    assert dequantize_range(quantize_range(torch.zeros(1), of), of).item() == 0.0


def test_beyond_a_range_stand_its_ends():
    of = range_of(torch.tensor(-1.0), torch.tensor(254.0))
    assert quantize_range(torch.tensor([-9.0, 300.0]), of).tolist() == [0, 255]


@given(seed=st.integers(0, 1000), power=st.floats(-10, 10))
def test_rounding_errs_by_half_a_step(seed: int, power: float):
    w = _draw(3, 8, seed=seed) * 2.0**power
    rows, of, groups = quantize_rows(w), range_of(w.min(), w.max()), quantize_groups(w, 4)
    assert ((dequantize_rows(rows) - w).abs() <= rows.scale[:, None] * 0.5001).all()
    whole = dequantize_range(quantize_range(w, of), of)
    assert ((whole - w).abs() <= of.scale * 1.0001).all()                # zero is rounded too
    steps = groups.scale.repeat_interleave(4, dim=1)
    assert ((dequantize_groups(groups) - w).abs() <= steps * 1.0001).all()


def test_a_group_of_four_bits_by_hand():
    groups = quantize_groups(torch.tensor([[-3.0, 12.0, 0.4, 5.0, 6.0]]), 4)
    assert groups.scale[0].tolist() == pytest.approx([1.0, 0.4])
    assert groups.zero.tolist() == [[3, 0]]
    assert groups.codes.tolist() == [[0, 15, 3, 8, 15]]
    assert dequantize_groups(groups)[0].tolist() == pytest.approx([-3.0, 12.0, 0.0, 5.0, 6.0])


def test_a_group_below_one_input_is_refused():
    with pytest.raises(ValueError, match="one input or more, got 0"):
        quantize_groups(_draw(2, 4), 0)


@pytest.mark.parametrize("columns", [0, 1, 6, 7])
@pytest.mark.parametrize("signed", [False, True])
def test_two_codes_share_a_byte(columns: int, signed: bool):
    low, high = (-8, 8) if signed else (0, 16)
    codes = torch.randint(low, high, (3, columns), generator=torch.Generator().manual_seed(0))
    packed = pack_nibbles(codes)
    assert packed.shape == (3, (columns + 1) // 2)
    assert torch.equal(unpack_nibbles(packed, columns, signed=signed).long(), codes)


def test_the_low_nibble_is_the_even_column():
    assert pack_nibbles(torch.tensor([[1, -2, 7]])).tolist() == [[1 | 14 << 4, 7]]


@pytest.mark.parametrize("summed", [5, 1040, 1041, 5000])
def test_products_of_integers_are_exact_at_every_length(summed: int):
    codes = torch.full((2, summed), 127, dtype=torch.int8)
    codes[1, ::2] = -126
    found = integer_linear(codes, codes, 127 * 127)
    assert torch.equal(found.long(), codes.long() @ codes.long().T)


def test_a_dynamic_layer_is_the_product_of_what_its_codes_stand_for():
    x, weight, bias = _draw(2, 3, 40), quantize_rows(_draw(7, 40, seed=1)), _draw(7, seed=2)
    expected = F.linear(dequantize_rows(quantize_rows(x)), dequantize_rows(weight), bias)
    torch.testing.assert_close(linear_dynamic(x, weight, bias), expected, rtol=1e-5, atol=1e-5)


def test_a_static_layer_is_the_product_of_what_its_codes_stand_for():
    x, weight = _draw(6, 40), quantize_rows(_draw(7, 40, seed=1))
    of = range_of(x.min(), x.max())
    expected = F.linear(dequantize_range(quantize_range(x, of), of), dequantize_rows(weight))
    torch.testing.assert_close(linear_static(x, of, weight), expected, rtol=1e-5, atol=1e-5)


def test_a_row_scale_follows_an_outlier_of_its_own_row_alone():
    x = torch.ones(2, 8)
    x[0, 0] = 1e4
    y = linear_dynamic(x, Rows(torch.full((1, 8), 127, dtype=torch.int8), torch.full((1,), 1 / 127)))
    torch.testing.assert_close(y[1], torch.tensor([8.0]))


def test_integers_stay_exact_under_autocast():
    x, weight = _draw(4, 40), quantize_rows(_draw(7, 40, seed=1))
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(linear_dynamic(x, weight), linear_dynamic(x, weight).float())
        found = linear_dynamic(x, weight)
    assert torch.equal(found, linear_dynamic(x, weight))


def test_a_smooth_scale_leaves_the_product_and_shares_the_range():
    x, w = _draw(16, 6) * torch.tensor([1.0, 1, 1, 1, 1, 100]), _draw(5, 6, seed=1)
    scale = smooth_scale(x.abs().amax(0), w.abs().amax(0))
    torch.testing.assert_close((x / scale) @ (w * scale).T, x @ w.T, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close((x / scale).abs().amax(0), (w * scale).abs().amax(0))      # a = 0.5 makes them equal


def test_a_channel_without_range_keeps_its_scale():
    assert smooth_scale(torch.tensor([0.0, 2.0]), torch.tensor([3.0, 0.0])).tolist() == [1.0, 1.0]
    with pytest.raises(ValueError, match=r"alpha must lie in \[0, 1\], got 2"):
        smooth_scale(torch.ones(1), torch.ones(1), 2)


def test_a_gradient_passes_inside_a_range_and_stops_outside():
    x = torch.tensor([-5.0, -1.0, 0.3, 254.0, 300.0], requires_grad=True)
    y = fake_quantize_range(x, range_of(torch.tensor(-1.0), torch.tensor(254.0)))
    assert y.tolist() == [-1.0, -1.0, 0.0, 254.0, 254.0]
    y.sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [0, 1, 1, 1, 0]


def test_weights_are_rounded_and_take_the_whole_gradient():
    w = _draw(3, 5).requires_grad_()
    y = fake_quantize_rows(w)
    assert torch.equal(y, dequantize_rows(quantize_rows(w.detach())))
    (y * torch.arange(15.0).view(3, 5)).sum().backward()
    assert w.grad is not None
    assert torch.equal(w.grad, torch.arange(15.0).view(3, 5))
