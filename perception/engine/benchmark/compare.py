"""Whole predictions of several models in turn on the same frame."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from .memory import peak_mib
from .model import WHOLE
from .models import TimedModel, num_parameters
from .rows import Row, compared, percentiles
from .setting import Setting
from .timing import interleaved_ms


def compare_models(models: Sequence[TimedModel], setting: Setting, *, repeats: int = 30) -> list[Row]:
    """Time inputs to predictions, after transforms and before tracking.

    Args:
        models: two or more, on the same frame; the first is what the others are compared with.
        setting: dtype of autocast and device.
        repeats: rounds; in each, every model predicts once.

    Returns:
        A row for each, with the ratio of the first one's time to its own and the quartiles over the rounds.

    Raises:
        ValueError: fewer than two models.
    """
    if len(models) < 2:
        raise ValueError(f"models must be two or more, got {len(models)}")
    calls = [setting.inference(partial(timed.model, **timed.batch, mode="predict")) for timed in models]
    times = interleaved_ms(calls, repeats, setting.device)                               # (rounds, models)
    return [
        setting.row(
            timed.name, timed.size, stage=WHOLE, **percentiles(own) | compared(own, times[:, 0]),
            peak_mib=peak_mib(call, setting.device), parameters=num_parameters(timed.model),
        )
        for timed, call, own in zip(models, calls, times.T, strict=True)
    ]
