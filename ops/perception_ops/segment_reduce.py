"""segment_reduce: channel-wise max, mean or sum of the rows that share a segment; an empty segment gives 0."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor

from .checks import FLOATING, check_range, check_tensor

_REDUCTIONS = ("max", "mean", "sum")


def segment_reduce(
    features: Tensor, index: Tensor, num_segments: int, reduce: Literal["max", "mean", "sum"] = "max"
) -> Tensor:
    """Reduce each segment: (N, C) floating -> (num_segments, C), differentiable in ``features``.

    Args:
        features: (N, C), any floating dtype, which the result keeps.
        index: (N,) int64 in [0, num_segments), in any order.
        num_segments: number of segments M, >= 0.
        reduce: how rows of a segment combine. "max" sends the gradient to the lowest row among equals.

    Raises:
        ValueError: wrong shapes or dtypes, an index out of range, an unknown reduction.
    """
    check_tensor("features", features, ("N", "C"), FLOATING)
    check_tensor("index", index, (features.shape[0],), (torch.int64,))
    if reduce not in _REDUCTIONS:
        raise ValueError(f"reduce must be one of {', '.join(_REDUCTIONS)}, got {reduce!r}")
    if num_segments < 0:
        raise ValueError(f"num_segments must be >= 0, got {num_segments}")
    return torch.ops.perception.segment_reduce(features, index, num_segments, reduce)


def segment_reduce_reference(features: Tensor, index: Tensor, num_segments: int, reduce: str) -> Tensor:
    """The same in tensor algebra."""
    if index.device.type == "cpu":                 # elsewhere the scatter's own assertion speaks, without a stall here
        check_range("index", index, num_segments)
    out = features.new_zeros(num_segments, features.shape[1])                              # (M, C)
    if reduce == "max":
        rows = index[:, None].expand_as(features)                                          # (N, C)
        return out.scatter_reduce_(0, rows, features, "amax", include_self=False)
    total = out.index_add_(0, index, features)
    return total if reduce == "sum" else total / _sizes(index, num_segments)[:, None].to(total.dtype)


def _sizes(index: Tensor, num_segments: int) -> Tensor:
    """(M,) int64, rows of each segment, at least 1."""
    return torch.bincount(index, minlength=num_segments).clamp(min=1)


def segment_argmax_reference(features: Tensor, index: Tensor, top: Tensor) -> Tensor:
    """(M, C) int64, the lowest row that holds each segment's maximum ``top``; N where there is none."""
    N = len(features)
    exact = torch.float32 if N < 1 << 24 else torch.float64                # floats scatter far faster than integers
    numbers = torch.arange(N, dtype=exact, device=index.device)
    hits = torch.where(features == top.index_select(0, index), numbers[:, None], N)        # (N, C)
    lowest = numbers.new_full(top.shape, N)
    return lowest.scatter_reduce_(0, index[:, None].expand_as(hits), hits, "amin").long()


_op = torch.library.custom_op("perception::segment_reduce", segment_reduce_reference, mutates_args=())
_argmax = torch.library.custom_op("perception::segment_argmax", segment_argmax_reference, mutates_args=())


@_op.register_fake
def _(features: Tensor, index: Tensor, num_segments: int, reduce: str) -> Tensor:
    return features.new_empty(num_segments, features.shape[1])


@_argmax.register_fake
def _(features: Tensor, index: Tensor, top: Tensor) -> Tensor:
    return index.new_empty(top.shape)


def _save(ctx: Any, inputs: tuple, output: Tensor) -> None:
    features, index, ctx.num_segments, ctx.reduce = inputs
    ctx.save_for_backward(index, *((features, output) if ctx.reduce == "max" else ()))


def _backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None]:
    index, *maximum = ctx.saved_tensors
    if ctx.reduce == "max":
        features, top = maximum
        canvas = grad.new_zeros(features.shape[0] + 1, grad.shape[1])              # row N catches empty segments
        return canvas.scatter_add_(0, _argmax(features, index, top), grad)[:-1], None, None, None
    if ctx.reduce == "mean":
        grad = grad / _sizes(index, ctx.num_segments)[:, None].to(grad.dtype)
    return grad.index_select(0, index), None, None, None


_op.register_autograd(_backward, setup_context=_save)
