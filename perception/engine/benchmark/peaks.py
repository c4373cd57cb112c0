"""What the machine gives at best: bytes copied and numbers multiplied in a second."""

from __future__ import annotations

from functools import partial

import torch

from .timing import interleaved_ms

COPIED_BYTES = 1 << 28                             # far beyond the caches
MATRIX_SIZE = 2048
REPEATS, BUDGET_S = 5, 3.0


def copy_gbps(device: torch.device) -> float:
    """Bytes that a copy reads and writes in a second [GB/s], the best of several."""
    source = torch.ones(COPIED_BYTES, dtype=torch.uint8, device=device)
    copy = partial(torch.empty_like(source).copy_, source)
    return 2 * COPIED_BYTES / float(interleaved_ms([copy], REPEATS, device).min()) / 1e6


def multiply_gflops(dtype: torch.dtype, device: torch.device) -> float:
    """Operations of a matrix product in a second, two for each multiply-add [GFLOP/s], the best of several.

    Matrices have `MATRIX_SIZE` rows, fewer where the device has no instructions for the dtype and would take minutes.
    """
    size, best_ms = MATRIX_SIZE // 8, 0.0
    while size <= MATRIX_SIZE and best_ms * 8 * REPEATS < BUDGET_S * 1e3:
        a, b = (torch.ones(size, size, dtype=dtype, device=device) for _ in range(2))
        best_ms = float(interleaved_ms([partial(torch.mm, a, b)], REPEATS, device).min())
        rate = 2 * size**3 / best_ms / 1e6
        size *= 2
    return rate
