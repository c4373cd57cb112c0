"""Focal loss for classes that have a sigmoid each.

Lin et al., "Focal Loss for Dense Object Detection", ICCV 2017.
"""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F


def sigmoid_focal_loss(
    logits: Tensor, targets: Tensor, alpha: float = 0.25, gamma: float = 2.0, reduction: str = "sum"
) -> Tensor:
    """Binary cross entropy of each entry, less where the entry is right already.

    Args:
        logits: any shape.
        targets: the same shape, 0 or 1, of a float type.
        alpha: weight of the ones; zeros have 1 - ``alpha``.
        gamma: exponent of the focal term.
        reduction: "sum", "mean" or "none".

    Returns:
        A scalar, or with "none" the shape of ``logits``.

    Raises:
        ValueError: the shapes differ or the reduction is unknown.
    """
    if logits.shape != targets.shape:
        raise ValueError(f"targets must be {tuple(logits.shape)} as the logits, got {tuple(targets.shape)}")
    if reduction not in ("sum", "mean", "none"):
        raise ValueError(f'reduction must be "sum", "mean" or "none", got {reduction!r}')
    score = logits.sigmoid()
    wrong = score + targets - 2 * score * targets                          # 1 - score where the target is 1, else score
    balance = alpha * targets + (1 - alpha) * (1 - targets)
    loss = balance * wrong**gamma * F.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    if reduction == "none":
        return loss
    return loss.sum() if reduction == "sum" else loss.mean()
