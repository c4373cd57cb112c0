"""The teacher: a moving average of the student that labels pictures which nobody has labelled.

DAFormer (Hoyer et al., CVPR 2022), section 3.1, after "Mean teachers are better role models" (Tarvainen & Valpola,
NeurIPS 2017).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from timm.layers import DropPath
from torch import Tensor, nn
from torch.nn.modules.dropout import _DropoutNd
from torchvision.ops import StochasticDepth

from perception.models.sliding_window import resize_maps

CHANCE_MODULES = (_DropoutNd, DropPath, StochasticDepth)


@dataclass(frozen=True)
class PseudoLabels:
    """What a teacher says of B pictures.

    Args:
        classes: (B, H, W) int64, the most probable class.
        confidence: (B, H, W), its probability.
        weights: (B, H, W), what a pixel counts for in the student's loss.
    """

    classes: Tensor
    confidence: Tensor
    weights: Tensor


def teacher_momentum(iteration: int, momentum: float) -> float:
    """Share of itself that the teacher keeps in an iteration, counted from 0: at first none, at last ``momentum``."""
    return min(1 - 1 / (iteration + 1), momentum)


@torch.no_grad()
def update_teacher(teacher: nn.Module, student: nn.Module, keep: float) -> None:
    """teacher <- keep * teacher + (1 - keep) * student, for parameters; buffers stay the teacher's own."""
    for own, learnt in zip(teacher.parameters(), student.parameters(), strict=True):
        own.mul_(keep).add_(learnt, alpha=1 - keep)


def leave_nothing_to_chance(model: nn.Module) -> None:
    """Switch dropout and stochastic depth off; the rest, such as batch normalisation, stays in the mode it is in."""
    for module in model.modules():
        if isinstance(module, CHANCE_MODULES):
            module.eval()


@torch.no_grad()
def pseudo_labels(
    logits: Tensor, size: Sequence[int], *, threshold: float = 0.968, ignore_top: int = 15, ignore_bottom: int = 120
) -> PseudoLabels:
    """Label pictures by a teacher's logits.

    Every pixel of the batch gets one weight, the share of pixels whose confidence is at least ``threshold``: so in the
    authors' code; the paper defines the share for each picture.

    Args:
        logits: (B, K, h, w).
        size: height and width of the pictures.
        threshold: in [0, 1].
        ignore_top, ignore_bottom: rows that get weight 0, where the border of a rectified picture and the bonnet are.
    """
    confidence, classes = resize_maps(logits, size).float().softmax(dim=1).max(dim=1)       # (B, H, W) each
    weights = (confidence >= threshold).float().mean().expand_as(confidence).clone()
    weights[:, :ignore_top] = 0
    weights[:, max(confidence.shape[1] - ignore_bottom, 0) :] = 0
    return PseudoLabels(classes, confidence, weights)
