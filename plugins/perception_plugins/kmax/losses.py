"""Losses of clusters against true segments, in the spirit of panoptic quality.

MaX-DeepLab (Wang et al., CVPR 2021), sections 3.2 and 3.4, as kMaX-DeepLab (Yu et al., ECCV 2022) weighs them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from .cluster_targets import EPS, ClusterTargets, TrueSegments, cluster_targets, match_clusters
from .predictor import ClusterPredictions

WEIGHTS = {
    "loss_ce": 3.0, "loss_mask": 0.3, "loss_dice": 3.0, "loss_pixel_insdis": 1.0, "loss_aux_semantic": 1.0,
}
CLASS_SHARE, VOID_SHARE = 0.75, 0.25                 # of real classes and void in the loss of classes
CONTRAST_TEMPERATURE = 0.3
NEVER = 99999.0                                      # taken off the logarithm of a weight


@dataclass(frozen=True)
class PixelSampling:
    """Which pixels a loss looks at.

    Args:
        count: pixels an image, at most; 0 takes all, without drawing.
        temperature: power of the inverse segment area that a pixel is drawn in proportion to.
    """

    count: int = 4096
    temperature: float = 1.5

    def __post_init__(self) -> None:
        if self.count < 0:
            raise ValueError(f"count must be a number of pixels >= 0, got {self.count}")


class KMaXLoss:
    """The weighted losses of the final predictions and, with the suffix _0, _1 ..., of the layers before.

    Args:
        weights: of the losses by name.
        pixels: `PixelSampling` of the contrastive loss, by its arguments.
        semantic: `PixelSampling` of the auxiliary semantic branch.
        share_matching: give the layers before the last the targets of the final predictions.
        area_power: of the inverse segment area, by which the mask loss weighs a pixel; 0, as published, weighs all
            alike, 1 all segments.
        draw: uniform numbers in (0, 1) of the shape, dtype and device of the tensor it gets.

    Raises:
        ValueError: a name of ``weights`` is unknown, or one is missing; or ``area_power`` lies outside [0, 1].
    """

    def __init__(
        self,
        *,
        weights: Mapping[str, float] = WEIGHTS,
        pixels: Mapping[str, Any] | None = None,
        semantic: Mapping[str, Any] | None = None,
        share_matching: bool = True,
        area_power: float = 0.0,
        draw: Callable[[Tensor], Tensor] = torch.rand_like,
    ) -> None:
        if set(weights) != set(WEIGHTS):
            raise ValueError(f"weights must name {', '.join(WEIGHTS)}, got {', '.join(weights)}")
        if not 0.0 <= area_power <= 1.0:
            raise ValueError(f"area_power must lie in [0, 1], got {area_power}")
        self.weights, self.share_matching, self.draw = dict(weights), share_matching, draw
        self.area_power = area_power
        self.pixels = PixelSampling(**(pixels or {}))
        self.semantic = PixelSampling(**{"temperature": 2.0, **(semantic or {})})

    def __call__(self, found: ClusterPredictions, truths: Sequence[TrueSegments]) -> dict[str, Tensor]:
        """Weighted losses by name, in float32; there is none of the semantic branch if it gave no logits."""
        with torch.autocast(found.masks.device.type, enabled=False):
            targets = targets_of(found, truths)
            losses = self._of_clusters(found, targets)
            if found.semantic is not None:
                losses["loss_aux_semantic"] = self._of_semantic_branch(
                    found.semantic.float(), targets, ignored=found.logits.shape[2] - 1
                )
            losses = {name: self.weights[name] * value for name, value in losses.items()}
            for layer, earlier in enumerate(found.auxiliary):
                own = targets if self.share_matching else targets_of(earlier, truths)
                for name, value in self._of_clusters(earlier, own).items():
                    losses[f"{name}_{layer}"] = self.weights[name] * value
        return losses

    def _of_clusters(self, found: ClusterPredictions, targets: ClusterTargets) -> dict[str, Tensor]:
        masks = found.masks.float()
        chosen = self._choose(targets.inverse_area.flatten(1), targets.is_void.flatten(1), self.pixels)
        return {
            "loss_ce": class_loss(found.logits.float(), targets),
            "loss_mask": mask_loss(masks, targets, self.area_power),
            "loss_dice": dice_loss(masks, targets),
            "loss_pixel_insdis": contrastive_loss(
                _at(found.pixels.float().flatten(2), chosen), _at(targets.masks.flatten(2), chosen)
            ),
        }

    def _of_semantic_branch(self, logits: Tensor, targets: ClusterTargets, ignored: int) -> Tensor:
        semantic, is_void, inverse_area = (
            thinned(plane, logits.shape[2:]).flatten(1)
            for plane in (targets.semantic, targets.is_void, targets.inverse_area)
        )
        chosen = self._choose(inverse_area, is_void, self.semantic)
        truth = semantic if chosen is None else semantic.gather(1, chosen)
        entropy = F.cross_entropy(_at(logits.flatten(2), chosen), truth, ignore_index=ignored, reduction="none")
        return nonzero_mean(entropy)

    def _choose(self, inverse_area: Tensor, is_void: Tensor, sampling: PixelSampling) -> Tensor | None:
        """(B, P) planes -> (B, k) int64 pixels, all different, void ones only if others are too few; None: all."""
        if sampling.count == 0:
            return None
        weights = sampling.temperature * inverse_area.log() - NEVER * is_void
        return gumbel_top_k(weights, min(sampling.count, weights.shape[1]), self.draw(weights))


def targets_of(found: ClusterPredictions, truths: Sequence[TrueSegments]) -> ClusterTargets:
    """Match the clusters of every image of a batch and derive their targets."""
    matches = [match_clusters(*image) for image in zip(found.logits, found.masks, truths, strict=True)]
    return cluster_targets(found.logits, found.masks, truths, matches)


def class_loss(logits: Tensor, targets: ClusterTargets) -> Tensor:
    """Cross entropy of the clusters' classes (B, N, K + 1), each weighted by how well its mask fits."""
    void = logits.shape[2] - 1
    entropy = F.cross_entropy(logits.transpose(1, 2), targets.labels, reduction="none")    # (B, N)
    share = torch.where(targets.labels == void, VOID_SHARE, CLASS_SHARE)
    return nonzero_mean(share * targets.class_weight * entropy)


