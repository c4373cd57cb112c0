"""Which query of the detector stands for which true element."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from perception.models.matching.costs import focal_cost, giou_cost, l1_cost
from perception.models.matching.hungarian import hungarian

Pairs = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class MatchCosts:
    """Weights of the terms of the cost of a query and a true element.

    Args:
        classes: of the focal cost.
        keypoints: of the sum of absolute differences in cells of the canvas.
        overlap: of the negative generalised IoU; it counts for two keypoints only, which are a box.
        alpha, gamma: of the focal cost.
    """

    classes: float = 2.0
    keypoints: float = 0.1
    overlap: float = 1.0
    alpha: float = 0.25
    gamma: float = 2.0

    def terms(self, scores: Tensor, keypoints: Tensor, labels: Tensor, truth: Tensor) -> list[Tensor]:
        """The weighted terms, (Q, G) each: of the class, of the keypoints and, for boxes, of the overlap.

        Args:
            scores: (Q, K) logits.
            keypoints: (Q, 2 P).
            labels: (G,) int64.
            truth: (G, 2 P).
        """
        terms = [
            self.classes * focal_cost(scores, labels, self.alpha, self.gamma),
            self.keypoints * l1_cost(keypoints, truth),
        ]
        return [*terms, self.overlap * giou_cost(keypoints, truth)] if truth.shape[1] == 4 else terms

    @torch.no_grad()
    def pairs(self, scores: Tensor, keypoints: Tensor, labels: Tensor, truth: Tensor) -> Pairs:
        """Rows of queries and of true elements that belong together, (M,) each; arguments as of `terms`."""
        return hungarian(torch.stack(self.terms(scores.float(), keypoints.float(), labels, truth)).sum(dim=0))
