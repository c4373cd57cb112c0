"""Matching queries to true regions, and what the matched and the others should have said.

"Masked-attention Mask Transformer for Universal Image Segmentation" (Cheng et al., CVPR 2022), section 3.3, which PEM
is trained as. Masks are compared at few points instead of all pixels, unless the config says otherwise.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from perception.models.losses.mask import dice_loss, mask_cross_entropy, most_uncertain, sample_points
from perception.models.losses.normalizers import sum_over_ranks, world_size
from perception.models.matching.hungarian import hungarian
from perception.models.matching.mask_costs import dice_cost, mask_entropy_cost
from perception.structures.segmentation import Segments

from .decoder import MaskPredictions

Draw = Callable[[tuple[int, ...], torch.device], Tensor]     # numbers in [0, 1) of a shape


def uniform(shape: tuple[int, ...], device: torch.device) -> Tensor:
    """Uniform numbers in [0, 1) of torch's own generator."""
    return torch.rand(shape, device=device)


@dataclass(frozen=True)
class MaskWeights:
    """Factors of costs, or of losses.

    Args:
        label: of the class: its score as a cost, the cross entropy as a loss.
        mask: of the binary cross entropy of the mask.
        dice: of one minus the dice coefficient of the mask.
    """

    label: float = 2.0
    mask: float = 5.0
    dice: float = 5.0


@dataclass(frozen=True)
class Match:
    """Which query stands for which true region of a picture: (M,) int64 each."""

    query: Tensor
    truth: Tensor


@dataclass(frozen=True)
class TrueRegions:
    """The true regions of a picture as predictions are compared with them.

    Args:
        labels: (S,) int64.
        cover: (S, H, W) float32 share of each cell, in [0, 1].
    """

    labels: Tensor
    cover: Tensor


