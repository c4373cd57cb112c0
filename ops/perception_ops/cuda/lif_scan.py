"""lif_scan and its gradient on a GPU."""

from __future__ import annotations

from types import ModuleType

import torch
from torch import Tensor

from ..dispatch import as_given, attach_cuda
from ..lif_scan import empty_like, lif_scan_backward_reference, lif_scan_reference


def lif_scan(kernels: ModuleType, stream: int, x: Tensor, membrane: Tensor, threshold: float) -> tuple[Tensor, Tensor]:
    """`lif_scan_reference` with a thread for each neuron."""
    if x.dtype != torch.float32:
        return lif_scan_reference(x, membrane, threshold)
    spikes, last = empty_like(x, membrane)
    kernels.lif_scan(*as_given(x, membrane), threshold, spikes, last, stream)
    return spikes, last


def lif_scan_backward(
    kernels: ModuleType, stream: int, grad_spikes: Tensor, grad_last: Tensor, x: Tensor, membrane: Tensor,
    threshold: float,
) -> tuple[Tensor, Tensor]:
    """`lif_scan_backward_reference`, likewise."""
    if x.dtype != torch.float32:
        return lif_scan_backward_reference(grad_spikes, grad_last, x, membrane, threshold)
    grad_x, grad_membrane = empty_like(x, membrane)
    kernels.lif_scan_backward(
        *as_given(grad_spikes, grad_last, x, membrane), threshold, grad_x, grad_membrane, stream
    )
    return grad_x, grad_membrane


attach_cuda("lif_scan", lif_scan)
attach_cuda("lif_scan_backward", lif_scan_backward)
