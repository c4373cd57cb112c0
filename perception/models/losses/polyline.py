"""Losses between point sequences of the same length."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F


def point_l1(points: Tensor, target: Tensor) -> Tensor:
    """Summed absolute difference of (M, count, 2) sequences; scalar."""
    return (points - target).abs().sum()


def direction_loss(points: Tensor, target: Tensor) -> Tensor:
    """Sum over edges of 1 - cosine between predicted and true edge (MapTR, section 3.3); an edge of no length gives 1.

    Args:
        points, target: (M, count, 2), in metres, so that angles are true.
    """
    edges, wanted = points.diff(dim=1), target.diff(dim=1)                       # (M, count - 1, 2)
    return (1 - F.cosine_similarity(edges, wanted, dim=-1)).sum()
