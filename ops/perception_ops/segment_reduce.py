"""segment_reduce: channel-wise max, mean or sum of the rows that share a segment; an empty segment gives 0."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from .checks import FLOATING, check_count, check_device, check_tensor
from .dispatch import is_portable
from .segment_max import segment_max_portable
from .segment_sum import segment_sum_reference

_REDUCTIONS = ("max", "mean", "sum")


def segment_reduce(
    features: Tensor, index: Tensor, num_segments: int, reduce: Literal["max", "mean", "sum"] = "max"
) -> Tensor:
    """Reduce each segment: (N, C) floating -> (num_segments, C), differentiable in ``features``.

    Args:
        features: (N, C), any floating dtype, which the result keeps; sums of half precision run in float32.
        index: (N,) int64 in [0, num_segments), in any order.
        num_segments: number of segments M, >= 0.
        reduce: how rows of a segment combine. "max" sends the gradient to the lowest row among equals; a NaN beats
            every number.

    Raises:
        ValueError: wrong shapes or dtypes, an index out of range, an unknown reduction, rows or segments beyond int32.
    """
    check_tensor("features", features, ("N", "C"), FLOATING)
    check_tensor("index", index, (features.shape[0],), (torch.int64,))
    check_device("features", features, index=index)
    if reduce not in _REDUCTIONS:
        raise ValueError(f"reduce must be one of {', '.join(_REDUCTIONS)}, got {reduce!r}")
    if num_segments < 0:
        raise ValueError(f"num_segments must be >= 0, got {num_segments}")
    if not torch.compiler.is_compiling():              # there the number may be known at run time only
        check_count("num_segments", num_segments)
    if reduce == "max":
        if is_portable():
            return segment_max_portable(features, index, num_segments)
        needs_grad = torch.is_grad_enabled() and features.requires_grad
        return torch.ops.perception.segment_max(features, index, num_segments, needs_grad)[0]
    segment_sum = segment_sum_reference if is_portable() else torch.ops.perception.segment_sum
    return segment_sum(features, index, num_segments, reduce == "mean")
