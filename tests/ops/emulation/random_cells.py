"""Clouds and cells of odd sizes for the emulated kernels."""

from __future__ import annotations

import torch
from torch import Tensor


def distinct_cells(counts: list[int], nx: int, ny: int, seed: int = 0) -> Tensor:
    """(sum of counts, 4) int32, cells of each sample, none twice."""
    generator = torch.Generator().manual_seed(seed)
    rows = [torch.zeros(0, 4, dtype=torch.int64)]
    for b, count in enumerate(counts):
        cell = torch.randperm(nx * ny, generator=generator)[:count]
        rows.append(torch.stack([torch.full_like(cell, b), torch.zeros_like(cell), cell // nx, cell % nx], 1))
    return torch.cat(rows).int()


def shared_cells(count: int, samples: int, nx: int, ny: int, seed: int = 0) -> Tensor:
    """(count, 4) int32 in any order, where many rows share a cell."""
    generator = torch.Generator().manual_seed(seed)
    columns = [torch.randint(size, (count,), generator=generator) for size in (samples, 3, ny, nx)]
    return torch.stack(columns, 1).int()


def normal(*shape: int, dtype: torch.dtype = torch.float32, seed: int = 0) -> Tensor:
    """Standard normal numbers."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).to(dtype)
