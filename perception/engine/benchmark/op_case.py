"""What it takes to time an op."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch


@dataclass(frozen=True)
class Case:
    """One op on one input.

    Args:
        op: the call; its tensors are its ``args``.
        reference: what it is compared with.
        reference_bytes: memory that the reference needs, if it is much more than the op's inputs.
        unread_bytes: of the op's tensors, where most of one is left alone.
    """

    op: partial
    reference: partial
    reference_bytes: int = 0
    unread_bytes: int = 0


@dataclass(frozen=True)
class TimedOp:
    """An op that can be timed.

    Args:
        build: (size, dtype, device) -> the case.
        sizes: those that are timed unless others are asked for, ascending; the last one is the largest that is taken.
        kernel: name of its native kernel; where there is none, op and reference are the same and not compared.
        takes_dtype: whether it has features; geometry is float32 always.
        growth: the reference's time grows with the size to this power.
        is_reference_alike: whether the reference gives what the op gives, and not only does the same work.
    """

    build: Callable[[int, torch.dtype, torch.device], Case]
    sizes: tuple[int, ...]
    kernel: str
    takes_dtype: bool = False
    growth: int = 1
    is_reference_alike: bool = True
