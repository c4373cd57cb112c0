"""The core of `selective_scan`: the recurrence h <- exp(dt A) h + dt B u of every state, read out as y = sum of C h.

Step sizes dt are delta, plus a bias and through a softplus if asked.
Everything is float32 in the kernels, and of one floating dtype in the references.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from .dispatch import NATIVE, as_given, attach_native

Gradients = tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]
PIECE = 64                                         # steps that are scanned together, then pieces among each other
SEGMENT = 64 * PIECE                               # tokens at a time: bounds the memory of the reference


def state_scan_reference(
    u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, initial: Tensor, bias: Tensor | None = None,
    softplus: bool = False,
) -> tuple[Tensor, Tensor]:
    """The recurrence by associative scans of logarithmic depth; no division, so decays may underflow.

    Args:
        u, delta: (b, D, L) inputs and what step sizes are made of.
        A: (D, N) rates.
        B, C: (b, G, N, L) input and output factors; channel d reads group d // (D / G).
        initial: (b, D, N) state before the first step.
        bias: (D,) added to ``delta``; None is 0.
        softplus: step sizes are softplus(delta + bias).

    Returns:
        y (b, D, L), and the state behind the last step (b, D, N).
    """
    parts, state, dt = [], initial, _step_sizes(delta, bias, softplus)
    for start in range(0, u.shape[2], SEGMENT):
        to = slice(start, start + SEGMENT)
        decay, driven = _steps(u[:, :, to], dt[:, :, to], A, B[..., to])
        states = _scan(decay, driven, state)                                               # (b, D, N, l)
        parts.append((states * _by_channel(C[..., to], u.shape[1])).sum(2))
        state = states[..., -1]
    return (torch.cat(parts, 2) if parts else torch.zeros_like(u)), state.clone()


def state_scan_backward_reference(
    grad_y: Tensor, grad_last: Tensor, u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, initial: Tensor,
    bias: Tensor | None = None, softplus: bool = False,
) -> Gradients:
    """Gradients of u, delta, A, B, C and initial: the same scan from the end, of what each state sends on."""
    (b, D, _), (G, N, L), dt = u.shape, B.shape[1:], _step_sizes(delta, bias, softplus)
    decay, driven = _steps(u, dt, A, B)
    states = _scan(decay, driven, initial)
    before = torch.cat([initial[..., None], states], 3)[..., :-1]
    read = grad_y[:, :, None] * _by_channel(C, D)
    sent = _scan(decay.flip(3), (decay * read).flip(3), grad_last).flip(3)                 # to the state before
    behind = read + torch.cat([sent, grad_last[..., None]], 3)[..., 1:]                    # of the state behind
    exponent, input_factor = behind * before * decay, _by_channel(B, D)
    grad_u = (behind * input_factor).sum(2) * dt
    grad_dt = (exponent * A[:, :, None]).sum(2) + (behind * input_factor).sum(2) * u
    grad_a = (exponent * dt[:, :, None]).sum((0, 3))
    grad_b = (behind * (dt * u)[:, :, None]).view(b, G, D // G, N, L).sum(2)
    grad_c = (states * grad_y[:, :, None]).view(b, G, D // G, N, L).sum(2)
    if softplus:
        grad_dt = grad_dt * torch.sigmoid(_step_sizes(delta, bias, False))
    return grad_u, grad_dt, grad_a, grad_b, grad_c, (sent[..., 0] if L else grad_last).clone()


def _step_sizes(delta: Tensor, bias: Tensor | None, softplus: bool) -> Tensor:
    dt = delta if bias is None else delta + bias[:, None]
    return F.softplus(dt) if softplus else dt


def _by_channel(table: Tensor, channels: int) -> Tensor:
    """(b, G, N, L) -> (b, D, N, L)."""
    groups = table.shape[1]
    wide = table[:, :, None].expand(-1, -1, channels // groups, -1, -1)
    return wide.reshape(table.shape[0], channels, *table.shape[2:])


def _steps(u: Tensor, dt: Tensor, A: Tensor, B: Tensor) -> tuple[Tensor, Tensor]:
    """The factor and the addend of each step, (b, D, N, L) each."""
    return torch.exp(dt[:, :, None] * A[:, :, None]), (dt * u)[:, :, None] * _by_channel(B, u.shape[1])


def _scan(decay: Tensor, driven: Tensor, initial: Tensor) -> Tensor:
    """States behind all steps, (..., L), from the one before, (...)."""
    L = decay.shape[-1]
    if L <= PIECE:
        decay, driven = _prefixes(decay, driven)
        return driven + decay * initial[..., None]
    filled = -L % PIECE
    decay = F.pad(decay, (0, filled), value=1.0).unflatten(-1, (-1, PIECE))                # (..., K, T)
    driven = F.pad(driven, (0, filled)).unflatten(-1, (-1, PIECE))
    decay, driven = _prefixes(decay, driven)
    ends = _scan(decay[..., -1], driven[..., -1], initial)                                 # (..., K)
    begins = torch.cat([initial[..., None], ends[..., :-1]], -1)
    return (driven + decay * begins[..., None]).flatten(-2)[..., :L]


def _prefixes(decay: Tensor, driven: Tensor) -> tuple[Tensor, Tensor]:
    """Each step joined with all before it: maps h -> decay * h + driven from the first on."""
    reach = 1
    while reach < decay.shape[-1]:
        earlier = F.pad(driven[..., :-reach], (reach, 0))
        driven = driven + decay * earlier
        decay = decay * F.pad(decay[..., :-reach], (reach, 0), value=1.0)
        reach *= 2
    return decay, driven


def _state_scan_cpu(
    u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, initial: Tensor, bias: Tensor | None = None,
    softplus: bool = False,
) -> tuple[Tensor, Tensor]:
    if u.dtype != torch.float32:
        return state_scan_reference(u, delta, A, B, C, initial, bias, softplus)
    assert NATIVE is not None
    y, last = (torch.empty_like(x, memory_format=torch.contiguous_format) for x in (u, initial))
    given = as_given(u, delta, A, B, C, initial, bias)
    NATIVE.selective_scan(*given, softplus, y, last, torch.get_num_threads())
    return y, last


def _state_scan_backward_cpu(
    grad_y: Tensor, grad_last: Tensor, u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, initial: Tensor,
    bias: Tensor | None = None, softplus: bool = False,
) -> Gradients:
    if u.dtype != torch.float32:
        return state_scan_backward_reference(grad_y, grad_last, u, delta, A, B, C, initial, bias, softplus)
    assert NATIVE is not None
    given, out = as_given(grad_y, grad_last, u, delta, A, B, C, initial, bias), empty_gradients(u, B)
    NATIVE.selective_scan_backward(*given, softplus, *out, torch.get_num_threads())
    return summed_gradients(out)


def empty_gradients(u: Tensor, B: Tensor) -> list[Tensor]:
    """Where a kernel writes the gradients of u, delta, A of each sample, B, C and initial."""
    b, D, L = u.shape
    states = (b, D, B.shape[2])
    return [u.new_empty(shape) for shape in ((b, D, L), (b, D, L), states, B.shape, B.shape, states)]


def summed_gradients(out: list[Tensor]) -> Gradients:
    """What was written, that of A summed over samples."""
    grad_u, grad_delta, grad_a, grad_b, grad_c, grad_initial = out
    return grad_u, grad_delta, grad_a.sum(0), grad_b, grad_c, grad_initial


_op = torch.library.custom_op("perception::selective_scan", state_scan_reference, mutates_args=())
_backward_op = torch.library.custom_op(
    "perception::selective_scan_backward", state_scan_backward_reference, mutates_args=()
)
attach_native("selective_scan", _state_scan_cpu)
attach_native("selective_scan_backward", _state_scan_backward_cpu)


@_op.register_fake
def _(
    u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, initial: Tensor, bias: Tensor | None = None,
    softplus: bool = False,
) -> tuple[Tensor, Tensor]:
    return u.new_empty(u.shape), initial.new_empty(initial.shape)


@_backward_op.register_fake
def _(
    grad_y: Tensor, grad_last: Tensor, u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, initial: Tensor,
    bias: Tensor | None = None, softplus: bool = False,
) -> Gradients:
    shapes = (u.shape, u.shape, A.shape, B.shape, C.shape, initial.shape)
    first, second, third, fourth, fifth, sixth = (u.new_empty(shape) for shape in shapes)
    return first, second, third, fourth, fifth, sixth


def _save(ctx: Any, inputs: tuple, output: tuple[Tensor, Tensor]) -> None:
    *tensors, ctx.softplus = inputs
    ctx.save_for_backward(*tensors)


def _backward(ctx: Any, grad_y: Tensor, grad_last: Tensor) -> tuple[Tensor | None, ...]:
    *tensors, bias = ctx.saved_tensors
    grads = _backward_op(grad_y, grad_last, *tensors, bias, ctx.softplus)
    return *grads, None if bias is None else grads[1].sum((0, 2)), None


_op.register_autograd(_backward, setup_context=_save)
