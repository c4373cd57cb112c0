"""segment_sum: channel-wise sum or mean of the rows that share a segment."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from .checks import check_count, check_range
from .dispatch import NATIVE, NATIVE_FLOATING, attach_native


def segment_sum_reference(features: Tensor, index: Tensor, num_segments: int, is_mean: bool) -> Tensor:
    """Sum of each segment in tensor algebra, added up in float32 at least.

    Args:
        features: (N, C), any floating dtype, which the result keeps.
        index: (N,) int64 in [0, num_segments).
        num_segments: number of segments M.
        is_mean: divide by the rows of the segment.

    Returns:
        (M, C), 0 in an empty segment.
    """
    check_count("rows of features", index.shape[0])
    if index.device.type == "cpu":                 # elsewhere the scatter's own assertion speaks, without a stall here
        check_range("index", index, num_segments)
    wide = features.to(torch.promote_types(features.dtype, torch.float32))
    total = wide.new_zeros(num_segments, features.shape[1]).index_add_(0, index, wide)     # (M, C)
    return (_per_row(total, index) if is_mean else total).to(features.dtype)


def _per_row(total: Tensor, index: Tensor) -> Tensor:
    """(M, C) divided by the rows of each segment; the quotient of half precision is taken in float32."""
    ones = torch.ones_like(index)                  # bincount would wait for a device
    sizes = index.new_zeros(total.shape[0]).scatter_add_(0, index, ones).clamp(min=1)      # (M,)
    wide = torch.promote_types(total.dtype, torch.float32)
    return (total / sizes[:, None].to(wide)).to(total.dtype)


def _segment_sum_cpu(features: Tensor, index: Tensor, num_segments: int, is_mean: bool) -> Tensor:
    if features.dtype not in NATIVE_FLOATING:
        return segment_sum_reference(features, index, num_segments, is_mean)
    assert NATIVE is not None
    check_count("rows of features", index.shape[0])
    index, counts = index.contiguous(), index.new_empty(num_segments, dtype=torch.int32)
    if not NATIVE.count_rows(index, counts):
        check_range("index", index, num_segments)                          # says what is wrong
    out = features.new_empty(num_segments, features.shape[1])
    rows = features.detach().contiguous()
    NATIVE.segment_sum(rows, index, counts, is_mean, out, torch.get_num_threads())
    return out


_op = torch.library.custom_op("perception::segment_sum", segment_sum_reference, mutates_args=())
attach_native(_op, "segment_sum", _segment_sum_cpu)


@_op.register_fake
def _(features: Tensor, index: Tensor, num_segments: int, is_mean: bool) -> Tensor:
    return features.new_empty(num_segments, features.shape[1])


def _save(ctx: Any, inputs: tuple, output: Tensor) -> None:
    _, index, _, ctx.is_mean = inputs
    ctx.save_for_backward(index)


def _backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None]:
    (index,) = ctx.saved_tensors
    return (_per_row(grad, index) if ctx.is_mean else grad).index_select(0, index), None, None, None


_op.register_autograd(_backward, setup_context=_save)
