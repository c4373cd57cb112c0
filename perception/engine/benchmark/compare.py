"""Whole predictions of several detectors in turn on the same cloud."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from .detectors import TimedDetector, num_parameters
from .memory import peak_mib
from .model import WHOLE
from .rows import Row, compared, percentiles
from .setting import Setting
from .timing import interleaved_ms


def compare_detectors(detectors: Sequence[TimedDetector], setting: Setting, *, repeats: int = 30) -> list[Row]:
    """Time points to boxes, after transforms and before tracking.

    Args:
        detectors: two or more, on the same frame; the first is what the others are compared with.
        setting: dtype of autocast and device.
        repeats: rounds; in each, every detector predicts once.

    Returns:
        A row for each, with the ratio of the first one's time to its own and the quartiles over the rounds.

    Raises:
        ValueError: fewer than two detectors.
    """
    if len(detectors) < 2:
        raise ValueError(f"detectors must be two or more, got {len(detectors)}")
    calls = [setting.inference(partial(detector.model, **detector.batch, mode="predict")) for detector in detectors]
    times = interleaved_ms(calls, repeats, setting.device)                               # (rounds, detectors)
    return [
        setting.row(
            detector.name, detector.num_points, stage=WHOLE, **percentiles(own) | compared(own, times[:, 0]),
            peak_mib=peak_mib(call, setting.device), parameters=num_parameters(detector.model),
        )
        for detector, call, own in zip(detectors, calls, times.T, strict=True)
    ]
