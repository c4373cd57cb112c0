"""First values of what a selective scan learns, and its step sizes under a mask.

"Mamba" (Gu & Dao, 2023), section 3.6, and the values of the released code as the sheet states them.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

SMALLEST, LARGEST, FLOOR = 1e-3, 0.1, 1e-4           # first step sizes: log-uniform, and never below the floor


def first_rates(rows: int, state: int) -> Tensor:
    """Logarithms of the negated rates, (rows, state): log 1, log 2 ... in every row."""
    return torch.arange(1, state + 1, dtype=torch.float32).log().repeat(rows, 1)


def first_step_weight(*shape: int) -> Tensor:
    """(..., rank) uniform within rank ** -0.5."""
    bound = shape[-1] ** -0.5
    return torch.empty(shape).uniform_(-bound, bound)


def first_step_bias(*shape: int) -> Tensor:
    """What softplus turns into step sizes that are log-uniform in [1e-3, 0.1]."""
    low, high = math.log(SMALLEST), math.log(LARGEST)
    steps = torch.exp(torch.rand(shape) * (high - low) + low).clamp(min=FLOOR)
    return steps + torch.log(-torch.expm1(-steps))


def rank_of(channels: int, rank: int | None) -> int:
    """The rank of the step sizes, by default a sixteenth of the width C, rounded up.

    Raises:
        ValueError: it is below 1.
    """
    rank = -(-channels // 16) if rank is None else rank
    if rank < 1:
        raise ValueError(f"rank must be >= 1, got {rank}")
    return rank


def inner_width(channels: int, ratio: float) -> int:
    """The width of the scan. Raises ValueError if it is below 1."""
    inner = int(ratio * channels)
    if inner < 1:
        raise ValueError(f"{ratio} times {channels} channels must be >= 1")
    return inner


def masked_steps(delta: Tensor, bias: Tensor, mask: Tensor) -> Tensor:
    """softplus(delta + bias) in float32 at least, 0 where the mask is False: such a step changes no state.

    Args:
        delta: (..., D, L).
        bias: what broadcasts to it.
        mask: bool, likewise.
    """
    dtype = torch.promote_types(delta.dtype, torch.float32)
    return F.softplus(delta.to(dtype) + bias.to(dtype)).masked_fill(~mask, 0.0)
