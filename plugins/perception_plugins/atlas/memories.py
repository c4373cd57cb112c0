"""What a memory of ATLAS is: a small network whose weights are the state, and the gradients that write into it.

Certain (ATLAS, sections 3 and 4): a deep memory over polynomial features, and a loss summed over a window. The skip of
the two-layer memory and the sharing of the coefficients among heads are interpretation; there is no official code.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

Product = Callable[[int, Tensor], Tensor]            # number of a weight, (B, heads, N, in) -> (B, heads, N, out)


class RankOne(NamedTuple):
    """Gradients of the loss of each token with respect to one weight: left_i right_i^T.

    Args:
        left: (B, heads, I, out).
        right: (B, heads, I, in).
    """

    left: Tensor
    right: Tensor


class Memory(Protocol):
    """A form of memory; its methods take tokens (B, heads, N, D), their features (B, heads, N, F) and weights."""

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the parameters that the weights begin with."""
        ...

    def shapes(self, width: int, features: int, hidden: int) -> tuple[tuple[int, int], ...]:
        """Rows and columns of each weight of a head."""
        ...

    def gradients(
        self, weights: Sequence[Tensor], keys: Tensor, features: Tensor, values: Tensor, importance: Tensor
    ) -> tuple[RankOne, ...]:
        """Of importance_i ||M(k_i) - v_i||^2 at weights (B, heads, out, in), for each; importance (B, heads, I)."""
        ...

    def read(self, product: Product, queries: Tensor, features: Tensor) -> Tensor:
        """M(q) (B, heads, N, D), where ``product`` multiplies a weight with each token's vector."""
        ...


class LinearMemory:
    """M(z) = W phi(z)."""

    names = ("mem_w",)

    def shapes(self, width: int, features: int, hidden: int) -> tuple[tuple[int, int], ...]:
        """One weight (D, F)."""
        return ((width, features),)

    def gradients(
        self, weights: Sequence[Tensor], keys: Tensor, features: Tensor, values: Tensor, importance: Tensor
    ) -> tuple[RankOne, ...]:
        """See `Memory`."""
        error = 2 * importance[..., None] * (features @ weights[0].mT - values)
        return (RankOne(error, features),)

    def read(self, product: Product, queries: Tensor, features: Tensor) -> Tensor:
        """See `Memory`."""
        return product(0, features)


class TwoLayerMemory:
    """M(z) = z + W2 GELU(W1 phi(z))."""

    names = ("mem_w1", "mem_w2")

    def shapes(self, width: int, features: int, hidden: int) -> tuple[tuple[int, int], ...]:
        """W1 (hidden, F) and W2 (D, hidden)."""
        return (hidden, features), (width, hidden)

    def gradients(
        self, weights: Sequence[Tensor], keys: Tensor, features: Tensor, values: Tensor, importance: Tensor
    ) -> tuple[RankOne, ...]:
        """See `Memory`."""
        first, second = weights
        before = features @ first.mT                                                       # (B, heads, I, hidden)
        hidden = F.gelu(before)
        error = 2 * importance[..., None] * (keys + hidden @ second.mT - values)           # (B, heads, I, D)
        return RankOne((error @ second) * gelu_slope(before), features), RankOne(error, hidden)

    def read(self, product: Product, queries: Tensor, features: Tensor) -> Tensor:
        """See `Memory`."""
        return queries + product(1, F.gelu(product(0, features)))


MEMORIES: dict[str, Memory] = {"mlp": TwoLayerMemory(), "linear": LinearMemory()}


def gelu_slope(x: Tensor) -> Tensor:
    """Derivative of the exact GELU."""
    bell = torch.exp(-0.5 * x.square()) / math.sqrt(2 * math.pi)
    return 0.5 * (1 + torch.erf(x / math.sqrt(2))) + x * bell


def polynomial_features(x: Tensor, coefficients: Tensor) -> Tensor:
    """[c0, c1 x, c2 vec(x x^T)], so that products of two are sums of c_i^2 (x.y)^i (ATLAS, section 3).

    Args:
        x: (..., D).
        coefficients: (degree + 1,), of degree 1 or 2.

    Returns:
        (..., 1 + D) or (..., 1 + D + D^2).
    """
    parts = [coefficients[0].expand(*x.shape[:-1], 1), coefficients[1] * x]
    if len(coefficients) > 2:
        parts.append(coefficients[2] * (x[..., :, None] * x[..., None, :]).flatten(-2))
    return torch.cat(parts, dim=-1)
