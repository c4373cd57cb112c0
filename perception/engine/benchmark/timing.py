"""Times of functions that are called in turn, so that a busy machine slows all of them alike."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

Call = Callable[[], Any]


def interleaved_ms(
    calls: Sequence[Call], repeats: int, device: torch.device, *, budget_s: float = float("inf")
) -> np.ndarray:
    """Time several functions round by round: a, b, c, a, b, c, ..., after one untimed call of each.

    Args:
        calls: functions without arguments; what they return is dropped.
        repeats: rounds.
        device: where they compute; a GPU is waited for before the clock is read.
        budget_s: no round begins after so many seconds, but one is always run.

    Returns:
        (rounds, len(calls)) float64, milliseconds.

    Raises:
        ValueError: no function, or ``repeats`` below 1.
    """
    if not calls or repeats < 1:
        raise ValueError(f"calls must not be empty and repeats must be >= 1, got {len(calls)} calls, {repeats} repeats")
    for call in calls:
        call()
    rounds: list[list[float]] = []
    began = time.perf_counter()
    while len(rounds) < repeats and not (rounds and time.perf_counter() - began > budget_s):
        rounds.append([once_ms(call, device) for call in calls])
    return np.array(rounds)


def once_ms(call: Call, device: torch.device) -> float:
    """Time of one call [ms]."""
    _wait(device)
    began = time.perf_counter()
    call()
    _wait(device)
    return (time.perf_counter() - began) * 1e3


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
