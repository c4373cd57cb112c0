"""The recurrence of selective_scan and its gradient on a GPU."""

from __future__ import annotations

from types import ModuleType

import torch
from torch import Tensor

from ..dispatch import as_given, attach_cuda, workspace
from ..state_scan import (
    Gradients,
    empty_gradients,
    state_scan_backward_reference,
    state_scan_reference,
    summed_gradients,
)


def selective_scan(
    kernels: ModuleType, stream: int, u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, initial: Tensor,
    bias: Tensor | None = None, softplus: bool = False,
) -> tuple[Tensor, Tensor]:
    """`state_scan_reference` with a block of threads for each channel of a sample."""
    if u.dtype != torch.float32:
        return state_scan_reference(u, delta, A, B, C, initial, bias, softplus)
    y, last = (torch.empty_like(x, memory_format=torch.contiguous_format) for x in (u, initial))
    kernels.selective_scan(*as_given(u, delta, A, B, C, initial, bias), softplus, y, last, stream)
    return y, last


def selective_scan_backward(
    kernels: ModuleType, stream: int, grad_y: Tensor, grad_last: Tensor, u: Tensor, delta: Tensor, A: Tensor, B: Tensor,
    C: Tensor, initial: Tensor, bias: Tensor | None = None, softplus: bool = False,
) -> Gradients:
    """`state_scan_backward_reference` without atomic additions, so the same in every run."""
    if u.dtype != torch.float32:
        return state_scan_backward_reference(grad_y, grad_last, u, delta, A, B, C, initial, bias, softplus)
    given, out = as_given(grad_y, grad_last, u, delta, A, B, C, initial, bias), empty_gradients(u, B)
    size = kernels.selective_scan_backward_workspace(*u.shape[:2], *B.shape[1:])
    kernels.selective_scan_backward(*given, softplus, *out, workspace(size, u.device), stream)
    return summed_gradients(out)


attach_cuda("selective_scan", selective_scan)
attach_cuda("selective_scan_backward", selective_scan_backward)
