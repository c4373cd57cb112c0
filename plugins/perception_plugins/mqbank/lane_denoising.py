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
    """Cuts a part out of each true element, as the pieces of roads are parts of lanes, and moves and turns it.

    Args:
        shift: standard deviation along x and y [m].
        angle: standard deviation of the turn [degrees].
        least: the least share of an element that is left of it.

    Raises:
        ValueError: shift or angle is negative, or ``least`` does not lie in (0, 1].
    """

    shift: float = 1.5
    angle: float = 5.0
    least: float = 0.4

    def __post_init__(self) -> None:
        if min(self.shift, self.angle) < 0 or not 0 < self.least <= 1:
            raise ValueError(
                "shift and angle must be >= 0 and least in (0, 1], got "
                f"{self.shift}, {self.angle} and {self.least}"
            )

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
        centers, lefts, rights = self.moved(self.parts(lines, rng), rng).unbind(1)
        slots = torch.arange(len(order), device=device)
        return SDAnchors(kinds, centers, lefts, rights), Match(slots, order)

    def parts(self, lines: Tensor, rng: torch.Generator | None = None) -> Tensor:
        """(M, 3, K, 3) lines -> the same stretch of all three, brought to K points again."""
        M, _, K, _ = lines.shape
        share = self.least + (1 - self.least) * torch.rand(M, 1, generator=rng, device=lines.device)
        begin = (1 - share) * torch.rand(M, 1, generator=rng, device=lines.device)
        place = (begin + share * torch.linspace(0, 1, K, device=lines.device)) * (K - 1)     # (M, K) in points
        before = place.long().clamp(max=K - 2)
        rows = before[:, None, :, None].expand(-1, 3, -1, lines.shape[3])
        between = (place - before)[:, None, :, None].to(lines)
        return torch.lerp(lines.gather(2, rows), lines.gather(2, rows + 1), between)

    def moved(self, lines: Tensor, rng: torch.Generator | None = None) -> Tensor:
        """(M, 3, K, 3) centre, left and right lines [m] -> the same elsewhere, each element turned about its middle."""
        M, device = len(lines), lines.device
        turn = torch.randn(M, generator=rng, device=device) * math.radians(self.angle)
        step = torch.randn(M, 1, 1, 2, generator=rng, device=device) * self.shift
        cos, sin = turn.cos(), turn.sin()
        rotation = torch.stack([torch.stack([cos, -sin], dim=1), torch.stack([sin, cos], dim=1)], dim=1)   # (M, 2, 2)
        flat = lines[..., :2]
        middle = flat.mean(dim=(1, 2), keepdim=True)
        turned = torch.einsum("mij,mlkj->mlki", rotation.to(lines), flat - middle) + middle + step.to(lines)
        return torch.cat([turned, lines[..., 2:]], dim=3)
