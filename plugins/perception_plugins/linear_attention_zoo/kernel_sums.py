"""Attention whose weights are products of features: sums over keys that are formed once for all queries."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

CHUNK = 64                                           # tokens whose weights are formed one by one in the causal form


def with_ones(v: Tensor, mask: Tensor | None) -> Tensor:
    """Values (B, heads, N, D) and a 1, so that sums of them have their weight as the last number.

    All are 0 where ``mask`` (B, N) is False: such a token then counts nowhere, whatever its features, if finite.
    """
    ones = torch.cat([v, v.new_ones(1).expand(*v.shape[:3], 1)], dim=3)                        # (B, heads, N, D + 1)
    return ones if mask is None else ones.masked_fill(~mask[:, None, :, None], 0.0)


def kernel_sums(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Sum over all j of (q_i . k_j) v_j, in time and memory linear in N.

    Args:
        q, k: (B, heads, N, F) features.
        v: (B, heads, N, E).

    Returns:
        (B, heads, N, E).
    """
    return q @ (k.mT @ v)


def causal_kernel_sums(q: Tensor, k: Tensor, v: Tensor, start: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Sum over j <= i of (q_i . k_j) v_j, likewise linear, without a loop over tokens.

    Chunks of tokens are summed by matrix products, and only sums of whole chunks are added up one after another.

    Args:
        q, k, v: see `kernel_sums`.
        start: (B, heads, F, E), the sum of k_j v_j^T of what came before.

    Returns:
        (B, heads, N, E), and the sum (B, heads, F, E) up to the last token.
    """
    tokens = q.shape[2]
    chunk = max(min(CHUNK, tokens), 1)
    count = max(-(-tokens // chunk), 1)
    q, k, v = (F.pad(x, (0, 0, 0, count * chunk - tokens)).unflatten(2, (count, chunk)) for x in (q, k, v))
    sums = (k.mT @ v).cumsum(dim=2)                                                            # (B, heads, T, F, E)
    sums = sums if start is None else sums + start[:, :, None]
    first = torch.zeros_like(sums[:, :, :1]) if start is None else start[:, :, None]
    before = torch.cat([first, sums[:, :, :-1]], dim=2)
    mixed = (q @ k.mT).tril() @ v + q @ before                                                 # (B, heads, T, chunk, E)
    return mixed.flatten(2, 3)[:, :, :tokens], sums[:, :, -1]
