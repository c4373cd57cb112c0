"""lif_scan: leaky integrate-and-fire neurons, which turn numbers into spikes step by step.

LMUFormer (Liu et al., ICLR 2024), section 2.2, with the hard reset and the leak of two steps that its checkpoints have.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from .checks import FLOATING, check_device, check_tensor
from .dispatch import NATIVE, as_given, attach_native, is_portable

LEAK = 0.5                                         # share of the membrane that a step forgets
SLOPE = 4.0                                        # of the sigmoid whose derivative stands for that of a spike


def lif_scan(x: Tensor, membrane: Tensor | None = None, threshold: float = 1.0) -> tuple[Tensor, Tensor]:
    """A neuron a channel: v <- v + (x - v) / 2; where v >= threshold it spikes, and v <- 0. Differentiable.

    The gradient of a spike is the derivative of sigmoid(4 (v - threshold)); that of the reset is left out.

    Args:
        x: (B, N, C), N steps, any floating dtype.
        membrane: (B, C) before the first of them; None is 0. It is left as it is.
        threshold: of the membranes.

    Returns:
        Spikes (B, N, C), each 0 or 1, and the membranes (B, C) behind the last step; float32, or float64 if x is.

    Raises:
        ValueError: a wrong shape, dtype or device.
    """
    check_tensor("x", x, ("B", "N", "C"), FLOATING)
    x = x.to(torch.promote_types(x.dtype, torch.float32))
    if membrane is None:
        membrane = x.new_zeros(x.shape[0], x.shape[2])
    check_tensor("membrane", membrane, (x.shape[0], x.shape[2]), FLOATING)
    check_device("x", x, membrane=membrane)
    scan = lif_scan_reference if is_portable() else torch.ops.perception.lif_scan
    return scan(x, membrane.to(x.dtype), threshold)


def lif_scan_reference(x: Tensor, membrane: Tensor, threshold: float) -> tuple[Tensor, Tensor]:
    """The same as a loop over the steps; x and the membranes are of one dtype. torch does not know its gradient."""
    fired = []
    membrane = membrane.clone()                    # an op gives no input back
    for row in x.unbind(1):
        membrane = membrane.add(row - membrane, alpha=LEAK)
        fired.append(membrane >= threshold)
        membrane = membrane.masked_fill(fired[-1], 0.0)
    return torch.stack(fired, dim=1).to(x.dtype) if fired else torch.zeros_like(x), membrane


def lif_scan_backward_reference(
    grad_spikes: Tensor, grad_last: Tensor, x: Tensor, membrane: Tensor, threshold: float
) -> tuple[Tensor, Tensor]:
    """Gradients of x and of the membranes before the first step."""
    reached = []
    for row in x.unbind(1):
        reached.append(membrane.add(row - membrane, alpha=LEAK))
        membrane = reached[-1].masked_fill(reached[-1] >= threshold, 0.0)
    kept, found = grad_last.clone(), []                                                    # of what a reset left
    for grad, at in zip(reversed(grad_spikes.unbind(1)), reversed(reached), strict=True):
        soft = torch.sigmoid(SLOPE * (at - threshold))
        given = grad * SLOPE * soft * (1 - soft) + kept.masked_fill(at >= threshold, 0.0)
        found.append(given * LEAK)
        kept = given * (1 - LEAK)
    return torch.stack(found[::-1], dim=1) if found else torch.zeros_like(x), kept


def _lif_scan_cpu(x: Tensor, membrane: Tensor, threshold: float) -> tuple[Tensor, Tensor]:
    if x.dtype != torch.float32:
        return lif_scan_reference(x, membrane, threshold)
    assert NATIVE is not None
    spikes, last = empty_like(x, membrane)
    NATIVE.lif_scan(*as_given(x, membrane), threshold, spikes, last, torch.get_num_threads())
    return spikes, last


def _lif_scan_backward_cpu(
    grad_spikes: Tensor, grad_last: Tensor, x: Tensor, membrane: Tensor, threshold: float
) -> tuple[Tensor, Tensor]:
    if x.dtype != torch.float32:
        return lif_scan_backward_reference(grad_spikes, grad_last, x, membrane, threshold)
    assert NATIVE is not None
    grad_x, grad_membrane = empty_like(x, membrane)
    given = as_given(grad_spikes, grad_last, x, membrane)
    NATIVE.lif_scan_backward(*given, threshold, grad_x, grad_membrane, torch.get_num_threads())
    return grad_x, grad_membrane


def empty_like(x: Tensor, membrane: Tensor) -> tuple[Tensor, Tensor]:
    """Where a kernel writes numbers of all steps, and of the membranes."""
    return x.new_empty(x.shape), membrane.new_empty(membrane.shape)


_op = torch.library.custom_op("perception::lif_scan", lif_scan_reference, mutates_args=())
_backward_op = torch.library.custom_op("perception::lif_scan_backward", lif_scan_backward_reference, mutates_args=())
attach_native("lif_scan", _lif_scan_cpu)
attach_native("lif_scan_backward", _lif_scan_backward_cpu)


@_op.register_fake
def _(x: Tensor, membrane: Tensor, threshold: float) -> tuple[Tensor, Tensor]:
    return empty_like(x, membrane)


@_backward_op.register_fake
def _(
    grad_spikes: Tensor, grad_last: Tensor, x: Tensor, membrane: Tensor, threshold: float
) -> tuple[Tensor, Tensor]:
    return empty_like(x, membrane)


def _save(ctx: Any, inputs: tuple, output: tuple[Tensor, Tensor]) -> None:
    x, membrane, ctx.threshold = inputs
    ctx.save_for_backward(x, membrane)


def _backward(ctx: Any, grad_spikes: Tensor, grad_last: Tensor) -> tuple[Tensor, Tensor, None]:
    grad_x, grad_membrane = _backward_op(grad_spikes, grad_last, *ctx.saved_tensors, ctx.threshold)
    return grad_x, grad_membrane, None


_op.register_autograd(_backward, setup_context=_save)
