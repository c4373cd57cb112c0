"""Masks that keep the largest weights."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def global_magnitude_masks(weights: Sequence[Tensor], sparsity: float) -> list[Tensor]:
    """Masks of the weights above one threshold for all tensors, the k-th smallest magnitude, k = round(sparsity * n).

    Args:
        weights: n numbers in all, of any shapes.
        sparsity: share to drop, in [0, 1]; ties with the threshold are dropped too.

    Returns:
        bool tensors of the weights' shapes, True where a weight stays.

    Raises:
        ValueError: the share lies outside [0, 1].
    """
    if not 0.0 <= sparsity <= 1.0:
        raise ValueError(f"sparsity must lie in [0, 1], got {sparsity}")
    magnitudes = torch.cat([weight.detach().abs().flatten() for weight in weights]) if weights else torch.empty(0)
    dropped = round(sparsity * len(magnitudes))
    if dropped == 0:
        return [torch.ones_like(weight, dtype=torch.bool) for weight in weights]
    threshold = magnitudes.kthvalue(dropped).values
    return [weight.detach().abs() > threshold for weight in weights]


def two_of_four_mask(weight: Tensor) -> Tensor:
    """(N, K) bool: of each 4 consecutive inputs the 2 largest magnitudes, of equal ones the first.

    Raises:
        ValueError: K is no multiple of 4.
    """
    if weight.shape[-1] % 4:
        raise ValueError(f"2:4 sparsity wants inputs in fours, got {weight.shape[-1]}")
    fours = weight.detach().abs().unflatten(-1, (-1, 4))                                     # (N, K / 4, 4)
    kept = fours.argsort(dim=-1, descending=True, stable=True)[..., :2]
    return torch.zeros_like(fours, dtype=torch.bool).scatter_(-1, kept, True).flatten(-2)
