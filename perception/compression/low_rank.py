"""A linear layer as the product of two thin ones."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Factors(NamedTuple):
    """W (M, N) ~ ``left`` (M, R) @ ``right`` (R, N)."""

    left: Tensor
    right: Tensor


def low_rank_factors(weight: Tensor, rank: int) -> Factors:
    """The nearest matrix of a rank, U_r S_r times V_r^T.

    Args:
        weight: (M, N).
        rank: R, in [1, min(M, N)].

    Raises:
        ValueError: the rank lies outside.
    """
    if not 1 <= rank <= min(weight.shape):
        raise ValueError(f"rank must lie in [1, {min(weight.shape)}], got {rank}")
    left, values, right = torch.linalg.svd(weight.detach(), full_matrices=False)
    return Factors(left[:, :rank] * values[:rank], right[:rank])


def saves_numbers(rows: int, columns: int, rank: int) -> bool:
    """Whether two factors have fewer numbers than the matrix: rank < M N / (M + N)."""
    return rank * (rows + columns) < rows * columns


def rank_of_share(rows: int, columns: int, share: float) -> int:
    """The largest rank (>= 1) whose factors have at most a share of the matrix's numbers."""
    return max(1, int(share * rows * columns / (rows + columns)))
