"""What each cluster is to become: its true segment, its class, and how much its losses weigh.

"MaX-DeepLab: End-to-End Panoptic Segmentation with Mask Transformers" (Wang et al., CVPR 2021), section 3.2: matching
and weights by the two factors of panoptic quality, here with the Dice coefficient in place of the IoU.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from perception.models.matching.hungarian import hungarian
from perception.structures.segmentation import Segments

EPS = 1e-5
MASK_STRIDE = 4


@dataclass(frozen=True, eq=False)
class TrueSegments:
    """The segments of one image on the grid of the predictions.

    Args:
        labels: (M,) int64 classes.
        masks: (M, h, w) float32, 0 or 1; they may overlap.
        semantic: (h, w) int64 class of each pixel; negative where there is none.
    """

    labels: Tensor
    masks: Tensor
    semantic: Tensor


@dataclass(frozen=True, eq=False)
class Match:
    """Pairs of a cluster and a true segment of one image.

    Args:
        clusters: (P,) int64.
        segments: (P,) int64.
        dice: (P,) float32 overlap of the pair's masks.
        probability: (P,) float32 of the segment's class.
    """

    clusters: Tensor
    segments: Tensor
    dice: Tensor
    probability: Tensor


@dataclass(frozen=True, eq=False)
class ClusterTargets:
    """What the losses of B images with N clusters compare with.

    Args:
        labels: (B, N) int64; K, void, for a cluster without segment.
        masks: (B, N, h, w) float32 share of each cluster in a pixel; the shares of a pixel sum to 1 or 0.
        is_void: (B, h, w) bool, pixels of no matched segment.
        class_weight: (B, N) float32.
        mask_weight: (B, N) float32.
        inverse_area: (B, h, w) float32, pixels of the image by those of the segment that a pixel belongs to.
        semantic: (B, h, w) int64; K where there is no class.
    """

    labels: Tensor
    masks: Tensor
    is_void: Tensor
    class_weight: Tensor
    mask_weight: Tensor
    inverse_area: Tensor
    semantic: Tensor


def true_segments(segments: Segments, size: tuple[int, int]) -> TrueSegments:
    """Every fourth row and column of the segments, with nothing beyond them to the right and below.

    Args:
        segments: S segments of an image of at most 4 h x 4 w pixels.
        size: h, w of the predictions.

    Raises:
        ValueError: the image is larger than the predictions reach.
    """
    masks = segments.masks[:, ::MASK_STRIDE, ::MASK_STRIDE]
    (h, w), (rows, columns) = size, masks.shape[1:]
    if rows > h or columns > w:
        raise ValueError(
            f"segments of {segments.masks.shape[1]} x {segments.masks.shape[2]} pixels need predictions of "
            f"{rows} x {columns}, got {h} x {w}"
        )
    masks = F.pad(masks, (0, w - columns, 0, h - rows))
    return TrueSegments(segments.labels, masks.float(), Segments(segments.labels, masks).classes(-1))


@torch.no_grad()
def match_clusters(logits: Tensor, masks: Tensor, truth: TrueSegments) -> Match:
    """The pairs whose products of overlap and class probability have the greatest sum.

    Args:
        logits: (N, K + 1) of classes, the last void.
        masks: (N, h, w) logits over the clusters.
        truth: M segments.

    Returns:
        min(N, M) pairs, in ascending order of clusters.
    """
    shares = masks.float().softmax(dim=0).flatten(1)                                       # (N, P)
    true = truth.masks.flatten(1)                                                          # (M, P)
    shares = shares * (true.sum(dim=0) > 0)
    sizes = (shares.sum(dim=1)[:, None] + true.sum(dim=1)) / 2
    dice = shares @ true.T / (sizes + EPS)                                                 # (N, M)
    probability = logits.float().softmax(dim=1)[:, truth.labels]                           # (N, M)
    clusters, segments = hungarian(-dice * probability)
    return Match(clusters, segments, dice[clusters, segments], probability[clusters, segments])


@torch.no_grad()
def cluster_targets(
    logits: Tensor, masks: Tensor, truths: Sequence[TrueSegments], matches: Sequence[Match]
) -> ClusterTargets:
    """Targets of a batch from the matches of its images.

    Args:
        logits: (B, N, K + 1).
        masks: (B, N, h, w) logits over the clusters.
        truths: of the B images.
        matches: of the B images.
    """
    B, N, void = *logits.shape[:2], logits.shape[2] - 1
    labels = torch.full((B, N), void, dtype=torch.int64, device=logits.device)
    owned = torch.zeros(masks.shape, dtype=torch.float32, device=masks.device)
    mask_weight = owned.new_zeros(B, N)
    matched_weight = owned.new_zeros(B, N)
    for image, (truth, match) in enumerate(zip(truths, matches, strict=True)):
        labels[image, match.clusters] = truth.labels[match.segments]
        owned[image, match.clusters] = truth.masks[match.segments]
        matched_weight[image, match.clusters] = match.dice.clamp(min=EPS)
        mask_weight[image, match.clusters] = match.probability.clamp(min=EPS)
    count = owned.sum(dim=1, keepdim=True)                                                 # (B, 1, h, w)
    owned = owned / count.clamp(min=1)
    is_void = count[:, 0] < 1
    shares = masks.float().softmax(dim=1)
    on_void = (shares * is_void[:, None]).sum(dim=(2, 3)) / (shares.sum(dim=(2, 3)) + EPS)
    class_weight = torch.where(labels == void, on_void.clamp(min=EPS), matched_weight)
    area = (owned * owned.sum(dim=(2, 3), keepdim=True)).sum(dim=1)                        # (B, h, w)
    inverse_area = area[0].numel() / area.clamp(min=1)
    semantic = torch.stack([truth.semantic for truth in truths])
    return ClusterTargets(
        labels, owned, is_void, class_weight, mask_weight, inverse_area, torch.where(semantic < 0, void, semantic)
    )
