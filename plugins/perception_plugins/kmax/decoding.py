"""From the clusters of one image to segments, class scores and instances.

"k-means Mask Transformer" (Yu et al., ECCV 2022), section 4.1; mask-wise merging as in MaX-DeepLab (CVPR 2021).
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import torch
from torch import Tensor

from perception.structures import InstancePrediction, PanopticPrediction

from .pixel_decoder import resize

EPS = 1e-6


@dataclass(frozen=True)
class PanopticRule:
    """When a cluster becomes a segment, and in which order clusters are asked.

    Args:
        pixel: share of a pixel that a cluster must exceed to own it.
        thing: class score that a thing must exceed.
        stuff: class score that stuff must exceed.
        overlap: share of a cluster's pixels that must still be free, exclusive.
        class_power: power of the class score in the order.
        mask_power: power of the mean share of the owned pixels in the order.

    Raises:
        ValueError: a threshold lies outside [0, 1], or a power is negative.
    """

    pixel: float = 0.4
    thing: float = 0.7
    stuff: float = 0.5
    overlap: float = 0.8
    class_power: float = 1.0
    mask_power: float = 1.0

    def __post_init__(self) -> None:
        for name in ("pixel", "thing", "stuff", "overlap"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise ValueError(f"{name} must lie in [0, 1], got {getattr(self, name)}")
        for name in ("class_power", "mask_power"):
            if getattr(self, name) < 0.0:
                raise ValueError(f"{name} must be >= 0, got {getattr(self, name)}")


@dataclass(frozen=True, eq=False)
class PanopticMap:
    """An image cut into segments.

    Args:
        ids: (H, W) int32 number of the segment of each pixel, from 1; 0 where there is none.
        labels: (S,) int64 classes of the segments 1 to S.
        is_thing: (S,) bool.
        scores: (S,) float32 class score of each segment's first cluster.
    """

    ids: Tensor
    labels: Tensor
    is_thing: Tensor
    scores: Tensor

    def prediction(self) -> PanopticPrediction:
        """The same as all models give it."""
        return PanopticPrediction(self.ids.long(), self.labels, self.scores)


def content_size(padded: tuple[int, int], output: tuple[int, int]) -> tuple[int, int]:
    """Rows and columns that an image takes in the network's input, if its longer side was made the input's.

    Args:
        padded: rows and columns of the input.
        output: those of the image itself.
    """
    scale = max(padded) / max(output)
    return round(output[0] * scale), round(output[1] * scale)


def masks_in_image(
    masks: Tensor, padded: tuple[int, int], content: tuple[int, int], output: tuple[int, int]
) -> Tensor:
    """Bring mask logits (N, h, w) to the size of the image, without what was padded.

    Args:
        masks: logits on the grid of the predictions.
        padded: rows and columns of the network's input.
        content: those that the image takes in it, from the upper left corner.
        output: those of the result.

    Returns:
        (N, *output) float32.
    """
    align = bool(padded[1] % 2)
    full = resize(masks[None].float(), padded, align=align)[:, :, : content[0], : content[1]]
    return resize(full, output, align=align)[0]


def pixel_shares(masks: Tensor) -> Tensor:
    """(N, H, W) mask logits over the clusters -> float32 share of each cluster in each pixel."""
    return masks.float().softmax(dim=0)


@torch.no_grad()
def semantic_scores(logits: Tensor, shares: Tensor) -> Tensor:
    """Class logits (N, K + 1) and `pixel_shares` (N, H, W) -> (K, H, W) scores in [0, 1]."""
    return torch.einsum("nk,nhw->khw", logits.float().softmax(dim=1)[:, :-1], shares)


@torch.no_grad()
def panoptic_map(logits: Tensor, shares: Tensor, things: Collection[int], rule: PanopticRule) -> PanopticMap:
    """Let clusters take their pixels one after the other, the surest first.

    Args:
        logits: (N, K + 1) of classes, the last void.
        shares: (N, H, W) of `pixel_shares`.
        things: classes whose segments are instances; of any other class there is one segment at most.
        rule: when a cluster becomes a segment.
    """
    score, label = logits.float().softmax(dim=1)[:, :-1].max(dim=1)                        # (N,) each
    owned = shares > rule.pixel                                                            # (N, H, W)
    area = owned.sum(dim=(1, 2))
    mean_share = (shares * owned).sum(dim=(1, 2)) / area.clamp(min=1)
    is_thing = torch.isin(label, label.new_tensor(sorted(things)))
    sure = (score > torch.where(is_thing, rule.thing, rule.stuff)) & (area > 0)
    order = (score**rule.class_power * mean_share**rule.mask_power).argsort(descending=True, stable=True)
    ids = torch.zeros(shares.shape[1:], dtype=torch.int32, device=shares.device)
    taken: list[tuple[int, bool]] = []
    first: list[int] = []                                                                  # cluster of each segment
    for cluster in order[sure[order]].tolist():
        free = owned[cluster] & (ids == 0)
        if not free.sum() > rule.overlap * area[cluster]:
            continue
        segment = (int(label[cluster]), bool(is_thing[cluster]))
        if segment[1] or segment not in taken:
            taken.append(segment)
            first.append(cluster)
            number = len(taken)
        else:
            number = taken.index(segment) + 1
        ids[free] = number
    return PanopticMap(ids, label[first], is_thing[first], score[first])


@torch.no_grad()
def instances(
    logits: Tensor, shares: Tensor, *, things: Collection[int] | None = None, top_k: int = 100, pixel: float = 0.4
) -> InstancePrediction:
    """The best pairs of a cluster and a class.

    Args:
        logits: (N, K + 1) of classes, the last void.
        shares: (N, H, W) of `pixel_shares`.
        things: only these classes are kept of the best pairs; None keeps all.
        top_k: pairs, at most.
        pixel: share of a pixel that a cluster must exceed to own it.

    Returns:
        Objects whose score is the class score times the mean share of the owned pixels.
    """
    scores = logits.float().softmax(dim=1)[:, :-1]                                         # (N, K)
    best, pair = scores.flatten().topk(min(top_k, scores.numel()))
    cluster, label = pair // scores.shape[1], pair % scores.shape[1]
    if things is not None:
        kept = torch.isin(label, label.new_tensor(sorted(things)))
        best, cluster, label = best[kept], cluster[kept], label[kept]
    owned = shares > pixel
    mean_share = (shares * owned).sum(dim=(1, 2)) / (owned.sum(dim=(1, 2)) + EPS)
    final = best * mean_share[cluster]
    order = final.argsort(descending=True, stable=True)
    return InstancePrediction(owned[cluster[order]], label[order], final[order])
