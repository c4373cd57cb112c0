"""Softmax attention within a band around the diagonal, in time and memory linear in the tokens."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

CHUNK = 32                                           # fewest queries that share a row of keys: products want some size
Shared = tuple[Tensor, Tensor, Tensor]


def banded_attention(
    q: Tensor, k: Tensor, v: Tensor, seen: Tensor, *, window: int, dilation: int = 1, causal: bool = False,
    shared: Shared | None = None,
) -> Tensor:
    """Query i attends to the keys at distances 0, dilation .. window * dilation on both sides, or on the left alone.

    Queries are cut into chunks, of each of the ``dilation`` interleaved rows, that overlap in their keys; no matrix of
    all pairs is formed. A query sees the key at its own place in any case, so that none is without.

    Args:
        q: (B, heads, N, D).
        k, v: (B, heads, window * dilation + N, D), of window * dilation places before the first query, too.
        seen: (B or 1, window * dilation + N) bool, False where there is no key.
        window: keys of one side.
        dilation: distance between two keys that a query sees.
        causal: keys of the left side alone.
        shared: keys and values (B, heads, g, D) that every query sees besides, and whether they are (B or 1, g).

    Returns:
        (B, heads, N, D).
    """
    B, N = q.shape[0], q.shape[2]
    length = max(-(-N // dilation), 1)               # of an interleaved row
    chunk = min(max(window, CHUNK), length)
    count = -(-length // chunk)
    reach = window if causal else 2 * window
    places = (count * chunk + reach) * dilation
    q = F.pad(q, (0, 0, 0, count * chunk * dilation - N)).unflatten(2, (count, chunk, dilation))
    q = q.permute(0, 4, 2, 1, 3, 5).flatten(0, 2)                                              # (B s T, heads, c, D)
    k, v = (
        _windows(F.pad(x, (0, 0, 0, places - x.shape[2])), chunk, reach, dilation).flatten(0, 2) for x in (k, v)
    )                                                                                          # (B s T, heads, K, D)
    seen = F.pad(seen, (0, places - seen.shape[1])).unflatten(1, (-1, dilation))
    seen = seen.unfold(1, chunk + reach, chunk).transpose(1, 2)                                # (B or 1, s, T, K)
    allowed = _band(chunk, window, reach, q.device, seen).expand(B, -1, -1, -1, -1).flatten(0, 2)
    if shared is not None:
        rows = count * dilation
        extra_k, extra_v = (x[:, None].expand(-1, rows, -1, -1, -1).flatten(0, 1) for x in shared[:2])
        extra = shared[2][:, None, None].expand(B, rows, chunk, -1).flatten(0, 1)
        k, v = torch.cat([k, extra_k], dim=2), torch.cat([v, extra_v], dim=2)
        allowed = torch.cat([allowed, extra], dim=2)                                           # (B s T, c, K + g)
    mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=allowed[:, None])                # (B s T, heads, c, D)
    mixed = mixed.unflatten(0, (B, dilation, count)).permute(0, 3, 2, 4, 1, 5)
    return mixed.flatten(2, 4)[:, :, :N]


def _windows(x: Tensor, chunk: int, reach: int, dilation: int) -> Tensor:
    """(B, heads, places, D) -> (B, s, T, heads, K, D): the keys of each chunk of each interleaved row."""
    return x.unflatten(2, (-1, dilation)).unfold(2, chunk + reach, chunk).permute(0, 3, 2, 1, 5, 4)


def _band(chunk: int, window: int, reach: int, device: torch.device, seen: Tensor) -> Tensor:
    """Which of the keys (.., K) of its chunk each query sees, (.., c, K)."""
    steps = torch.arange(chunk + reach, device=device) - torch.arange(chunk, device=device)[:, None]
    return (((steps >= 0) & (steps <= reach)) & seen[..., None, :]) | (steps == window)
