"""window_partition on a GPU."""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType

import torch
from torch import Tensor

from ..dispatch import attach_cuda, workspace
from ..window_partition import Axis, sample_counts, window_partition_reference

_LAST_KEY = 2**63                                  # a key, its sample and its order share 64 bits, one to spare


def window_partition(
    kernels: ModuleType, stream: int, coords: Tensor, batch_size: int, grid: Sequence[int], window: Sequence[int],
    group_size: int,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """`window_partition_reference` with one sort for all orders and samples."""
    if 4 * batch_size * _keys_of_a_sample(grid, window) >= _LAST_KEY or coords.shape[0] >= 2**31:
        return window_partition_reference(coords, batch_size, grid, window, group_size)
    counts = sample_counts(coords, batch_size, grid)                                       # (B,)
    starts = _starts(counts)                                                               # (B + 1,)
    slot_starts = _starts(-(-counts // group_size) * group_size)                           # (B + 1,)
    orders, win2flat = counts.new_empty(4, len(coords)), counts.new_empty(len(coords))
    flat2win = counts.new_empty(int(slot_starts[-1]))                                      # (P,)
    valid = torch.empty_like(flat2win, dtype=torch.bool)
    space = workspace(kernels.window_workspace(len(coords), batch_size, *grid, *window), coords.device)
    kernels.window_partition(
        coords.contiguous(), starts, slot_starts, *grid, *window, group_size, orders, flat2win, win2flat, valid, space,
        stream,
    )
    return orders, flat2win, win2flat, valid


def _keys_of_a_sample(grid: Sequence[int], window: Sequence[int]) -> int:
    x, y = Axis(grid[0], window[0]), Axis(grid[1], window[1])
    return 8 * x.windows * y.windows * x.window * y.window


def _starts(sizes: Tensor) -> Tensor:
    """(B,) -> (B + 1,), what comes before each and in all."""
    return torch.cat([sizes.new_zeros(1), sizes.cumsum(0)])


attach_cuda("window_partition", window_partition)
