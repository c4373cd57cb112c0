"""What it costs to take one unit for another: the distance of their features."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

KINDS = ("euclidean", "cosine")
NORMS = ("max", "mean", "median", "log", "none")
UNIT_EPS = 1e-9


@dataclass(frozen=True)
class GroundMetric:
    """How costs are computed.

    Args:
        kind: "euclidean", or "cosine", max(0, 1 - cos).
        squared: square the Euclidean distance.
        norm: divide costs by their "max", "mean" or "median", take "log" of 1 + cost, or "none".
        clip: bounds of the costs thereafter; None has none.

    Raises:
        ValueError: there is no such kind or norm, or the lower bound lies above the upper one.
    """

    kind: str = "euclidean"
    squared: bool = False
    norm: str = "max"
    clip: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"kind must be one of {', '.join(KINDS)}, got {self.kind!r}")
        if self.norm not in NORMS:
            raise ValueError(f"norm must be one of {', '.join(NORMS)}, got {self.norm!r}")
        if self.clip is not None and self.clip[0] > self.clip[1]:
            raise ValueError(f"clip must be a lower and an upper bound, got {self.clip}")

    def __call__(self, x: Tensor, y: Tensor) -> Tensor:
        """Features (n0, F) of model 0 and (n1, F) of the anchor -> costs (n0, n1) float32.

        Raises:
            ValueError: the features differ in number.
        """
        if x.shape[1] != y.shape[1]:
            raise ValueError(f"units are compared by equally many features, got {x.shape[1]} and {y.shape[1]}")
        return self.normalised(self._distance(x.double(), y.double())).float()

    def normalised(self, cost: Tensor) -> Tensor:
        """Costs of any shape, scaled and clipped; those of units that are all alike, which are 0, stay 0."""
        if self.norm == "log":
            cost = cost.log1p()
        elif self.norm != "none" and cost.numel():
            scale = cost.max() if self.norm == "max" else cost.mean() if self.norm == "mean" else cost.median()
            cost = cost / scale if scale > 0 else cost
        return cost if self.clip is None else cost.clamp(*self.clip)

    def _distance(self, x: Tensor, y: Tensor) -> Tensor:
        if self.kind == "cosine":
            return (1 - unit_rows(x) @ unit_rows(y).T).clamp(min=0)
        distance = torch.cdist(x, y, compute_mode="donot_use_mm_for_euclid_dist")
        return distance.square() if self.squared else distance


def unit_rows(x: Tensor) -> Tensor:
    """(n, F), each row divided by its length; zeros stay zeros."""
    return x / (x.norm(dim=1, keepdim=True) + UNIT_EPS)
