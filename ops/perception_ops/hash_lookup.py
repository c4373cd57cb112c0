"""hash_lookup: the weighted sum of one row from each of several tables, in place of a matrix product.

MemoryFormer (Ding et al., NeurIPS 2024): which rows are read is told by the signs of the input, how much each counts by
its score.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from .checks import FLOATING, check_count, check_device, check_range, check_tensor
from .dispatch import NATIVE, NATIVE_FLOATING, attach_native, is_native


def hash_lookup(scores: Tensor, codes: Tensor, tables: Tensor, bias: Tensor | None = None) -> Tensor:
    """y_m = sum_j scores[m, j] * tables[j * R + codes[m, j]] + bias, differentiable in all but the codes.

    Args:
        scores: (M, K), any floating dtype.
        codes: (M, K) int64 in [0, R), row of each table.
        tables: (K * R, C) K tables of R rows each, one below the other, of the same dtype, which the result keeps.
        bias: (C,) likewise; None adds nothing.

    Returns:
        (M, C). Sums of half precision run in float32. Gradients of tables add up hits in the order of m: no race, the
        same in every run.

    Raises:
        ValueError: wrong shapes or dtypes, a code out of range, or rows that do not divide among the tables.
    """
    check_tensor("scores", scores, ("M", "K"), FLOATING)
    check_tensor("codes", codes, tuple(scores.shape), (torch.int64,))
    check_tensor("tables", tables, ("rows", "C"), (scores.dtype,))
    if scores.shape[1] == 0 or tables.shape[0] % scores.shape[1]:
        raise ValueError(f"tables must have rows that K ({scores.shape[1]}) divides, got {tables.shape[0]}")
    if bias is not None:
        check_tensor("bias", bias, (tables.shape[1],), (scores.dtype,))
    check_device("scores", scores, codes=codes, tables=tables, bias=bias)
    check_count("rows of tables", *([tables.shape[0]] if not torch.compiler.is_compiling() else []))
    if is_native("hash_lookup", scores.device):
        y = torch.ops.perception.hash_lookup(scores, codes, tables)
    else:
        y = hash_lookup_reference(scores, codes, tables)       # torch knows its gradient, and can export it
    return y if bias is None else y + bias


def hash_lookup_reference(scores: Tensor, codes: Tensor, tables: Tensor) -> Tensor:
    """The same without bias by torch's own `embedding_bag`."""
    index = row_numbers(codes, tables)
    wide = torch.promote_types(tables.dtype, torch.float32)
    if tables.dtype == wide and tables.shape[1]:               # torch's kernel trips over no columns
        return F.embedding_bag(index, tables, per_sample_weights=scores, mode="sum")
    total = scores.new_zeros(len(scores), tables.shape[1], dtype=wide)
    for rows, score in zip(index.unbind(1), scores.to(wide).unbind(1), strict=True):
        total = total + tables[rows].to(wide) * score[:, None]
    return total.to(tables.dtype)


def hash_lookup_backward_reference(
    grad: Tensor, scores: Tensor, codes: Tensor, tables: Tensor
) -> tuple[Tensor, Tensor]:
    """Gradients of scores and tables, one table after the other so that no (M, K, C) is ever made."""
    index, wide = row_numbers(codes, tables), torch.promote_types(tables.dtype, torch.float32)
    given, weights = grad.to(wide), scores.to(wide)
    grad_tables, columns = torch.zeros_like(tables, dtype=wide), []
    for rows, score in zip(index.unbind(1), weights.unbind(1), strict=True):
        columns.append((tables[rows].to(wide) * given).sum(1))                              # (M,)
        grad_tables.index_add_(0, rows, score[:, None] * given)
    return torch.stack(columns, 1).to(scores.dtype), grad_tables.to(tables.dtype)


def row_numbers(codes: Tensor, tables: Tensor) -> Tensor:
    """(M, K) rows of the stack of tables, after a look at the codes where it costs no wait."""
    K = codes.shape[1]
    each = tables.shape[0] // K
    if codes.device.type == "cpu" and not torch.compiler.is_compiling():
        check_range("codes", codes, each)
    return codes + torch.arange(K, device=codes.device) * each


def _hash_lookup_cpu(scores: Tensor, codes: Tensor, tables: Tensor) -> Tensor:
    if tables.dtype not in NATIVE_FLOATING:
        return hash_lookup_reference(scores, codes, tables)
    assert NATIVE is not None
    out = tables.new_empty(len(scores), tables.shape[1])
    codes = codes.contiguous()
    done = NATIVE.hash_lookup(
        scores.detach().contiguous(), codes, tables.detach().contiguous(), out, torch.get_num_threads()
    )
    if not done:
        check_range("codes", codes, tables.shape[0] // codes.shape[1])     # says what is wrong
    return out


def _hash_lookup_backward_cpu(grad: Tensor, scores: Tensor, codes: Tensor, tables: Tensor) -> tuple[Tensor, Tensor]:
    if tables.dtype not in NATIVE_FLOATING:
        return hash_lookup_backward_reference(grad, scores, codes, tables)
    assert NATIVE is not None
    grad_scores, grad_tables = (torch.empty_like(x, memory_format=torch.contiguous_format) for x in (scores, tables))
    NATIVE.hash_lookup_backward(
        grad.detach().contiguous(), scores.detach().contiguous(), codes.contiguous(), tables.detach().contiguous(),
        grad_scores, grad_tables, torch.get_num_threads(),
    )
    return grad_scores, grad_tables


_op = torch.library.custom_op("perception::hash_lookup", hash_lookup_reference, mutates_args=())
_backward_op = torch.library.custom_op(
    "perception::hash_lookup_backward", hash_lookup_backward_reference, mutates_args=()
)
attach_native("hash_lookup", _hash_lookup_cpu)
attach_native("hash_lookup_backward", _hash_lookup_backward_cpu)


@_op.register_fake
def _(scores: Tensor, codes: Tensor, tables: Tensor) -> Tensor:
    return tables.new_empty(scores.shape[0], tables.shape[1])


@_backward_op.register_fake
def _(grad: Tensor, scores: Tensor, codes: Tensor, tables: Tensor) -> tuple[Tensor, Tensor]:
    return scores.new_empty(scores.shape), tables.new_empty(tables.shape)


def _save(ctx: Any, inputs: tuple, output: Tensor) -> None:
    ctx.save_for_backward(*inputs)


def _backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, Tensor]:
    grad_scores, grad_tables = _backward_op(grad, *ctx.saved_tensors)
    return grad_scores, None, grad_tables


_op.register_autograd(_backward, setup_context=_save)
