"""Products and functions on blocks."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from perception.compression.block_accounting import stored_bits
from perception.compression.block_functions import block_layer_norm, gelu_table, integer_softmax
from perception.compression.block_linear import block_linear
from perception.compression.block_matmul import block_matmul
from perception.compression.block_quantize import BlockFormat, block_dequantize, block_quantize, block_rounded


def _draw(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def test_a_product_of_two_blocks_by_hand():
    how = BlockFormat(4, (1, 2))
    a, w = block_quantize(torch.tensor([[7.0, 1.0, 0.5]]), how), block_quantize(torch.tensor([[2.0, 4.0, 3.0]]), how)
    assert a.codes.tolist() == [[7, 1, 4]]             # shifts 0 and 3
    assert w.codes.tolist() == [[2, 4, 6]]             # shifts 0 and 1
    assert block_matmul(a, w).tolist() == [[7 * 2 + 1 * 4 + 4 * 6 / 2**4]]


@pytest.mark.parametrize("mode", ["shift", "scale"])
@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("size", [(1, 1, 1), (5, 37, 6), (4, 64, 3)])
def test_a_product_equals_sums_of_int64(mode: str, bits: int, size: tuple[int, int, int]):
    rows, summed, columns = size
    how = BlockFormat(bits, (2, 16), mode)
    a, w = block_quantize(_draw(rows, summed), how), block_quantize(_draw(columns, summed, seed=1), how)
    expected = torch.zeros(rows, columns, dtype=torch.float64)
    for i in range(rows):
        for j in range(columns):
            for start in range(0, summed, 16):
                codes = (a.codes[i, start : start + 16].long() * w.codes[j, start : start + 16].long()).sum()
                metas = a.meta[i // 2, start // 16], w.meta[j // 2, start // 16]
                scales = [2.0 ** -int(meta) if mode == "shift" else float(meta) for meta in metas]
                expected[i, j] += int(codes) * scales[0] * scales[1]
    torch.testing.assert_close(block_matmul(a, w), expected.float(), rtol=1e-6, atol=1e-7)


def test_a_product_of_shifts_is_that_of_the_values_to_the_last_bit():
    how = BlockFormat(8, (1, 64))
    a, w = block_quantize(_draw(7, 200), how), block_quantize(_draw(9, 200, seed=1), how)
    exact = (block_dequantize(a).double() @ block_dequantize(w).double().T).float()
    assert torch.equal(block_matmul(a, w), exact)


def test_samples_are_multiplied_one_by_one():
    how = BlockFormat(8, (2, 8))
    x, w = _draw(3, 5, 12), block_quantize(_draw(4, 12, seed=1), how)
    whole = block_matmul(block_quantize(x, how), w)
    assert torch.equal(whole, torch.stack([block_matmul(block_quantize(one, how), w) for one in x]))


def test_operands_that_are_cut_otherwise_are_refused():
    x = _draw(2, 8)
    a = block_quantize(x, BlockFormat(8, (1, 4)))
    with pytest.raises(ValueError, match="both must be cut alike along K, got 8 in 4 and 8 in 2"):
        block_matmul(a, block_quantize(x, BlockFormat(8, (1, 2))))
    with pytest.raises(ValueError, match="of one mode, got 'shift' and 'scale'"):
        block_matmul(a, block_quantize(x, BlockFormat(8, (1, 4), "scale")))
    wide = block_quantize(x, BlockFormat(8, (1, 1041)))
    with pytest.raises(ValueError, match="sums of 1041 products of such codes are not exact"):
        block_matmul(wide, wide)


def test_a_linear_layer_on_integers_equals_floats_rounded_to_blocks():
    activations, weights = BlockFormat(8, (1, 16)), BlockFormat(4, (8, 16))
    x, w, b = _draw(2, 5, 24), _draw(10, 24, seed=1), block_rounded(_draw(10, seed=2), BlockFormat(8, (1, 16)))
    found = block_linear(x, block_quantize(w, weights), b, activations)
    floats = F.linear(block_rounded(x, activations), block_rounded(w, weights), b)
    difference = (found - block_rounded(floats, activations)).abs()
    assert (difference > 1e-6).float().mean() <= 0.01          # float32 sums may turn a tie
    assert found.shape == (2, 5, 10)


def test_gelu_is_a_table_of_the_codes():
    how = BlockFormat(8, (1, 64))
    blocks = block_quantize(_draw(1, 40), how)
    (shift,) = blocks.meta.flatten().tolist()
    looked_up = gelu_table(shift)[blocks.codes.long() + 127]
    torch.testing.assert_close(looked_up, F.gelu(block_dequantize(blocks)), rtol=1e-6, atol=1e-7)


def test_the_softmax_of_integers_is_within_three_thousandths():
    x = _draw(20, 30) * 5
    found = integer_softmax(x)
    torch.testing.assert_close(found, x.softmax(-1), rtol=3e-3, atol=0)
    torch.testing.assert_close(found.sum(-1), torch.ones(20))


def test_a_layer_norm_in_blocks_is_near_that_of_floats():
    how = BlockFormat(8, (1, 16))
    x, gamma, beta = _draw(6, 24), 1 + 0.1 * _draw(24, seed=1), _draw(24, seed=2)
    found = block_layer_norm(x, gamma, beta, how, 1e-5)
    torch.testing.assert_close(found, F.layer_norm(x, (24,), gamma, beta, 1e-5), rtol=0, atol=0.06)
    assert torch.equal(found, block_rounded(found, how))


@pytest.mark.parametrize(
    ("bits", "block", "meta", "ratio"),
    [(4, (64, 64), 8, 7.996), (4, (64, 64), 24, 7.988), (8, (64, 64), 8, 3.999), (4, (1, 64), 8, 7.758),
     (4, (16, 16), 8, 7.938)],
)
def test_the_ratios_that_the_sheet_states(bits: int, block: tuple[int, int], meta: int, ratio: float):
    assert stored_bits([(768, 3072)], bits, block, meta).ratio == pytest.approx(ratio, abs=5e-4)


def test_edge_blocks_count_as_blocks():
    found = stored_bits([(3, 5), (1, 4, 10)], 4, (2, 4))
    assert (found.elements, found.blocks, found.stored) == (55, 4 + 10, 55 * 4 + 14 * 8)
