"""The map of a sum, from the maps of a residual stream and of the branch that is added to it."""

from __future__ import annotations

import torch
from torch import Tensor

POLICIES = ("no_resid", "only_resid", "mean", "resid_as_identity", "weighted_scalar", "weighted_matrix")


def combine(
    residual: Tensor, branch: Tensor, policy: str, acts: tuple[Tensor, Tensor] | None = None
) -> Tensor:
    """One map (n0, n1) for both.

    Args:
        residual: map of the stream, (n0, n1).
        branch: map of the branch, (n0, n1).
        policy: "no_resid" takes the branch's, "only_resid" the stream's, "mean" their average, "resid_as_identity" the
            identity; "weighted_scalar" weighs them by the mean absolute activations, "weighted_matrix" by those of each
            channel.
        acts: the anchor's activations (S, n1) of the stream and of the branch, which the last two need.

    Raises:
        ValueError: there is no such policy, or activations are missing.
    """
    if policy not in POLICIES:
        raise ValueError(f"policy must be one of {', '.join(POLICIES)}, got {policy!r}")
    if policy in ("no_resid", "only_resid"):
        return branch if policy == "no_resid" else residual
    if policy == "mean":
        return (residual + branch) / 2
    if policy == "resid_as_identity":
        return torch.eye(*residual.shape, dtype=residual.dtype, device=residual.device)
    if acts is None:
        raise ValueError(f'policy "{policy}" needs activations of the stream and of the branch, got None')
    dims = None if policy == "weighted_scalar" else 0
    r, s = (part.abs().mean(dim=dims) for part in acts)                                      # () or (n1,) each
    share = torch.where(r + s > 0, r / (r + s), 0.5)       # of a channel that is silent in both, half
    return residual * share + branch * (1 - share)
