"""Losses that let a small model follow a trained one; means are taken in float32, or in float64 if that is given.

Temperature and logits as in "Distilling the Knowledge in a Neural Network" (Hinton et al., 2015), attention transfer
as in "Paying More Attention to Attention" (Zagoruyko and Komodakis, ICLR 2017), channel-wise as in "Channel-wise
Knowledge Distillation for Dense Prediction" (Shu et al., ICCV 2021); "A Survey of Techniques for Optimizing
Transformer Inference" (2023) names the family. The heatmap loss and all conventions are ours.
"""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F


def logit_distillation(student: Tensor, teacher: Tensor, temperature: float = 1.0) -> Tensor:
    """T^2 times the mean divergence of the student's softened classes from the teacher's.

    Args:
        student, teacher: (B, K) logits.
        temperature: T > 0, by which logits are divided.

    Returns:
        A scalar.

    Raises:
        ValueError: the shapes differ, or the temperature is not positive.
    """
    _check(student, teacher, temperature)
    return _divergence(student, teacher, temperature, dim=1).mean() * temperature**2


def total_distillation(
    student: Tensor, teacher: Tensor, labels: Tensor, *, alpha: float = 0.5, temperature: float = 1.0
) -> Tensor:
    """alpha times `logit_distillation` and 1 - alpha times the cross entropy with labels (B,) int64."""
    if not 0.0 <= alpha <= 1.0:
        raise ValueError(f"alpha must lie in [0, 1], got {alpha}")
    own = F.cross_entropy(_wide(student), labels)
    return alpha * logit_distillation(student, teacher, temperature) + (1 - alpha) * own


def dense_distillation(
    student: Tensor, teacher: Tensor, mask: Tensor | None = None, temperature: float = 1.0
) -> Tensor:
    """`logit_distillation` of each pixel, over those that count.

    Args:
        student, teacher: (B, K, H, W) logits.
        mask: (B, H, W) bool, the pixels that count; None counts all. Where none does, the loss is 0.
        temperature: T > 0.
    """
    _check(student, teacher, temperature)
    pixels = _divergence(student, teacher, temperature, dim=1)                               # (B, H, W)
    if mask is None:
        return pixels.mean() * temperature**2
    counted = pixels.where(mask, pixels.new_zeros(()))
    return counted.sum() / mask.sum().clamp(min=1) * temperature**2


def heatmap_distillation(student: Tensor, teacher: Tensor) -> Tensor:
    """Squared difference of two heatmaps of centres, weighted by the square of the teacher's; logits of any shape."""
    _check(student, teacher)
    score, wanted = _wide(student).sigmoid(), _wide(teacher).sigmoid()
    weight = wanted**2
    return (weight * (score - wanted) ** 2).sum() / weight.sum()


def attention_transfer(student: Tensor, teacher: Tensor) -> Tensor:
    """Mean squared difference of where two maps are strong, each sample's strength scaled to unit length.

    Args:
        student, teacher: (B, C, H, W) and (B, D, H, W); the channels may differ.
    """
    if student.shape[0] != teacher.shape[0] or student.shape[2:] != teacher.shape[2:]:
        raise ValueError(f"maps must agree but for channels, got {tuple(student.shape)} and {tuple(teacher.shape)}")
    strengths = [F.normalize(_wide(maps).square().mean(dim=1).flatten(1), dim=1) for maps in (student, teacher)]
    return (strengths[0] - strengths[1]).square().mean()


def channel_distillation(student: Tensor, teacher: Tensor, temperature: float = 1.0) -> Tensor:
    """T^2 times the mean divergence of each channel's softmax over places.

    Args:
        student, teacher: (B, C, H, W).
        temperature: T > 0.
    """
    _check(student, teacher, temperature)
    return _divergence(student.flatten(2), teacher.flatten(2), temperature, dim=2).mean() * temperature**2


def _divergence(student: Tensor, teacher: Tensor, temperature: float, dim: int) -> Tensor:
    own, wanted = ((_wide(logits) / temperature).log_softmax(dim) for logits in (student, teacher))
    return (wanted.exp() * (wanted - own)).sum(dim)


def _wide(values: Tensor) -> Tensor:
    return values if values.dtype.itemsize > 4 else values.float()


def _check(student: Tensor, teacher: Tensor, temperature: float = 1.0) -> None:
    if student.shape != teacher.shape:
        raise ValueError(f"the teacher must be {tuple(student.shape)} as the student, got {tuple(teacher.shape)}")
    if temperature <= 0:
        raise ValueError(f"temperature must be > 0, got {temperature}")
