"""Cross entropy over the pixels that are hard for the network.

Online hard example mining as segmentation networks have it; Shrivastava et al., CVPR 2016, for the idea.
"""

from __future__ import annotations

import torch
from torch import Tensor

from perception.structures.segmentation import IGNORE_LABEL

from .weighted_cross_entropy import pixel_cross_entropy


def ohem_cross_entropy(
    logits: Tensor,
    labels: Tensor,
    *,
    threshold: float = 0.9,
    min_kept: int = 100_000,
    class_weights: Tensor | None = None,
    ignore_label: int = IGNORE_LABEL,
) -> Tensor:
    """Mean cross entropy over the pixels whose true class is less probable than a bound.

    Args:
        logits: (B, K, H, W).
        labels: (B, H, W) int64 in [0, K), or ``ignore_label``.
        threshold, min_kept, class_weights, ignore_label: see `mean_over_hard_pixels`.
    """
    loss = pixel_cross_entropy(logits, labels, ignore_label=ignore_label)
    return mean_over_hard_pixels(
        loss, labels, threshold=threshold, min_kept=min_kept, class_weights=class_weights, ignore_label=ignore_label
    )


def mean_over_hard_pixels(
    loss: Tensor,
    labels: Tensor,
    *,
    threshold: float = 0.9,
    min_kept: int = 100_000,
    class_weights: Tensor | None = None,
    ignore_label: int = IGNORE_LABEL,
) -> Tensor:
    """Mean of a cross entropy over the pixels whose true class is less probable than a bound.

    The bound is ``threshold``, or, where that leaves too few pixels, the probability of the pixel number ``min_kept``
    (counted from 0, least probable first; the last one if there are fewer). The pixel at the bound is left out.

    Args:
        loss: (B, H, W) cross entropy of each pixel, without weights.
        labels: (B, H, W) int64 in [0, K), or ``ignore_label``.
        threshold: probability in (0, 1] from which a pixel is easy.
        min_kept: pixels that are kept however easy they are.
        class_weights: (K,) factor of the loss of each class, without a say in which pixels are kept.
        ignore_label: label of the pixels that do not count.

    Returns:
        A scalar; 0, with a graph, if no pixel is kept.

    Raises:
        ValueError: ``threshold`` or ``min_kept`` lies outside what it can be.
    """
    if not 0.0 < threshold <= 1.0:
        raise ValueError(f"threshold must lie in (0, 1], got {threshold}")
    if min_kept < 0:
        raise ValueError(f"min_kept must be >= 0, got {min_kept}")
    valid = labels != ignore_label
    loss, classes = loss[valid], labels[valid]                               # (N,) each
    hard = _is_hard(loss.detach(), threshold, min_kept)
    if class_weights is not None:
        loss = loss * class_weights.to(loss)[classes]
    return loss[hard].sum() / hard.sum().clamp(min=1)


def _is_hard(loss: Tensor, threshold: float, min_kept: int) -> Tensor:
    """(N,) bool."""
    if not loss.numel():
        return torch.zeros_like(loss, dtype=torch.bool)
    probability = torch.exp(-loss)                                           # (N,), of the true class
    bound = probability.kthvalue(min(min_kept, len(loss) - 1) + 1).values
    return probability < bound.clamp(min=threshold)
