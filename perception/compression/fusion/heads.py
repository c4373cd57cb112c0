"""Attention heads matched as wholes, and the channels within each pair of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from .matching import Matching


def head_plans(costs: Sequence[Tensor], heads: tuple[int, int], matching: Matching) -> list[Tensor]:
    """Plans that take a head as one: what mixes heads, changes attention.

    Every pair of heads is matched channel by channel; what that costs, over all kinds of channels, is what one head
    costs for the other, by which heads are matched exactly. Queries and keys must be one kind with one cost: then
    q k^T is the same for channels in another order.

    Args:
        costs: of each kind of channels, (n0, n1) of h0 and h1 heads that lie one behind another.
        heads: h0 and h1.
        matching: of the channels; heads always have "emd".

    Returns:
        A plan (n0, n1) float64 of mass 1 for each kind.

    Raises:
        ValueError: a number of channels is not divisible by the heads.
    """
    for cost in costs:
        if cost.shape[0] % heads[0] or cost.shape[1] % heads[1]:
            raise ValueError(f"{tuple(cost.shape)} channels are not divisible by {heads} heads")
    blocks = [cost.unflatten(1, (heads[1], -1)).unflatten(0, (heads[0], -1)).transpose(1, 2) for cost in costs]
    inner = [_each(block, matching) for block in blocks]                                     # (h0, h1, D0, D1) each
    total = sum(
        ((block * plan).sum(dim=(2, 3)) for block, plan in zip(blocks, inner, strict=True)),
        start=torch.zeros(heads, dtype=torch.float64, device=costs[0].device),
    )                                                                                        # (h0, h1)
    pairs = replace(matching, solver="emd").plan(total)
    return [(pairs[:, :, None, None] * plan).transpose(1, 2).flatten(2).flatten(0, 1) for plan in inner]


def _each(block: Tensor, matching: Matching) -> Tensor:
    """Costs (h0, h1, D0, D1) -> a plan of mass 1 for each pair of heads."""
    return torch.stack([torch.stack([matching.plan(cost) for cost in row]) for row in block])
