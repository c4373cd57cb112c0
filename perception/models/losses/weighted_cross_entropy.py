"""Cross entropy of class maps, by pixel and with a weight a pixel."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from perception.models.sliding_window import resize_maps
from perception.structures.segmentation import IGNORE_LABEL


def pixel_cross_entropy(
    logits: Tensor, labels: Tensor, class_weights: Tensor | None = None, ignore_label: int = IGNORE_LABEL
) -> Tensor:
    """Cross entropy of each pixel; ignored pixels have 0.

    Args:
        logits: (B, K, H, W).
        labels: (B, H, W) int64 in [0, K), or ``ignore_label``.
        class_weights: (K,) factor of the pixels of each class; nothing is divided by their sum.
        ignore_label: label of the pixels that do not count.

    Returns:
        (B, H, W) float32.
    """
    return F.cross_entropy(logits.float(), labels, class_weights, ignore_index=ignore_label, reduction="none")


def weighted_cross_entropy(logits: Tensor, labels: Tensor, weights: Tensor | None = None) -> Tensor:
    """Mean cross entropy over all pixels; those to ignore count as 0.

    Args:
        logits: (B, K, h, w); brought to the size of the labels.
        labels: (B, H, W) int64 class, or IGNORE_LABEL.
        weights: (B, H, W), multiplies the loss of each pixel; None counts all alike.

    Raises:
        ValueError: labels or weights are of another shape than told here.
    """
    if labels.dim() != 3 or len(labels) != len(logits):
        raise ValueError(f"labels must be ({len(logits)}, H, W), got {tuple(labels.shape)}")
    if weights is not None and weights.shape != labels.shape:
        raise ValueError(f"weights must be {tuple(labels.shape)} as the labels, got {tuple(weights.shape)}")
    loss = pixel_cross_entropy(resize_maps(logits, labels.shape[1:]), labels)               # (B, H, W)
    return (loss if weights is None else loss * weights).mean()


def pixel_accuracy(logits: Tensor, labels: Tensor) -> Tensor:
    """Percentage of all pixels, those to ignore included, whose class has the greatest of the logits (B, K, h, w)."""
    best = resize_maps(logits.detach(), labels.shape[1:]).max(dim=1).indices               # faster than argmax on a CPU
    return 100 * (best == labels).float().mean()
