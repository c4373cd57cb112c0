"""segment_max and segment_sum on a GPU."""

from __future__ import annotations

from types import ModuleType

import torch
from torch import Tensor

from ..dispatch import CUDA_FLOATING, attach_cuda, workspace
from ..segment_max import check_rows, segment_max_backward_reference, segment_max_reference
from ..segment_sum import segment_sum_reference


def segment_max(
    kernels: ModuleType, stream: int, features: Tensor, index: Tensor, num_segments: int, with_argmax: bool = True
) -> tuple[Tensor, Tensor]:
    """`segment_max_reference` by sorting the rows once."""
    if not _is_taken(features, num_segments):
        return segment_max_reference(features, index, num_segments, with_argmax)
    check_rows(index, num_segments)
    out = features.new_empty(num_segments, features.shape[1])
    argmax = index.new_empty(num_segments if with_argmax else 0, features.shape[1], dtype=torch.int32)
    space = workspace(kernels.segment_workspace(index.shape[0], num_segments), index.device)
    rows, wanted = features.detach().contiguous(), argmax if with_argmax else None
    kernels.segment_max(rows, index.contiguous(), out, wanted, space, stream)
    return out, argmax


def segment_max_backward(kernels: ModuleType, stream: int, grad: Tensor, argmax: Tensor, index: Tensor) -> Tensor:
    """`segment_max_backward_reference`, each number written once."""
    if grad.dtype not in CUDA_FLOATING:
        return segment_max_backward_reference(grad, argmax, index)
    out = grad.new_empty(index.shape[0], grad.shape[1])
    kernels.segment_max_backward(grad.detach().contiguous(), argmax.contiguous(), index.contiguous(), out, stream)
    return out


def segment_sum(
    kernels: ModuleType, stream: int, features: Tensor, index: Tensor, num_segments: int, is_mean: bool
) -> Tensor:
    """`segment_sum_reference` without atomic additions, so the same in every run."""
    if not _is_taken(features, num_segments):
        return segment_sum_reference(features, index, num_segments, is_mean)
    check_rows(index, num_segments)
    out = features.new_empty(num_segments, features.shape[1])
    space = workspace(kernels.segment_workspace(index.shape[0], num_segments), index.device)
    kernels.segment_sum(features.detach().contiguous(), index.contiguous(), is_mean, out, space, stream)
    return out


def _is_taken(features: Tensor, num_segments: int) -> bool:
    return features.dtype in CUDA_FLOATING and num_segments < 2**32        # which the sort's keys number


attach_cuda("segment_max", segment_max)
attach_cuda("segment_max_backward", segment_max_backward)
attach_cuda("segment_sum", segment_sum)
