"""segment_max: channel-wise maximum of the rows that share a segment, and which row it came from."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from .checks import check_count, check_range
from .dispatch import NATIVE, NATIVE_FLOATING, attach_native


def segment_max_reference(
    features: Tensor, index: Tensor, num_segments: int, with_argmax: bool = True
) -> tuple[Tensor, Tensor]:
    """Maximum of each segment in tensor algebra.

    Args:
        features: (N, C), any floating dtype; NaN beats every number.
        index: (N,) int64 in [0, num_segments).
        num_segments: number of segments M.
        with_argmax: whether the rows are asked for, as a gradient will.

    Returns:
        The maxima (M, C), 0 in an empty segment, and argmax (M, C) int32, the lowest row that holds the maximum, N in
        an empty segment; (0, C) if not asked for.
    """
    check_rows(index, num_segments)
    N, C = features.shape
    rows = index[:, None].expand_as(features)                                              # (N, C)
    top = features.new_zeros(num_segments, C).scatter_reduce_(0, rows, features, "amax", include_self=False)
    if not with_argmax:
        return top, index.new_empty(0, C, dtype=torch.int32)
    exact = torch.float32 if N < 1 << 24 else torch.float64                # floats scatter far faster than integers
    numbers = torch.arange(N, dtype=exact, device=index.device)
    is_top = (features == top.index_select(0, index)) | features.isnan()
    hits = torch.where(is_top, numbers[:, None], N)                                        # (N, C)
    argmax = numbers.new_full(top.shape, N).scatter_reduce_(0, rows, hits, "amin")
    return top, argmax.int()


def segment_max_portable(features: Tensor, index: Tensor, num_segments: int) -> Tensor:
    """The maxima alone, (M, C), in one scatter where the reference's takes ONNX two; a maximum of -inf becomes 0."""
    rows = index[:, None].expand_as(features)                                              # (N, C)
    lowest = features.new_full((num_segments, features.shape[1]), -torch.inf)
    top = lowest.scatter_reduce(0, rows, features, "amax")
    return top.masked_fill(top == -torch.inf, 0.0)


def segment_max_backward_reference(grad: Tensor, argmax: Tensor, index: Tensor) -> Tensor:
    """Send the gradient (M, C) of each maximum to the row it came from: -> (N, C), 0 elsewhere."""
    canvas = grad.new_zeros(index.shape[0] + 1, grad.shape[1])             # row N catches empty segments
    return canvas.scatter_(0, argmax.long(), grad)[:-1].clone()


def check_rows(index: Tensor, num_segments: int) -> None:
    """Refuse what no kernel takes; reads the values, so it belongs inside an op."""
    check_count("rows of features", index.shape[0])
    if index.device.type == "cpu":                 # elsewhere the scatter's own assertion speaks, without a stall here
        check_range("index", index, num_segments)


def _segment_max_cpu(
    features: Tensor, index: Tensor, num_segments: int, with_argmax: bool = True
) -> tuple[Tensor, Tensor]:
    if features.dtype not in NATIVE_FLOATING:
        return segment_max_reference(features, index, num_segments, with_argmax)
    assert NATIVE is not None
    check_count("rows of features", index.shape[0])
    index, counts = index.contiguous(), index.new_empty(num_segments, dtype=torch.int32)
    if not NATIVE.count_rows(index, counts):
        check_rows(index, num_segments)                                   # says what is wrong
    out = features.new_empty(num_segments, features.shape[1])
    argmax = index.new_empty(num_segments if with_argmax else 0, features.shape[1], dtype=torch.int32)
    rows = features.detach().contiguous()
    NATIVE.segment_max(rows, index, counts, out, argmax if with_argmax else None, torch.get_num_threads())
    return out, argmax


def _segment_max_backward_cpu(grad: Tensor, argmax: Tensor, index: Tensor) -> Tensor:
    if grad.dtype not in NATIVE_FLOATING:
        return segment_max_backward_reference(grad, argmax, index)
    assert NATIVE is not None
    out = grad.new_empty(index.shape[0], grad.shape[1])
    threads = torch.get_num_threads()
    NATIVE.segment_max_backward(grad.detach().contiguous(), argmax.contiguous(), index.contiguous(), out, threads)
    return out


_op = torch.library.custom_op("perception::segment_max", segment_max_reference, mutates_args=())
_backward_op = torch.library.custom_op(
    "perception::segment_max_backward", segment_max_backward_reference, mutates_args=()
)
attach_native("segment_max", _segment_max_cpu)
attach_native("segment_max_backward", _segment_max_backward_cpu)


@_op.register_fake
def _(features: Tensor, index: Tensor, num_segments: int, with_argmax: bool = True) -> tuple[Tensor, Tensor]:
    out = features.new_empty(num_segments, features.shape[1])
    return out, index.new_empty(num_segments if with_argmax else 0, features.shape[1], dtype=torch.int32)


@_backward_op.register_fake
def _(grad: Tensor, argmax: Tensor, index: Tensor) -> Tensor:
    return grad.new_empty(index.shape[0], grad.shape[1])


def _save(ctx: Any, inputs: tuple, output: tuple[Tensor, Tensor]) -> None:
    ctx.mark_non_differentiable(output[1])
    ctx.save_for_backward(output[1], inputs[1])


def _backward(ctx: Any, grad: Tensor, _: Tensor) -> tuple[Tensor, None, None, None]:
    argmax, index = ctx.saved_tensors
    if argmax.shape[0] != grad.shape[0]:
        raise RuntimeError("segment_max has no gradient without its argmax: call it with with_argmax=True")
    return _backward_op(grad, argmax, index), None, None, None


def _save_argmax(ctx: Any, inputs: tuple, output: Tensor) -> None:
    ctx.save_for_backward(inputs[1])


def _gather(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
    (argmax,) = ctx.saved_tensors
    with_empty = torch.cat([grad, grad.new_zeros(1, grad.shape[1])])                       # (N + 1, C)
    return with_empty.gather(0, argmax.long()), None, None


_op.register_autograd(_backward, setup_context=_save)
_backward_op.register_autograd(_gather, setup_context=_save_argmax)
