"""The point sequences that describe one and the same polyline, for permutation-equivalent matching.

"MapTR: Structured Modeling and Learning for Online Vectorized HD Map Construction" (Liao et al., ICLR 2023), 3.1.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from perception.structures import Polylines
from perception.structures.polylines import resample_line


def equivalent_orders(line: Tensor, count: int) -> Tensor:
    """All sequences of ``count`` equally spaced points that stand for a polyline (V, D).

    An open line reads forwards and backwards. A closed one (its first vertex repeated at its end) may begin at any of
    its n vertices, in its own direction: order k begins at vertex (n - k) mod n.

    Returns:
        (2 or n, count, D).
    """
    if len(line) < 4 or not torch.equal(line[0], line[-1]):
        forward = resample_line(line, count)
        return torch.stack([forward, forward.flip(0)])
    ring = line[:-1]
    turned = [ring.roll(k, dims=0) for k in range(len(ring))]
    return torch.stack([resample_line(torch.cat([start, start[:1]]), count) for start in turned])


def padded_orders(
    lines: Polylines, count: int, region: Sequence[float], generator: torch.Generator | None = None
) -> tuple[Tensor, Tensor]:
    """The orders of several lines in one tensor; at most ``count - 1`` of a line, a random choice of those beyond.

    Args:
        lines: P polylines [m].
        count: points a line.
        region: x min, y min, x max, y max [m]; points are clamped into it.
        generator: draws the choice.

    Returns:
        orders: (P, count - 1, count, 2) [m]; zeros where a line has fewer orders.
        is_order: (P, count - 1) bool, which of them exist.
    """
    most = count - 1
    orders = lines.vertices.new_zeros(len(lines), most, count, 2)
    is_order = torch.zeros(len(lines), most, dtype=torch.bool, device=orders.device)
    for row, line in enumerate(lines):
        found = equivalent_orders(line[:, :2], count)
        if len(found) > most:
            found = found[torch.randperm(len(found), generator=generator)[:most].to(found.device)]
        orders[row, : len(found)] = found
        is_order[row, : len(found)] = True
    low, high = orders.new_tensor(region[:2]), orders.new_tensor(region[2:])
    return torch.minimum(torch.maximum(orders, low), high), is_order


def order_distances(points: Tensor, orders: Tensor, is_order: Tensor) -> Tensor:
    """(Q, P, orders) summed L1 distance of Q sequences (Q, count, 2) to every order; infinite where there is none."""
    distances = torch.cdist(points.flatten(1), orders.flatten(2).flatten(0, 1), p=1)       # (Q, P * orders)
    return distances.view(len(points), *orders.shape[:2]).masked_fill(~is_order, torch.inf)
