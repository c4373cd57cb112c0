"""Counts that losses are divided by, equal on every rank, so that more processes give the gradient of one."""

from __future__ import annotations

import torch.distributed as dist
from torch import Tensor


def world_size() -> int:
    """Number of processes that train together; 1 without torch.distributed."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def sum_over_ranks(counts: Tensor) -> Tensor:
    """The sum of ``counts`` over all processes, without gradient; the argument is left alone.

    A loss that is ``local_sum * world_size() / sum_over_ranks(count)`` has, after the mean over ranks that
    DistributedDataParallel takes of gradients, the gradient of ``global_sum / global_count``.
    """
    counts = counts.detach().clone()
    if world_size() > 1:
        dist.all_reduce(counts)
    return counts
