"""From the classes and masks of queries to scores of pixels, to a panoptic map, and to instances.

"Masked-attention Mask Transformer for Universal Image Segmentation" (Cheng et al., CVPR 2022) and "Per-Pixel
Classification is Not All You Need for Semantic Segmentation" (Cheng et al., NeurIPS 2021), section 3.4.
"""

from __future__ import annotations

from collections.abc import Collection

import torch
from torch import Tensor

from perception.structures import InstancePrediction, PanopticPrediction


def semantic_scores(logits: Tensor, masks: Tensor) -> Tensor:
    """(Q, K + 1) class and (Q, H, W) mask logits -> (K, H, W): masks summed by what each query says of the class."""
    classes = logits.float().softmax(dim=1)[:, :-1]
    return torch.einsum("qk,qhw->khw", classes, masks.float().sigmoid())


def panoptic_map(
    logits: Tensor,
    masks: Tensor,
    things: Collection[int],
    *,
    object_threshold: float = 0.8,
    overlap_threshold: float = 0.8,
) -> PanopticPrediction:
    """Give each pixel to the surest query there, if the query's mask covers it.

    Args:
        logits: (Q, K + 1) of the classes; the last one is no object.
        masks: (Q, H, W) logits.
        things: classes whose queries are regions of their own; the queries of another class make up one.
        object_threshold: a query counts if its class is surer than this.
        overlap_threshold: and if at least this share of its mask is left to it.

    Returns:
        The regions in the order of their queries, each as sure as its surest query is of the class.
    """
    scores, labels = logits.float().softmax(dim=1).max(dim=1)
    kept = ((labels < logits.shape[1] - 1) & (scores > object_threshold)).nonzero()[:, 0]
    scores, labels = scores[kept], labels[kept]
    if len(kept) == 0:
        return PanopticPrediction(masks.new_zeros(masks.shape[1:], dtype=torch.int64), labels, scores)
    cover = masks[kept].float().sigmoid()                                               # (Q', H, W)
    owner = (scores[:, None, None] * cover).argmax(dim=0)                               # (H, W)
    is_covered = cover.gather(0, owner[None])[0] >= 0.5
    won = owner.flatten().bincount(minlength=len(kept))
    left = owner[is_covered].bincount(minlength=len(kept))
    areas = zip(won.tolist(), (cover >= 0.5).sum(dim=(1, 2)).tolist(), left.tolist(), strict=True)
    numbers, found = _numbered(labels.tolist(), [_lasts(*area, overlap_threshold) for area in areas], things)
    regions = labels.new_tensor(numbers)                                                # (Q',), 0 for none
    surest = scores.new_zeros(len(found) + 1).scatter_reduce(0, regions, scores, "amax")
    return PanopticPrediction(torch.where(is_covered, regions[owner], 0), labels.new_tensor(found), surest[1:])


def _lasts(won: int, whole: int, left: int, overlap_threshold: float) -> bool:
    return won > 0 and whole > 0 and left > 0 and won / whole >= overlap_threshold


def _numbered(labels: list[int], lasting: list[bool], things: Collection[int]) -> tuple[list[int], list[int]]:
    """The number of each query's region (0 if it does not last), and the classes of the regions."""
    numbers, found, stuff = [], [], dict[int, int]()
    for label, lasts in zip(labels, lasting, strict=True):
        number = stuff.get(label, 0) if lasts else 0
        if lasts and not number:
            found.append(label)
            number = len(found)
            if label not in things:
                stuff[label] = number
        numbers.append(number)
    return numbers, found


def instances(
    logits: Tensor, masks: Tensor, *, things: Collection[int] | None = None, max_instances: int = 100
) -> InstancePrediction:
    """The surest pairs of a query and a class.

    A score is the class's times the mean of the mask where it is more likely than not.

    Args:
        logits: (Q, K + 1) of the classes; the last one is no object.
        masks: (Q, H, W) logits.
        things: classes that count; None for all.
        max_instances: how many pairs are looked at, before others than ``things`` are left out.
    """
    num_classes = logits.shape[1] - 1
    classes = logits.float().softmax(dim=1)[:, :-1].flatten()                           # (Q * K,)
    scores, pairs = classes.topk(min(max_instances, len(classes)), sorted=False)
    labels = pairs % num_classes
    if things is not None:
        is_thing = torch.isin(labels, labels.new_tensor(sorted(things)))
        scores, pairs, labels = scores[is_thing], pairs[is_thing], labels[is_thing]
    inside, query = masks > 0, pairs // num_classes                                     # (Q, H, W), (N,)
    mean = (masks.float().sigmoid() * inside).sum(dim=(1, 2)) / (inside.sum(dim=(1, 2)) + 1e-6)       # (Q,)
    scores, order = (scores * mean[query]).sort(descending=True, stable=True)
    return InstancePrediction(inside[query[order]], labels[order], scores)
