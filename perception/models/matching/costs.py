"""Costs of giving a query to a true element: how sure its class is, how far its coordinates are, how boxes overlap."""

from __future__ import annotations

import torch
from torch import Tensor


def focal_cost(logits: Tensor, labels: Tensor, alpha: float = 0.25, gamma: float = 2.0, eps: float = 1e-12) -> Tensor:
    """Focal loss that a query would have as positive of a label, less the one that it has as negative.

    Zhu et al., "Deformable DETR", ICLR 2021, appendix A.3.

    Args:
        logits: (Q, K) of K classes with a sigmoid each.
        labels: (G,) int64 classes of the true elements.
        alpha: weight of positives; negatives have 1 - ``alpha``.
        gamma: exponent of the focal term.
        eps: keeps the logarithms finite.

    Returns:
        (Q, G).
    """
    score = logits.sigmoid()
    positive = -alpha * (1 - score) ** gamma * (score + eps).log()
    negative = -(1 - alpha) * score**gamma * (1 - score + eps).log()
    return (positive - negative)[:, labels]


def l1_cost(predicted: Tensor, truth: Tensor) -> Tensor:
    """(Q, D) and (G, D) coordinates -> (Q, G) sum of absolute differences."""
    return (predicted[:, None] - truth[None]).abs().sum(dim=2)


def giou_cost(predicted: Tensor, truth: Tensor, eps: float = 1e-6) -> Tensor:
    """(Q, 4) and (G, 4) boxes x1 y1 x2 y2 -> (Q, G) negative generalised IoU."""
    return -pairwise_giou(predicted, truth, eps)


def pairwise_giou(a: Tensor, b: Tensor, eps: float = 1e-6) -> Tensor:
    """Generalised IoU of axis-aligned boxes; 1 for equal ones, towards -1 for small ones far apart.

    Rezatofighi et al., "Generalized Intersection over Union", CVPR 2019.

    Args:
        a: (K, 4) lower corner, upper corner. A box whose corners are exchanged has a negative side and, with one side
            negative, a negative area, as in the code that the published models were trained with.
        b: (L, 4) likewise.
        eps: least union and least area of the hull.

    Returns:
        (K, L).
    """
    areas = [(boxes[:, 2:] - boxes[:, :2]).prod(dim=1) for boxes in (a, b)]
    low, high = torch.maximum(a[:, None, :2], b[None, :, :2]), torch.minimum(a[:, None, 2:], b[None, :, 2:])
    overlap = (high - low).clamp(min=0).prod(dim=2)                                       # (K, L)
    union = (areas[0][:, None] + areas[1][None] - overlap).clamp(min=eps)
    low, high = torch.minimum(a[:, None, :2], b[None, :, :2]), torch.maximum(a[:, None, 2:], b[None, :, 2:])
    hull = (high - low).clamp(min=0).prod(dim=2).clamp(min=eps)
    return overlap / union - (hull - union) / hull
