"""ClassMix: what shows some classes of one picture is pasted onto another.

"ClassMix: Segmentation-Based Data Augmentation for Semi-Supervised Learning" (Olsson et al., WACV 2021); between
domains "DACS" (Tranheden et al., WACV 2021).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from .teacher import PseudoLabels

Random = np.random.Generator | np.random.RandomState


@dataclass(frozen=True)
class Mix:
    """B mixed pictures.

    Args:
        images: (B, 3, H, W).
        labels: (B, H, W) int64 class.
        weights: (B, H, W), what a pixel counts for.
        mask: (B, H, W) bool, True where the pasted picture shows.
    """

    images: Tensor
    labels: Tensor
    weights: Tensor
    mask: Tensor


def class_mix(source: Tensor, labels: Tensor, target: Tensor, pseudo: PseudoLabels, rng: Random) -> Mix:
    """Paste half of the classes of each source picture onto the target picture of its number.

    The half is drawn for each picture from the labels of the whole batch, the one to ignore included: so in the
    authors' code. A picture that shows none of those drawn is not pasted at all.

    Args:
        source: (B, 3, H, W) pictures to paste.
        labels: (B, H, W) int64, theirs.
        target: (B, 3, H, W) pictures below.
        pseudo: the labels of ``target``.
        rng: draws the classes.

    Raises:
        ValueError: the pictures differ in number or size.
    """
    if source.shape != target.shape:
        raise ValueError(f"target must be {tuple(source.shape)} as the source, got {tuple(target.shape)}")
    present = labels.unique()                                                              # ascending
    half = (len(present) + 1) // 2
    drawn = [torch.from_numpy(rng.choice(len(present), half, replace=False)).to(labels.device) for _ in labels]
    mask = torch.stack([torch.isin(one, present[numbers]) for one, numbers in zip(labels, drawn, strict=True)])
    return Mix(
        images=torch.where(mask[:, None], source, target),
        labels=torch.where(mask, labels, pseudo.classes),
        weights=torch.where(mask, 1.0, pseudo.weights),
        mask=mask,
    )
