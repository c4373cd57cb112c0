"""Greedy suppression as tensor algebra, shared by the NMS ops."""

from __future__ import annotations

import torch
from torch import Tensor


def best_first(scores: Tensor) -> Tensor:
    """(K,) int64, rows in descending score; equals keep their order."""
    return scores.argsort(descending=True, stable=True)


def native_scores(scores: Tensor) -> Tensor:
    """As the kernels read them: contiguous, float64 as it is and other dtypes in float32."""
    scores = scores.detach()
    return (scores if scores.dtype == torch.float64 else scores.float()).contiguous()


def squared_distances(a: Tensor, b: Tensor) -> Tensor:
    """(K, 2), (L, 2) -> (K, L), a coordinate at a time: quick, and exact for equal points."""
    return (a[:, 0, None] - b[:, 0]).square_().add_((a[:, 1, None] - b[:, 1]).square_())


def greedy_survivors(stronger: Tensor, weaker: Tensor, num_boxes: int) -> Tensor:
    """Boxes that no survivor suppresses, when each is visited in turn.

    Args:
        stronger: (E,) int64, ranks of the boxes that would suppress; each smaller than its partner.
        weaker: (E,) int64, ranks of the boxes that would be suppressed.
        num_boxes: number of ranks K.

    Returns:
        (K,) bool. A rank is settled once all stronger ones are, so the rounds end after the longest chain at most.
    """
    alive = torch.ones(num_boxes, dtype=torch.bool, device=stronger.device)
    while True:
        suppressed = torch.zeros_like(alive)
        suppressed[weaker[alive[stronger]]] = True
        if torch.equal(alive, ~suppressed):
            return alive
        alive = ~suppressed
