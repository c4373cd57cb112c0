"""Queries, keys and values of decode attention, and the table reads, for tests of their kernels."""

from __future__ import annotations

import torch
from torch import Tensor

CLOSE = {torch.float32: 2e-6, torch.bfloat16: 2e-2, torch.float16: 2e-3, torch.float64: 1e-12}


def decode_inputs(
    batch: int, heads: int, key_heads: int, queries: int, keys: int, width: int, dtype: torch.dtype = torch.float32
) -> tuple[Tensor, Tensor, Tensor]:
    """q (B, H, S, d) and, in a cache with room to spare, k and v (B, Hk, T, d)."""
    draw = torch.Generator().manual_seed(batch + heads + keys)
    q = torch.randn(batch, heads, queries, width, generator=draw, dtype=torch.float64).to(dtype)
    room = torch.randn(2, batch, key_heads, keys + 3, width, generator=draw, dtype=torch.float64).to(dtype)
    return q, room[0, :, :, :keys], room[1, :, :, :keys]


def plain_attention(
    q: Tensor, k: Tensor, v: Tensor, kv_len: Tensor | None = None, mask: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """The slow obvious form in float64: output (B, H, S, d) and logarithm of the sum (B, H, S)."""
    shared = q.shape[1] // k.shape[1]
    q, k, v = q.double(), k.double().repeat_interleave(shared, 1), v.double().repeat_interleave(shared, 1)
    logits = q @ k.transpose(2, 3) * q.shape[3] ** -0.5
    if kv_len is not None:
        logits = logits.masked_fill(torch.arange(k.shape[2]) >= kv_len[:, None, None, None], -torch.inf)
    if mask is not None:
        logits = logits.masked_fill(~mask, -torch.inf)
    return logits.softmax(3).nan_to_num(0.0) @ v, logits.logsumexp(3)


def lookup_inputs(
    tokens: int, tables: int, each: int, channels: int, dtype: torch.dtype = torch.float32
) -> tuple[Tensor, Tensor, Tensor]:
    """scores (M, K), codes (M, K) of which many are equal, tables (K * R, C)."""
    draw = torch.Generator().manual_seed(tokens + channels)
    scores = torch.randn(tokens, tables, generator=draw).to(dtype)
    codes = torch.randint(each, (tokens, tables), generator=draw) // 2 * 2 % each
    return scores, codes, torch.randn(tables * each, channels, generator=draw).to(dtype)


def plain_lookup(scores: Tensor, codes: Tensor, tables: Tensor) -> Tensor:
    """The slow obvious form in float64, (M, C)."""
    each = len(tables) // codes.shape[1]
    rows = torch.zeros(len(codes), tables.shape[1], dtype=torch.float64)
    for m, (score, code) in enumerate(zip(scores.double(), codes.tolist(), strict=True)):
        for j, row in enumerate(code):
            rows[m] += score[j] * tables[j * each + row].double()
    return rows
