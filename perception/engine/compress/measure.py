"""What a model costs: numbers, bytes, operations and time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from ...compression.model_size import num_bytes, num_numbers
from ..benchmark.flops import count_flops
from ..benchmark.timing import once_ms

WARM_UP, REPEATS = 10, 50


@dataclass(frozen=True)
class Measured:
    """Figures of a model.

    Args:
        metrics: by name; empty if the model was not scored.
        parameters: numbers, compressed ones included.
        num_bytes: of the weights in memory.
        file_bytes: of the checkpoint.
        flops: operations of one frame, see `count_flops`.
        p50_ms, p99_ms: time from inputs to predictions of one frame.
    """

    parameters: int
    num_bytes: int
    file_bytes: int
    flops: int
    p50_ms: float
    p99_ms: float
    metrics: Mapping[str, float] = field(default_factory=dict)

    def record(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)


def latencies_ms(models: Sequence[nn.Module], batch: Mapping[str, Any], repeats: int = REPEATS) -> np.ndarray:
    """Times of models that predict in turn, after `WARM_UP` calls of each: (rounds, models) in ms."""
    calls = [partial(model, **batch, mode="predict") for model in models]
    device = next(models[0].parameters()).device
    with torch.inference_mode():
        for call in calls:
            for _ in range(WARM_UP):
                call()
        return np.array([[once_ms(call, device) for call in calls] for _ in range(repeats)])


def measure(
    models: Sequence[nn.Module], checkpoints: Sequence[Path], batch: Mapping[str, Any],
    metrics: Sequence[Mapping[str, float]], repeats: int = REPEATS,
) -> list[Measured]:
    """Figures of models on one frame.

    Args:
        models: in evaluation mode, on one device.
        checkpoints: the file of each.
        batch: what their data preprocessor gave for the frame.
        metrics: of each.
        repeats: rounds of the clock.
    """
    times = latencies_ms(models, batch, repeats)
    found = []
    for model, file, scores, own in zip(models, checkpoints, metrics, times.T, strict=True):
        with torch.inference_mode():
            flops = count_flops(partial(model, **batch, mode="predict"))
        p50, p99 = np.percentile(own, (50, 99))
        found.append(Measured(
            num_numbers(model), num_bytes(model), file.stat().st_size, flops, float(p50), float(p99), dict(scores)
        ))
    return found
