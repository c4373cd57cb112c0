"""Transport maps from costs, by the solvers of POT (Python Optimal Transport)."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from perception.errors import MissingExtraError

from .ground_metric import GroundMetric

SOLVERS = ("emd", "sinkhorn", "sinkhorn_for_widening")
SCALES = ("code", "paper", "balanced")
MASS_TOLERANCE = 1e-3                              # beyond it the plain iteration has under- or overflowed


@dataclass(frozen=True)
class Matching:
    """How the units of two layers are matched.

    Args:
        metric: the costs.
        solver: "emd", exact, which matches units one to one where they are as many; "sinkhorn", softened by entropy;
            "sinkhorn_for_widening", the latter where the costs have more rows or columns than the map of the inputs.
        reg: weight of the entropy (published: 0.08 for activations, 0.06 for weights).
        scale: what a plan P of mass 1 becomes; all three are the same for equal widths. "code", as released: n0 P,
            which scales the weights of narrowed layers by n0 / n1. "paper": n1 P, convex combinations of units.
            "balanced", our own: like "paper" for what a layer gives, and with rows that sum to 1 for what it reads, so
            that two units which become one are read with the sum of their weights.

    Raises:
        ValueError: there is no such solver or scale, or ``reg`` is not positive.
    """

    metric: GroundMetric = field(default_factory=GroundMetric)
    solver: str = "sinkhorn"
    reg: float = 0.08
    scale: str = "balanced"

    def __post_init__(self) -> None:
        if self.solver not in SOLVERS:
            raise ValueError(f"solver must be one of {', '.join(SOLVERS)}, got {self.solver!r}")
        if self.scale not in SCALES:
            raise ValueError(f"scale must be one of {', '.join(SCALES)}, got {self.scale!r}")
        if self.reg <= 0:
            raise ValueError(f"reg must be > 0, got {self.reg}")

    def plan(self, cost: Tensor, incoming: Tensor | None = None) -> Tensor:
        """Costs (n0, n1) -> a plan (n0, n1) float64 of mass 1 with uniform marginals.

        Args:
            cost: finite, >= 0.
            incoming: map of the inputs, whose shape "sinkhorn_for_widening" looks at; without it that is "emd".

        Raises:
            MissingExtraError: POT is not installed.
        """
        widens = incoming is not None and (cost.shape[0] > incoming.shape[0] or cost.shape[1] > incoming.shape[1])
        is_soft = self.solver == "sinkhorn" or (self.solver == "sinkhorn_for_widening" and widens)
        rows, columns = (np.full(size, 1.0 / size) for size in cost.shape)
        costs = cost.detach().cpu().numpy()
        plan = _sinkhorn(rows, columns, costs, self.reg) if is_soft else _pot().emd(rows, columns, costs)
        return torch.from_numpy(np.asarray(plan, np.float64)).to(cost.device)

    def transport(self, cost: Tensor, incoming: Tensor | None = None) -> Tensor:
        """Costs (n0, n1) -> the map T (n0, n1) float32 of what a layer gives; arguments and errors as for `plan`."""
        return self.scaled(self.plan(cost, incoming))

    def scaled(self, plan: Tensor) -> Tensor:
        """A plan (n0, n1) of mass 1 as the map T float32 of what a layer gives."""
        return (plan * plan.shape[0 if self.scale == "code" else 1]).float()

    def incoming(self, transport: Tensor) -> Tensor:
        """The map T (n0, n1) as it is applied to what the next layer reads."""
        return transport * (transport.shape[0] / transport.shape[1]) if self.scale == "balanced" else transport


def _sinkhorn(rows: np.ndarray, columns: np.ndarray, costs: np.ndarray, reg: float) -> np.ndarray:
    """Sinkhorn's plan; in the log domain where a small ``reg`` is too much for the plain iteration."""
    solve = _pot().bregman.sinkhorn
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")                    # it tells of every iteration that it did not converge in
        plan = solve(rows, columns, costs, reg)
        if np.isfinite(plan).all() and abs(plan.sum() - 1.0) < MASS_TOLERANCE:
            return plan
        return solve(rows, columns, costs.astype(np.float64), reg, method="sinkhorn_log")


def _pot() -> Any:
    try:
        import ot
    except ImportError as error:
        raise MissingExtraError("compress", "optimal transport") from error
    return ot