def mask_loss(masks: Tensor, targets: ClusterTargets, area_power: float = 0.0) -> Tensor:
    """Cross entropy of the pixels' clusters (B, N, h, w), weighted by a power of the inverse segment area.

    Void pixels have none; the others' weights have the mean 1.
    """
    entropy = F.cross_entropy(masks, targets.masks, reduction="none")                      # (B, h, w)
    if area_power > 0.0:
        weight = (targets.inverse_area**area_power).masked_fill(targets.is_void, 0.0).flatten(1)
        entropy = entropy * (weight / nonzero_mean_of_rows(weight)[:, None].clamp(min=EPS)).view_as(entropy)
    return nonzero_mean(entropy.masked_fill(targets.is_void, 0.0).flatten(1))


def dice_loss(masks: Tensor, targets: ClusterTargets) -> Tensor:
    """One less the Dice coefficient of each matched cluster, weighted by the probability of its class."""
    shares = masks.softmax(dim=1) * ~targets.is_void[:, None]
    overlap = (shares * targets.masks).sum(dim=(2, 3))                                     # (B, N)
    sizes = shares.sum(dim=(2, 3)) + targets.masks.sum(dim=(2, 3))
    missed = 1 - (2 * overlap + 1) / (sizes + 1)
    return (missed * targets.mask_weight).sum(dim=1).mean() * (CLASS_SHARE / masks.shape[1])


def contrastive_loss(features: Tensor, owners: Tensor) -> Tensor:
    """Cross entropy of each pixel's likeness to every other against whether they share a cluster; itself included.

    Args:
        features: (B, D, k) unit vectors of the chosen pixels.
        owners: (B, N, k) shares of the clusters in them.
    """
    likeness = features.transpose(1, 2) @ features / CONTRAST_TEMPERATURE                  # (B, k, k)
    together = owners.transpose(1, 2) @ owners
    together = together / together.sum(dim=1, keepdim=True).clamp(min=1)
    return nonzero_mean(F.cross_entropy(likeness, together, reduction="none"))


def gumbel_top_k(weights: Tensor, count: int, uniform: Tensor) -> Tensor:
    """Draw without replacement, in proportion to the exponential of the weights.

    Kool et al., "Stochastic Beams and Where to Find Them", ICML 2019, section 2.3.

    Args:
        weights: (B, P) logarithms.
        count: k, at most P.
        uniform: (B, P) numbers in (0, 1).

    Returns:
        (B, k) int64.
    """
    return (weights - (-uniform.log()).log()).topk(count, dim=1).indices


def thinned(plane: Tensor, size: Sequence[int]) -> Tensor:
    """Every n-th row and m-th column of (B, H, W), from the first to the last that fit in ``size`` = h, w."""
    rows, columns = (
        max((full - 1) // (few - 1), 1) if few > 1 else full for full, few in zip(plane.shape[1:], size, strict=True)
    )
    return plane[:, ::rows, ::columns]


def nonzero_mean(values: Tensor) -> Tensor:
    """Mean of the entries of each row of (B, P) that are not 0, then of the rows."""
    return nonzero_mean_of_rows(values).mean()


def nonzero_mean_of_rows(values: Tensor) -> Tensor:
    """(B, P) -> (B,), 0 for a row of zeros."""
    return values.sum(dim=1) / values.ne(0).sum(dim=1).clamp(min=1)


def _at(maps: Tensor, chosen: Tensor | None) -> Tensor:
    """(B, C, P) at pixels (B, k) -> (B, C, k)."""
    return maps if chosen is None else maps.gather(2, chosen[:, None].expand(-1, maps.shape[1], -1))
