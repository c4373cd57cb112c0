"""Matching queries to true lanes and crossings, and what the matched and the others should have said.

"LaneSegNet" (Li et al., ICLR 2024), section 3.5, with the normalisers of the release.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from perception.models.losses.focal import sigmoid_focal_loss
from perception.models.losses.mask import dice_loss, mask_cross_entropy
from perception.models.losses.normalizers import sum_over_ranks, world_size
from perception.models.matching.costs import focal_cost, l1_cost
from perception.models.matching.hungarian import hungarian
from perception.models.matching.mask_costs import dice_cost, mask_entropy_cost

from .lane_targets import LANE, LaneTargets


@dataclass(frozen=True)
class LaneWeights:
    """Factors of the costs of a pair and of the losses; what is 0 is left out.

    Args:
        label: focal cost and loss of the class.
        line: sum of the absolute differences of all coordinates [1/m].
        mask: cross entropy of the instance mask.
        dice: dice cost and loss of the instance mask.
        line_type: cross entropy of the boundaries' types, a loss only.
        topology: focal loss of the lanes' connections, a loss only.
        raw_dice_cost: the dice cost takes logits as they are, as the release does; otherwise probabilities.
    """

    label: float = 1.5
    line: float = 0.025
    mask: float = 3.0
    dice: float = 3.0
    line_type: float = 0.1
    topology: float = 5.0
    raw_dice_cost: bool = True

    @property
    def needs_masks(self) -> bool:
        """Whether a cost or loss looks at the masks."""
        return self.mask > 0 or self.dice > 0


@dataclass(frozen=True)
class LaneMaps:
    """What a head says of every query, metres and logits.

    Args:
        query: (B, Q, C).
        centers, lefts, rights: (B, Q, K, 3) [m].
        logits: (B, Q, 2) of `LANE_CLASSES`, a sigmoid each.
        left_types, right_types: (B, Q, 3) of `LINE_TYPES`, a sigmoid each.
        masks: (B, Q, H, W) logits; None if nobody asked.
    """

    query: Tensor
    centers: Tensor
    lefts: Tensor
    rights: Tensor
    logits: Tensor
    left_types: Tensor
    right_types: Tensor
    masks: Tensor | None = None

    def lanes(self) -> Tensor:
        """(B, Q, 9 K) all coordinates: centre, left, right."""
        return torch.cat([self.centers, self.lefts, self.rights], dim=2).flatten(2)


@dataclass(frozen=True)
class Match:
    """Which query stands for which true element: (M,) int64 each."""

    query: Tensor
    truth: Tensor


@torch.no_grad()
def match(maps: LaneMaps, targets: Sequence[LaneTargets], weights: LaneWeights) -> list[Match]:
    """The cheapest assignment in each sample."""
    lanes = maps.lanes()
    matches = []
    for sample, target in enumerate(targets):
        cost = weights.label * focal_cost(maps.logits[sample].float(), target.labels)
        cost = cost + weights.line * l1_cost(lanes[sample], target.lanes())
        if weights.needs_masks and maps.masks is not None and target.masks is not None:
            logits, truth = maps.masks[sample].float().flatten(1), target.masks.flatten(1)
            cost = cost + weights.mask * mask_entropy_cost(logits, truth)
            cost = cost + weights.dice * dice_cost(logits if weights.raw_dice_cost else logits.sigmoid(), truth)
        matches.append(Match(*hungarian(cost)))
    return matches


def lane_losses(
    maps: LaneMaps, targets: Sequence[LaneTargets], matches: Sequence[Match], weights: LaneWeights
) -> dict[str, Tensor]:
    """Losses of one layer by name, summed over the batch and divided by the matched queries of all ranks.

    A batch without any true element has a class loss, and zeros of the others.
    """
    sample = torch.cat([torch.full_like(pair.query, number) for number, pair in enumerate(matches)])
    query = torch.cat([pair.query for pair in matches])
    truth = _pick(matches, [target.lanes() for target in targets])
    labels = _pick(matches, [target.labels for target in targets])
    count = sum_over_ranks(sample.new_tensor(len(sample)).float()).clamp(min=1.0) / world_size()

    wanted = torch.zeros_like(maps.logits)
    wanted[sample, query, labels] = 1.0
    losses = {"loss_label": weights.label * sigmoid_focal_loss(maps.logits.float(), wanted.float()) / count}
    losses["loss_line"] = weights.line * (maps.lanes()[sample, query] - truth).abs().sum() / count
    for side in ("left", "right"):
        logits: Tensor = getattr(maps, f"{side}_types")
        wanted = torch.zeros_like(logits)
        wanted[sample, query, _pick(matches, [getattr(target, f"{side}_types") for target in targets])] = 1.0
        entropy = F.binary_cross_entropy_with_logits(logits.float(), wanted.float(), reduction="sum")
        losses[f"loss_{side}_type"] = weights.line_type * entropy / count
    if weights.needs_masks and maps.masks is not None:
        masks = _pick(matches, [target.masks for target in targets if target.masks is not None])      # (M, H, W)
        losses |= _mask_losses(maps.masks[sample, query].float().flatten(1), masks.flatten(1), count, weights)
    return losses


def _mask_losses(logits: Tensor, masks: Tensor, count: Tensor, weights: LaneWeights) -> dict[str, Tensor]:
    entropy, dice = mask_cross_entropy(logits, masks), dice_loss(logits.sigmoid(), masks)
    return {"loss_mask": weights.mask * entropy.sum() / count, "loss_dice": weights.dice * dice.sum() / count}


def topology_loss(logits: Tensor, targets: Sequence[LaneTargets], matches: Sequence[Match]) -> Tensor:
    """Focal loss of the connections between matched lanes, divided by the pairs without one, as the release does.

    Args:
        logits: (B, Q, Q).
        targets: of B samples.
        matches: of the layer whose queries gave the logits.
    """
    total, without = logits.sum() * 0.0, logits.new_zeros(())
    for sample, (target, pair) in enumerate(zip(targets, matches, strict=True)):
        is_lane = target.labels[pair.truth] == LANE
        query, truth = pair.query[is_lane], pair.truth[is_lane]
        wanted = target.connections[truth][:, truth].to(logits.dtype)             # (M, M)
        total = total + sigmoid_focal_loss(logits[sample][query][:, query], wanted)
        without = without + (wanted == 0).sum()
    return total / (sum_over_ranks(without).clamp(min=1.0) / world_size())


def _pick(matches: Sequence[Match], values: Sequence[Tensor]) -> Tensor:
    """Rows of the matched true elements of all samples, in the order of the matches."""
    return torch.cat([value[pair.truth] for value, pair in zip(values, matches, strict=True)])
