"""True lanes out of place as further anchors: what becomes of each is known, so no matching has to settle first.

"DN-DETR: Accelerate DETR Training by Introducing Query DeNoising" (Li et al., CVPR 2022), for anchors that are lanes.
A navigation map's anchors err alike, so this is practice for them as well.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .lane_loss import Match
from .lane_targets import LANE, LaneTargets
from .sd_anchors import ANCHOR_CROSSING, ANCHOR_ROAD, SDAnchors


@dataclass(frozen=True)
class LaneDenoising:
    """Moves, turns and scales each true element in the xy plane.

    Args:
        shift: standard deviation along x and y [m].
        angle: standard deviation of the turn [degrees].
        scale: an element becomes so much longer or shorter at most, as a share.

    Raises:
        ValueError: one of them is negative.
    """

    shift: float = 1.5
    angle: float = 5.0
    scale: float = 0.3

    def __post_init__(self) -> None:
        if min(self.shift, self.angle, self.scale) < 0:
            raise ValueError(f"shift, angle and scale must be >= 0, got {self.shift}, {self.angle} and {self.scale}")

    def anchors(
        self, targets: Sequence[LaneTargets], most: int, rng: torch.Generator | None = None
    ) -> tuple[list[SDAnchors], list[Match]]:
        """Anchors of each sample in random order, at most ``most``, and the elements that they were."""
        found = [self._of_sample(sample, most, rng) for sample in targets]
        return [anchors for anchors, _ in found], [match for _, match in found]

    def _of_sample(self, truth: LaneTargets, most: int, rng: torch.Generator | None) -> tuple[SDAnchors, Match]:
        device = truth.labels.device
        order = torch.randperm(len(truth), generator=rng, device=device)[:most]
        lines = torch.stack([truth.centers, truth.lefts, truth.rights], dim=1)[order]        # (M, 3, K, 3)
        kinds = torch.where(truth.labels[order] == LANE, ANCHOR_ROAD, ANCHOR_CROSSING)
        centers, lefts, rights = self.moved(lines, rng).unbind(1)
        slots = torch.arange(len(order), device=device)
        return SDAnchors(kinds, centers, lefts, rights), Match(slots, order)

    def moved(self, lines: Tensor, rng: torch.Generator | None = None) -> Tensor:
        """(M, 3, K, 3) centre, left and right lines [m] -> the same out of place, each element about its own middle."""
        M, device = len(lines), lines.device
        turn = torch.randn(M, generator=rng, device=device) * math.radians(self.angle)
        factor = 1 + (2 * torch.rand(M, generator=rng, device=device) - 1) * self.scale
        step = torch.randn(M, 1, 1, 2, generator=rng, device=device) * self.shift
        cos, sin = turn.cos() * factor, turn.sin() * factor
        rotation = torch.stack([torch.stack([cos, -sin], dim=1), torch.stack([sin, cos], dim=1)], dim=1)   # (M, 2, 2)
        flat = lines[..., :2]
        middle = flat.mean(dim=(1, 2), keepdim=True)
        turned = torch.einsum("mij,mlkj->mlki", rotation.to(lines), flat - middle) + middle + step.to(lines)
        return torch.cat([turned, lines[..., 2:]], dim=3)
