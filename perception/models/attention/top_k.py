"""Attention that looks at a few keys only."""

from __future__ import annotations

import torch
from torch import Tensor


def keep_largest(weights: Tensor, top_k: int, *, renormalize: bool = False) -> Tensor:
    """Attention weights (..., T, S), all but the ``top_k`` largest of each query 0.

    AxFormer (2020), "selective hard attention": what is left is not brought back to a sum of 1, unless asked for.

    Args:
        weights: rows that sum to 1.
        top_k: keys that stay; all of them where there are fewer.
        renormalize: divide what is left by its sum.

    Raises:
        ValueError: ``top_k`` is below 1.
    """
    if top_k < 1:
        raise ValueError(f"top_k must be >= 1, got {top_k}")
    largest, places = weights.topk(min(top_k, weights.shape[-1]), dim=-1)
    if renormalize:
        largest = largest / largest.sum(dim=-1, keepdim=True).clamp(min=torch.finfo(weights.dtype).tiny)
    return torch.zeros_like(weights).scatter(-1, places, largest)


def top_k_attention(query: Tensor, key: Tensor, value: Tensor, top_k: int, mask: Tensor | None = None) -> Tensor:
    """Softmax attention with the ``top_k`` largest weights of each query, which are not renormalised; in float32.

    Args:
        query: (..., T, D).
        key: (..., S, D).
        value: (..., S, D).
        top_k: keys that stay.
        mask: bool, broadcasts to (..., T, S): True where a query may see a key; one that sees none gives 0.
    """
    scores = query.float() @ key.float().transpose(-1, -2) * query.shape[-1] ** -0.5         # (..., T, S)
    if mask is not None:
        scores = scores.masked_fill(~mask, -torch.inf)
    weights = scores.softmax(dim=-1)
    weights = weights if mask is None else weights.nan_to_num(0.0)
    return (keep_largest(weights, top_k) @ value.float()).to(value.dtype)
