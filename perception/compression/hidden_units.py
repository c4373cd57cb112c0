"""How much each hidden unit of a feed-forward part, or each head of attention, weighs; and parts with fewer of them."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def unit_importance(fc1: Tensor, bias: Tensor | None, fc2: Tensor) -> Tensor:
    """(F,) length of all that belongs to a hidden unit: its row, its bias and its column behind.

    Args:
        fc1: (F, C) weight before the hidden units.
        bias: (F,) or None.
        fc2: (N, F) weight behind them.

    Raises:
        ValueError: the two have not the same hidden width.
    """
    if fc1.shape[0] != fc2.shape[1]:
        raise ValueError(f"the hidden widths differ: {fc1.shape[0]} rows and {fc2.shape[1]} columns")
    total = fc1.square().sum(dim=1) + fc2.square().sum(dim=0)
    return (total if bias is None else total + bias.square()).sqrt()


def head_importance(qkv: Tensor, bias: Tensor | None, out: Tensor, heads: int) -> Tensor:
    """(heads,) length of all that belongs to a head: rows (and biases) of queries, keys and values, output columns.

    Args:
        qkv: (3 C, K) weight, queries first, then keys, then values; each in heads.
        bias: (3 C,) or None.
        out: (N, C) weight of the output projection.
        heads: number of heads, a divisor of C.

    Raises:
        ValueError: the widths do not fit.
    """
    channels = out.shape[1]
    if channels % heads or qkv.shape[0] != 3 * channels:
        raise ValueError(f"expected 3 * {channels} rows in {heads} heads, got {qkv.shape[0]}")
    rows = qkv.square().sum(dim=1)
    rows = rows if bias is None else rows + bias.square()                                    # (3 C,)
    of_inputs = rows.view(3, heads, -1).sum(dim=(0, 2))
    return (of_inputs + out.square().sum(dim=0).view(heads, -1).sum(dim=1)).sqrt()


def most_important(importance: Tensor, count: int) -> Tensor:
    """(count,) int64 places of the largest entries, in their original order; of equal ones the first.

    Raises:
        ValueError: the count lies outside [1, number of entries].
    """
    if not 1 <= count <= len(importance):
        raise ValueError(f"count must lie in [1, {len(importance)}], got {count}")
    return importance.argsort(descending=True, stable=True)[:count].sort().values


@torch.no_grad()
def keep_units(fc1: nn.Linear, fc2: nn.Linear, kept: Tensor) -> None:
    """Drop all hidden units between two layers but those at places (K,), in place."""
    fc1.weight, fc2.weight = _like(fc1.weight, fc1.weight[kept]), _like(fc2.weight, fc2.weight[:, kept])
    if fc1.bias is not None:
        fc1.bias = _like(fc1.bias, fc1.bias[kept])
    fc1.out_features = fc2.in_features = len(kept)


def _like(parameter: Tensor, values: Tensor) -> nn.Parameter:
    return nn.Parameter(values.clone(), parameter.requires_grad)
