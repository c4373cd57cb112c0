"""selective_scan: a linear recurrence whose rates, inputs and outputs depend on the input (S6).

"Mamba: Linear-Time Sequence Modeling with Selective State Spaces" (Gu & Dao, 2023), section 3. The decay is the
zero-order hold exp(dt A), the input's factor the Euler step dt B, as released weights expect. All in float32 at least.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from .checks import FLOATING, check_count, check_device, check_tensor
from .dispatch import is_native
from .state_scan import state_scan_reference

Core = Callable[
    [Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor | None, bool], tuple[Tensor, Tensor]
]


def selective_scan(
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None = None,
    z: Tensor | None = None,
    delta_bias: Tensor | None = None,
    delta_softplus: bool = False,
    initial_state: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """h_t = exp(dt_t A) h_(t-1) + dt_t B_t u_t and y_t = C_t h_t + D u_t, gated by SiLU(z_t); differentiable.

    Args:
        u: (b, D, L) inputs, any floating dtype.
        delta: (b, D, L) step sizes before ``delta_bias`` and the softplus.
        A: (D, N) rates, negative where states are to fade.
        B, C: (b, N, L) for all channels, or (b, G, N, L): consecutive channels share a group; G divides D.
        D: (D,) weight of the input in the output; None is 0.
        z: (b, D, L) gate; None is none.
        delta_bias: (D,) added to ``delta``.
        delta_softplus: step sizes are softplus(delta + delta_bias).
        initial_state: (b, D, N) state before the first step; None is 0.

    Returns:
        y (b, D, L) of u's dtype, and the state behind the last step (b, D, N), float32, or float64 if u is.

    Raises:
        ValueError: a wrong shape, dtype or device.
    """
    _check(u, delta, A, B, C, D, z, delta_bias, initial_state)
    native = is_native("selective_scan", u.device) and u.dtype != torch.float64
    core = torch.ops.perception.selective_scan if native else state_scan_reference     # torch knows its gradient
    return _around(core, u, delta, A, B, C, D, z, delta_bias, delta_softplus, initial_state)


def selective_scan_reference(
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None = None,
    z: Tensor | None = None,
    delta_bias: Tensor | None = None,
    delta_softplus: bool = False,
    initial_state: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """The same in tensor algebra alone, which exports to any graph format."""
    return _around(state_scan_reference, u, delta, A, B, C, D, z, delta_bias, delta_softplus, initial_state)


def _around(
    core: Core, u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor | None, z: Tensor | None,
    delta_bias: Tensor | None, delta_softplus: bool, initial_state: Tensor | None,
) -> tuple[Tensor, Tensor]:
    """What is done with each token by itself, around the recurrence ``core``."""
    dtype = torch.promote_types(u.dtype, torch.float32)
    x = u.to(dtype)
    B, C = _grouped(B).to(dtype), _grouped(C).to(dtype)                                    # (b, G, N, L)
    initial = x.new_zeros(*u.shape[:2], A.shape[1]) if initial_state is None else initial_state.to(dtype)
    bias = None if delta_bias is None else delta_bias.to(dtype)
    y, last = core(x, delta.to(dtype), A.to(dtype), B, C, initial, bias, delta_softplus)
    if D is not None:
        y = torch.addcmul(y, D.to(dtype)[:, None], x)
    if z is not None:
        y = y * F.silu(z.to(dtype))
    return y.to(u.dtype), last


def _grouped(table: Tensor) -> Tensor:
    return table[:, None] if table.ndim == 3 else table


def _check(
    u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor | None, z: Tensor | None,
    delta_bias: Tensor | None, initial_state: Tensor | None,
) -> None:
    check_tensor("u", u, ("b", "D", "L"), FLOATING)
    b, channels, L = u.shape
    check_tensor("A", A, (channels, "N"), FLOATING)
    groups = B.shape[1] if B.ndim == 4 else 1
    shape = (b, groups, A.shape[1], L) if B.ndim == 4 else (b, A.shape[1], L)
    optional = {"D": (D, (channels,)), "z": (z, u.shape), "delta_bias": (delta_bias, (channels,)),
                "initial_state": (initial_state, (b, channels, A.shape[1]))}
    for name, (tensor, wanted) in {"delta": (delta, u.shape), "B": (B, shape), "C": (C, shape), **optional}.items():
        if tensor is not None:
            check_tensor(name, tensor, tuple(wanted), FLOATING)
            check_device("u", u, **{name: tensor})
    check_device("u", u, A=A)
    if groups == 0 or channels % groups:
        raise ValueError(f"B must have groups that the {channels} channels of u divide into, got {groups}")
    if not torch.compiler.is_compiling():              # there the sizes may be known at run time only
        check_count("steps of the states of a channel", A.shape[1], L)
