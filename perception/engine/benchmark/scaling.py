"""How the time of an encoder grows with its pillars and falls with threads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from .encoder import encoder_tokens
from .rows import Row, compared
from .setting import Setting
from .timing import Call, interleaved_ms


def benchmark_scaling(
    encoder: Any, sizes: Sequence[int], threads: int, setting: Setting, *, repeats: int = 5
) -> list[Row]:
    """Time an encoder at several sizes with one thread and with several in turn.

    Args:
        encoder: as `build_encoder` gives it.
        sizes: numbers of pillars, two or more.
        threads: to compare with one; 1 compares nothing. The setting of torch is put back.
        setting: dtype of autocast and device.
        repeats: rounds.

    Returns:
        A row for each number of threads and size; the ratio is that of one thread's time to its own, R² that of the
        line ms = a + b size through all sizes.
    """
    before, counts = torch.get_num_threads(), sorted({1, threads})
    times = np.empty((len(counts), len(sizes), repeats))
    try:
        for position, size in enumerate(sizes):
            encode = setting.inference(partial(encoder.encode, *encoder_tokens(encoder, size, setting.device)))
            calls = [partial(_with_threads, count, encode) for count in counts]
            times[:, position] = interleaved_ms(calls, repeats, setting.device).T
    finally:
        torch.set_num_threads(before)
    lines = [r_squared(sizes, np.median(of_count, axis=1)) for of_count in times]
    return [
        replace(setting.row("encoder", size, **compared(times[i, k], times[0, k]), r_squared=lines[i]), threads=count)
        for i, count in enumerate(counts) for k, size in enumerate(sizes)
    ]


def r_squared(x: npt.ArrayLike, y: npt.ArrayLike) -> float:
    """Share of the variance of y that the least-squares line through (x, y) explains; 1 if y does not vary."""
    places, values = np.asarray(x, np.float64), np.asarray(y, np.float64)
    rest = values - np.polyval(np.polyfit(places, values, 1), places)
    total = ((values - values.mean()) ** 2).sum()
    return 1.0 if total == 0 else float(1 - (rest**2).sum() / total)


def fitted_exponent(x: npt.ArrayLike, y: npt.ArrayLike) -> float | None:
    """Slope of the least-squares line of log y against log x through the upper half of the x.

    Args:
        x: (M,) ascending, > 0; of an odd number the middle one belongs to the upper half, which has two at least.
        y: (M,) values.

    Returns:
        p of y ~ x^p; None of less than two values, or where one of the upper half is not above 0.
    """
    places, values = np.asarray(x, np.float64), np.asarray(y, np.float64)
    upper = slice(max(min(len(places) // 2, len(places) - 2), 0), None)
    places, values = places[upper], values[upper]
    if len(places) < 2 or (values <= 0).any():
        return None
    return float(np.polyfit(np.log(places), np.log(values), 1)[0])


def _with_threads(count: int, call: Call) -> None:
    torch.set_num_threads(count)
    call()