class MaskLoss:
    """Losses of the classes and masks of queries.

    Args:
        num_classes: K.
        weights: arguments of the `MaskWeights` of the losses.
        cost: of those of the matching.
        no_object_weight: of the queries without a match in the cross entropy of the classes.
        num_points: at which masks are compared; 0 takes every cell of the predictions instead, and what share of it a
            true region covers: cheaper than points for small pictures, and nothing small is missed.
        oversampling: candidates of the points, in ``num_points``.
        uncertain_share: share of the points that are the least certain of the candidates; the rest is drawn anew.
        draw: gives the coordinates of points.

    Raises:
        ValueError: a number lies outside what it can be.
    """

    def __init__(
        self,
        num_classes: int,
        *,
        weights: Mapping[str, float] | None = None,
        cost: Mapping[str, float] | None = None,
        no_object_weight: float = 0.1,
        num_points: int = 12544,
        oversampling: float = 3.0,
        uncertain_share: float = 0.75,
        draw: Draw = uniform,
    ) -> None:
        if num_points < 0 or oversampling < 1.0 or not 0.0 <= uncertain_share <= 1.0:
            raise ValueError(
                "num_points must be at least 0, oversampling at least 1, and uncertain_share must lie in [0, 1], got "
                f"{num_points}, {oversampling} and {uncertain_share}"
            )
        self.num_classes, self.no_object_weight = num_classes, no_object_weight
        self.weights, self.cost = MaskWeights(**(weights or {})), MaskWeights(**(cost or {}))
        self.num_candidates, self.num_points = int(num_points * oversampling), num_points
        self.num_uncertain, self.draw = int(uncertain_share * num_points), draw

    def __call__(self, predictions: MaskPredictions, segments: Sequence[Segments]) -> dict[str, Tensor]:
        """Losses of the last stage ("loss_ce", "loss_mask", "loss_dice") and, with "_0" ..., of the others.

        Each stage is matched by itself. Pictures without a true region have a class loss alone.

        Args:
            predictions: of B pictures.
            segments: of the same pictures, each of the size that the network got, padding included.

        Raises:
            ValueError: the pictures differ in number or ratio of sides from the predictions, or a label is not one of
                the K classes.
        """
        self._check(predictions, segments)
        truths = self._regions(predictions, segments)
        losses = self._stage(predictions, truths)
        for number, stage in enumerate(predictions.auxiliary):
            losses |= {f"{name}_{number}": value for name, value in self._stage(stage, truths).items()}
        return losses

    @torch.no_grad()
    def match(self, predictions: MaskPredictions, segments: Sequence[Segments]) -> list[Match]:
        """The cheapest assignment in each picture, all its masks compared at the same places."""
        return self._match(predictions, self._regions(predictions, segments))

    def _regions(self, predictions: MaskPredictions, segments: Sequence[Segments]) -> list[TrueRegions]:
        covers = [truth.masks.float() for truth in segments]
        if self.num_points == 0:
            size = (predictions.masks.shape[2], predictions.masks.shape[3])
            covers = [F.adaptive_avg_pool2d(cover, size) for cover in covers]
        return [TrueRegions(truth.labels, cover) for truth, cover in zip(segments, covers, strict=True)]

    def _match(self, predictions: MaskPredictions, truths: Sequence[TrueRegions]) -> list[Match]:
        matches = []
        for logits, masks, truth in zip(predictions.logits, predictions.masks.float(), truths, strict=True):
            if self.num_points == 0:
                wanted, found = truth.cover.flatten(1), masks.flatten(1)                # (S, P), (Q, P)
            else:
                points = self.draw((1, self.num_points, 2), masks.device)
                wanted, found = sample_points(truth.cover[None], points)[0], sample_points(masks[None], points)[0]
            cost = self.cost.mask * mask_entropy_cost(found, wanted)
            cost = cost - self.cost.label * logits.float().softmax(dim=1)[:, truth.labels]
            cost = cost + self.cost.dice * dice_cost(found.sigmoid(), wanted)
            matches.append(Match(*hungarian(cost)))
        return matches

    def _stage(self, predictions: MaskPredictions, truths: Sequence[TrueRegions]) -> dict[str, Tensor]:
        with torch.no_grad():
            matches = self._match(predictions, truths)
        labels = predictions.logits.new_full(predictions.logits.shape[:2], self.num_classes, dtype=torch.int64)
        for row, pair, truth in zip(labels, matches, truths, strict=True):
            row[pair.query] = truth.labels[pair.truth]
        balance = predictions.logits.new_ones(self.num_classes + 1, dtype=torch.float32)
        balance[-1] = self.no_object_weight
        entropy = F.cross_entropy(predictions.logits.float().transpose(1, 2), labels, balance)
        return {"loss_ce": self.weights.label * entropy, **self._mask_losses(predictions.masks, truths, matches)}

    def _mask_losses(
        self, masks: Tensor, truths: Sequence[TrueRegions], matches: Sequence[Match]
    ) -> dict[str, Tensor]:
        regions = sum(len(truth.labels) for truth in truths)
        count = sum_over_ranks(masks.new_tensor(regions, dtype=torch.float32)).div(world_size()).clamp(min=1.0)
        found = torch.cat([rows[pair.query] for rows, pair in zip(masks, matches, strict=True)]).float()    # (M, h, w)
        truth = torch.cat([one.cover[pair.truth] for one, pair in zip(truths, matches, strict=True)])       # (M, H, W)
        if self.num_points == 0:
            logits, wanted = found.flatten(1), truth.flatten(1)                         # (M, P) each
        else:
            points = self._points(found)
            logits, wanted = (sample_points(maps[:, None], points)[:, 0] for maps in (found, truth))
        entropy, dice = mask_cross_entropy(logits, wanted), dice_loss(logits.sigmoid(), wanted)
        return {
            "loss_mask": self.weights.mask * entropy.sum() / count,
            "loss_dice": self.weights.dice * dice.sum() / count,
        }

    def _points(self, masks: Tensor) -> Tensor:
        """(M, P, 2) of each of M masks, most of them where it is uncertain."""
        candidates = self.draw((len(masks), self.num_candidates, 2), masks.device)
        uncertain = most_uncertain(masks, candidates, self.num_uncertain)
        others = self.draw((len(masks), self.num_points - self.num_uncertain, 2), masks.device)
        return torch.cat([uncertain, others], dim=1)

    def _check(self, predictions: MaskPredictions, segments: Sequence[Segments]) -> None:
        if len(segments) != len(predictions.masks):
            raise ValueError(f"segments must be of {len(predictions.masks)} pictures, got {len(segments)}")
        h, w = predictions.masks.shape[2:]
        for number, truth in enumerate(segments):
            H, W = truth.masks.shape[1:]
            if H * w != W * h:
                raise ValueError(
                    f"segments[{number}] must have the ratio of the predicted masks ({h}, {w}), got ({H}, {W}): "
                    "pad them as the pictures"
                )
            if len(truth) and not 0 <= int(truth.labels.min()) <= int(truth.labels.max()) < self.num_classes:
                raise ValueError(
                    f"segments[{number}].labels must lie in 0 to {self.num_classes - 1}, got {truth.labels.tolist()}"
                )
