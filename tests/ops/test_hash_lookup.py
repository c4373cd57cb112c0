"""Weighted table reads: by hand, against loops in float64, gradients, and what is refused."""

from __future__ import annotations

import pytest
import torch
from decode_inputs import CLOSE, lookup_inputs, plain_lookup
from torch.autograd import gradcheck

from perception_ops import hash_lookup
from perception_ops.hash_lookup import hash_lookup_backward_reference, hash_lookup_reference

close = torch.testing.assert_close
SIZES = [(0, 3, 4, 5), (1, 1, 1, 1), (7, 3, 8, 33), (130, 2, 16, 64), (9, 20, 2, 200)]


def test_two_tables_by_hand():
    tables = torch.tensor([[1.0, 10.0], [2.0, 20.0], [3.0, 30.0], [4.0, 40.0]])
    y = hash_lookup(torch.tensor([[1.0, 0.5]]), torch.tensor([[1, 0]]), tables, torch.tensor([100.0, 0.0]))
    close(y, torch.tensor([[103.5, 35.0]]))                    # row 1 of the first, half of row 0 of the second


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16, torch.float64], ids=str)
@pytest.mark.parametrize("size", SIZES)
def test_it_is_the_sum_of_the_rows(size, dtype, num_threads):
    scores, codes, tables = lookup_inputs(*size, dtype=dtype)
    expected = plain_lookup(scores, codes, tables)
    for threads in (1, 3):
        with num_threads(threads):
            for y in (hash_lookup(scores, codes, tables), hash_lookup_reference(scores, codes, tables)):
                assert y.dtype == dtype
                close(y.double(), expected, atol=10 * CLOSE[dtype], rtol=10 * CLOSE[dtype])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("size", SIZES)
def test_gradients_equal_their_reference_on_any_number_of_threads(size, dtype, num_threads):
    scores, codes, tables = lookup_inputs(*size, dtype=dtype)
    grad = torch.randn(size[0], size[3], generator=torch.Generator().manual_seed(3)).to(dtype)
    expected = hash_lookup_backward_reference(grad, scores, codes, tables)
    found = []
    for threads in (1, 3):
        with num_threads(threads):
            found.append(torch.ops.perception.hash_lookup_backward(grad, scores, codes, tables))
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))
    for ours, wanted in zip(found[0], expected, strict=True):
        close(ours, wanted, atol=20 * CLOSE[dtype], rtol=20 * CLOSE[dtype])


def test_gradients_are_those_of_finite_differences():
    scores, codes, tables = lookup_inputs(6, 2, 4, 3, dtype=torch.float64)
    given = [x.requires_grad_() for x in (scores, tables, torch.ones(3, dtype=torch.float64))]
    assert gradcheck(lambda s, t, b: hash_lookup(s, codes, t, b), given)


def test_gradients_of_float32_go_through_the_kernel():
    scores, codes, tables = lookup_inputs(6, 2, 4, 3)
    scores, tables, bias = (x.requires_grad_() for x in (scores, tables, torch.ones(3)))
    y = hash_lookup(scores, codes, tables, bias)
    grads = torch.autograd.grad(y.square().sum() / 2, (scores, tables, bias))
    close(grads[:2], hash_lookup_backward_reference(y.detach(), scores.detach(), codes, tables.detach()))
    close(grads[2], y.detach().sum(0))


def test_it_passes_torchs_own_checks_of_an_op():
    scores, codes, tables = lookup_inputs(5, 3, 4, 6)
    torch.library.opcheck(torch.ops.perception.hash_lookup, (scores.requires_grad_(), codes, tables.requires_grad_()))


@pytest.mark.parametrize(("change", "message"), [
    ({"scores": torch.ones(2)}, r"scores must be floating \(M, K\), got torch.float32 \(2,\)"),
    ({"codes": torch.zeros(2, 3).int()}, r"codes must be torch.int64 \(2, 3\), got torch.int32"),
    ({"codes": torch.full((2, 3), 4)}, r"codes must lie in \[0, 4\), got 4"),
    ({"codes": torch.full((2, 3), -1)}, r"codes must lie in \[0, 4\), got -1"),
    ({"tables": torch.ones(12, 5).double()}, r"tables must be torch.float32 \(rows, C\)"),
    ({"tables": torch.ones(11, 5)}, r"tables must have rows that K \(3\) divides, got 11"),
    ({"bias": torch.ones(4)}, r"bias must be torch.float32 \(5,\), got torch.float32 \(4,\)"),
])
def test_what_cannot_be_is_refused(change, message):
    given = {"scores": torch.ones(2, 3), "codes": torch.zeros(2, 3).long(), "tables": torch.ones(12, 5)} | change
    with pytest.raises(ValueError, match=message):
        hash_lookup(**given)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_tables_without_columns_give_tokens_without_columns(dtype: torch.dtype):
    scores, codes, tables = torch.ones(50, 3, dtype=dtype), torch.zeros(50, 3, dtype=torch.int64), torch.ones(12, 0)
    for look_up in (hash_lookup, hash_lookup_reference):
        assert look_up(scores, codes, tables.to(dtype)).shape == (50, 0)
