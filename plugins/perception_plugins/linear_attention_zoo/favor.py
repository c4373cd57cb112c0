"""Sums of values weighed by random features of queries and keys (FAVOR+), which go on from a state.

Values come with a 1 behind them, see `with_ones`, so that the sum of the weights is the last number of a sum.
"""

from __future__ import annotations

import torch
from torch import Tensor

from perception.models.mixers.traits import State

from .kernel_sums import causal_kernel_sums

LOWEST = -60.0                                       # exp of it, times `eps` and a feature, is above 0 in float32


class SoftmaxFeatures:
    """Features exp(w . x - |x|^2 / 2 - largest) + `eps`, whose products estimate exp(q . k) up to a factor a query.

    A query has a largest w . x of its own, keys have one together. Keys are summed without eps, in units of the
    exponential of the largest so far, and the values by themselves, so that a later, larger one can still be taken.
    Arguments are q and k (B, heads, N, D), scaled; v (B, heads, N, E), 0 where a token does not count; the mask (B, N)
    of those that do, or None; the directions w, omega (m, D). The state has ``sums`` (B, heads, m, E), ``values`` (B,
    heads, 1, E) and ``largest`` (B, heads, 1, 1).
    """

    eps = 1e-4

    def queries(self, q: Tensor, omega: Tensor) -> Tensor:
        """(B, heads, N, D) -> (B, heads, N, m)."""
        products = q @ omega.mT
        return (products - (half_square(q) + products.amax(dim=3, keepdim=True))).exp_() + self.eps

    def keys(self, k: Tensor, omega: Tensor, mask: Tensor | None, before: Tensor) -> tuple[Tensor, Tensor]:
        """Features (B, heads, N, m) without `eps`; ``before`` and the largest of each key, (B, heads, 1 + N, 1)."""
        products = k @ omega.mT
        if mask is not None:
            products = products.masked_fill(~mask[:, None, :, None], -torch.inf)
        largest = torch.cat([before, products.amax(dim=3, keepdim=True)], dim=2)
        return (products - (half_square(k) + largest.amax(dim=2, keepdim=True))).exp_(), largest

    def start(self, v: Tensor, omega: Tensor) -> State:
        """The state before the first of the values."""
        sums = v.new_zeros(v.shape[0], v.shape[1], len(omega), v.shape[3])
        lowest = torch.full_like(sums[:, :, :1, :1], torch.finfo(v.dtype).min)
        return {"sums": sums, "values": sums[:, :, :1], "largest": lowest}

    def absorb(self, k: Tensor, v: Tensor, omega: Tensor, mask: Tensor | None, state: State) -> State:
        """The state behind more keys and values."""
        features, largest = self.keys(k, omega, mask, state["largest"])
        top = largest.amax(dim=2, keepdim=True)
        sums = state["sums"] * (state["largest"] - top).exp() + features.mT @ v
        return {"sums": sums, "values": state["values"] + v.sum(dim=2, keepdim=True), "largest": top}

    def read(self, q: Tensor, omega: Tensor, state: State) -> Tensor:
        """What queries see of all that the state holds, (B, heads, N, E)."""
        return self.queries(q, omega) @ (state["sums"] + self.eps * state["values"])

    def advance(
        self, q: Tensor, k: Tensor, v: Tensor, omega: Tensor, mask: Tensor | None, state: State
    ) -> tuple[Tensor, State]:
        """What queries see of the state and of the new keys up to their own place, and the state behind these."""
        q, (features, largest) = self.queries(q, omega), self.keys(k, omega, mask, state["largest"])
        top = largest.amax(dim=2, keepdim=True)
        start = state["sums"] * (state["largest"] - top).exp()
        total, sums = causal_kernel_sums(q, features, v, start)
        values = state["values"] + v.cumsum(dim=2)                                             # (B, heads, N, E)
        share = (largest.cummax(dim=2).values[:, :, 1:] - top).clamp(min=LOWEST).exp()
        total = total + self.eps * share * q.sum(dim=3, keepdim=True) * values
        return total, {"sums": sums, "values": values[:, :, -1:], "largest": top}


class ReluFeatures(SoftmaxFeatures):
    """Features relu(w . x) + `eps`, which have no unit: nothing is the largest."""

    eps = 1e-3

    def queries(self, q: Tensor, omega: Tensor) -> Tensor:
        """(B, heads, N, D) -> (B, heads, N, m)."""
        return (q @ omega.mT).relu() + self.eps

    def keys(self, k: Tensor, omega: Tensor, mask: Tensor | None, before: Tensor) -> tuple[Tensor, Tensor]:
        """Features (B, heads, N, m) without `eps`, and ``before`` (B, heads, 1 + N, 1) as it was."""
        return (k @ omega.mT).relu(), before.expand(-1, -1, 1 + k.shape[2], -1)


def half_square(x: Tensor) -> Tensor:
    """(.., D) -> (.., 1), |x|^2 / 2."""
    return x.square().sum(dim=-1, keepdim=True) / 2
