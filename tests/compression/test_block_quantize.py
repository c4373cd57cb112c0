"""Blocks of low-bit integers: by hand, against a slow form, their promises, their edges."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from perception.compression.block_quantize import BlockFormat, block_dequantize, block_quantize, block_rounded

FORMATS = [BlockFormat(bits, block, mode) for bits in (2, 4, 8) for block in ((1, 3), (4, 2)) for mode in
           ("shift", "scale")]


@pytest.mark.parametrize(
    ("bits", "peak", "shift", "code"),
    [
        (8, 1.0, 6, 64),                               # 128 = 2^7 is no code, so the smaller shift
        (8, 127.0, 0, 127),                            # exactly q keeps the larger shift
        (4, 7.0, 0, 7),
        (4, 8.0, -1, 4),
        (4, 7.5, -1, 4),                               # 7.5 is above q; 3.75 rounds to 4
        (8, 2.0**-30, 36, 64),
        (8, 0.0, 0, 0),
    ],
)
def test_the_shift_of_a_block_is_the_largest_that_keeps_its_peak_a_code(bits: int, peak: float, shift: int, code: int):
    blocks = block_quantize(torch.tensor([[peak, -peak]]), BlockFormat(bits, (1, 2)))
    assert blocks.meta.tolist() == [[shift]]
    assert blocks.codes.tolist() == [[code, -code]]


def test_half_a_step_is_rounded_to_the_even_code():
    codes = block_quantize(torch.tensor([[7.0, 2.5, 3.5, -2.5]]), BlockFormat(4, (1, 4))).codes
    assert codes.tolist() == [[7, 2, 4, -2]]


def _slowly(x: Tensor, how: BlockFormat) -> Tensor:
    """Block by block, the shift found by trying."""
    result, q = torch.zeros_like(x), how.largest
    rows, columns = how.block
    for top in range(0, x.shape[0], rows):
        for left in range(0, x.shape[1], columns):
            block = x[top : top + rows, left : left + columns]
            peak = block.abs().max().item()
            if peak == 0:
                continue
            step = peak / q
            if how.mode == "shift":
                step = 2.0 ** -max(s for s in range(-40, 40) if peak * 2.0**s <= q)
            value = (block.double() / torch.tensor(step).float().double()).round().clamp(-q, q) * step
            result[top : top + rows, left : left + columns] = value
    return result


@pytest.mark.parametrize("how", FORMATS, ids=str)
def test_blocks_equal_those_cut_one_by_one(how: BlockFormat):
    x = torch.randn(9, 7, generator=torch.Generator().manual_seed(1)) * torch.logspace(-4, 4, 7)
    x[:4, :2] = 0
    torch.testing.assert_close(block_rounded(x, how), _slowly(x, how), rtol=1e-6, atol=0)


@given(seed=st.integers(0, 1000), power=st.integers(-20, 20), bits=st.sampled_from([4, 8]))
def test_the_error_of_a_shift_is_half_a_step_and_a_step_at_most_twice_that_of_a_scale(seed: int, power: int, bits: int):
    x = torch.randn(6, 10, generator=torch.Generator().manual_seed(seed)) * 2.0**power
    shift, scale = (block_quantize(x, BlockFormat(bits, (3, 4), mode)) for mode in ("shift", "scale"))
    steps = torch.ldexp(torch.ones(shift.meta.shape), -shift.meta.int())
    assert (steps <= 2 * scale.meta * (1 + 1e-6) * (2 ** (bits - 1) - 1) / (2 ** (bits - 1) - 1.5)).all()
    at = steps.repeat_interleave(3, 0).repeat_interleave(4, 1)[:, :10]
    assert ((x - block_dequantize(shift)).abs() <= at / 2).all()


@pytest.mark.parametrize("how", [how for how in FORMATS if how.mode == "shift"], ids=str)
def test_rounding_what_is_rounded_changes_nothing(how: BlockFormat):
    x = torch.randn(5, 8, generator=torch.Generator().manual_seed(2))
    once = block_rounded(x, how)
    assert torch.equal(block_rounded(once, how), once)


@pytest.mark.parametrize("shape", [(5,), (1, 1), (0, 6), (2, 3, 5, 7)])
def test_every_shape_comes_back(shape: tuple[int, ...]):
    x = torch.randn(shape, generator=torch.Generator().manual_seed(3))
    rounded = block_rounded(x, BlockFormat(8, (2, 4)))
    assert rounded.shape == x.shape
    torch.testing.assert_close(rounded, x, rtol=0, atol=0.05)


def test_leading_dimensions_are_cut_one_by_one():
    x = torch.randn(3, 5, 6, generator=torch.Generator().manual_seed(4))
    how = BlockFormat(8, (2, 4))
    assert torch.equal(block_rounded(x, how), torch.stack([block_rounded(one, how) for one in x]))


def test_float64_is_rounded_once():
    x = torch.tensor([[1.0, 0.5 / 64 + 1e-12]], dtype=torch.float64)       # in float32 a tie, which goes to 0
    assert block_quantize(x, BlockFormat(8, (1, 2))).codes.tolist() == [[64, 1]]
    assert block_rounded(x, BlockFormat(8, (1, 2))).dtype == torch.float64


def test_the_error_falls_with_the_bits():
    x = torch.randn(16, 16, generator=torch.Generator().manual_seed(5))
    errors = [(block_rounded(x, BlockFormat(bits, (4, 4))) - x).abs().mean().item() for bits in range(2, 9)]
    assert errors == sorted(errors, reverse=True)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"bits": 9}, r"bits must lie in \[2, 8\], got 9"),
        ({"block": (0, 4)}, r"rows and columns >= 1, got \(0, 4\)"),
        ({"mode": "float"}, 'mode must be "shift" or "scale", got \'float\''),
    ],
)
def test_a_format_that_makes_no_sense_is_refused(arguments: dict, told: str):
    with pytest.raises(ValueError, match=told):
        BlockFormat(**arguments)
