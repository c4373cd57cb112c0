"""Matches predicted point sequences to true polylines and gives each its losses.

"MapTR: Structured Modeling and Learning for Online Vectorized HD Map Construction" (Liao et al., ICLR 2023), section 3.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from perception.structures import VectorMap

from ..losses.focal import sigmoid_focal_loss
from ..losses.polyline import direction_loss, point_l1
from ..matching.costs import focal_cost
from ..matching.hungarian import hungarian
from ..matching.point_orders import order_distances, padded_orders


@dataclass(frozen=True, eq=False)
class PointSetTargets:
    """The true lines of one frame: (P, orders, count, 2) in [0, 1] of the region, which exist, and (P,) labels."""

    orders: Tensor
    is_order: Tensor
    labels: Tensor


@dataclass(frozen=True, eq=False)
class PointSetMatch:
    """Matched pairs of one frame: queries and lines (M,) int64, and the order that each line was matched in."""

    queries: Tensor
    lines: Tensor
    order: Tensor


class PointSetCriterion:
    """Hungarian matching by class and nearest order, then focal, point and direction losses.

    Args:
        region: x min, y min, x max, y max [m].
        num_points: points a line.
        class_weight, point_weight, direction_weight: factors of the losses; the first two of the costs as well.
        alpha, gamma: of the focal loss and cost.
    """

    def __init__(
        self,
        region: Sequence[float],
        num_points: int,
        *,
        class_weight: float = 2.0,
        point_weight: float = 5.0,
        direction_weight: float = 0.005,
        alpha: float = 0.25,
        gamma: float = 2.0,
    ) -> None:
        self.region, self.num_points = tuple(float(value) for value in region), num_points
        self.class_weight, self.point_weight, self.direction_weight = class_weight, point_weight, direction_weight
        self.alpha, self.gamma = alpha, gamma

    def targets(self, truth: VectorMap, generator: torch.Generator | None = None) -> PointSetTargets:
        """Orders of the true lines, normalised to the region."""
        orders, is_order = padded_orders(truth.lines, self.num_points, self.region, generator)
        return PointSetTargets(self.normalised(orders).float(), is_order, truth.labels)

    def normalised(self, points: Tensor) -> Tensor:
        """Metres -> [0, 1] across the region."""
        return (points - points.new_tensor(self.region[:2])) / self._extent(points)

    def metric(self, points: Tensor) -> Tensor:
        """[0, 1] across the region -> metres."""
        return points * self._extent(points) + points.new_tensor(self.region[:2])

    @torch.no_grad()
    def match(self, logits: Tensor, points: Tensor, targets: PointSetTargets) -> PointSetMatch:
        """Pair Q queries, logits (Q, K) and points (Q, count, 2) in [0, 1], with the true lines."""
        distance, order = order_distances(points, targets.orders, targets.is_order).min(dim=2)      # (Q, P) both
        cost = self.class_weight * focal_cost(logits, targets.labels, self.alpha, self.gamma)
        queries, lines = hungarian(cost + self.point_weight * distance)
        return PointSetMatch(queries, lines, order[queries, lines])

    def sums(self, logits: Tensor, points: Tensor, targets: PointSetTargets, match: PointSetMatch) -> Tensor:
        """(3,) weighted class, point and direction loss of one frame, not yet divided by the number of pairs."""
        wanted = torch.zeros_like(logits)
        wanted[match.queries, targets.labels[match.lines]] = 1.0
        chosen, truth = points[match.queries], targets.orders[match.lines, match.order]             # (M, count, 2)
        return torch.stack([
            self.class_weight * sigmoid_focal_loss(logits, wanted, self.alpha, self.gamma),
            self.point_weight * point_l1(chosen, truth),
            self.direction_weight * direction_loss(self.metric(chosen), self.metric(truth)),
        ])

    def _extent(self, points: Tensor) -> Tensor:
        x0, y0, x1, y1 = self.region
        return points.new_tensor([x1 - x0, y1 - y0])
