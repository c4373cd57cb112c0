"""Buckets of vectors by random rotations, and which tokens of a bucket lie in neighbouring chunks (Reformer)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


def hash_buckets(x: Tensor, rotations: Tensor, mask: Tensor | None = None) -> Tensor:
    """The largest of the rotated numbers and their negatives, the first one of equals.

    Args:
        x: (B, heads, N, D), float32 at least: near ties must fall alike in every run.
        rotations: (heads, R, D, buckets / 2).
        mask: (B, N) bool; where it is False the bucket is one behind all others.

    Returns:
        (B, heads, R, N) int64.
    """
    turned = x[:, :, None] @ rotations                                                         # (B, heads, R, N, b / 2)
    buckets = torch.cat([turned, -turned], dim=4).argmax(dim=4)
    return buckets if mask is None else buckets.masked_fill(~mask[:, None, None], 2 * rotations.shape[3])


@dataclass(frozen=True)
class ChunkedBuckets:
    """Tokens of R rounds sorted by bucket, then by place, and cut into chunks.

    Args:
        order: (B, heads, R, N) int64, the token at each rank.
        rank: (B, heads, R, N) int64, the rank of each token.
        code: (B, heads, R, N) int64; a token looks at those whose code is its own, or one less: they share its bucket
            and lie in its chunk or in the one before.
        chunk: tokens of a chunk, no more than there are.
    """

    order: Tensor
    rank: Tensor
    code: Tensor
    chunk: int

    @classmethod
    def of(cls, buckets: Tensor, chunk: int) -> ChunkedBuckets:
        """Sort ``buckets`` (B, heads, R, N) into chunks of so many tokens."""
        N = buckets.shape[3]
        chunk = max(min(chunk, N), 1)
        order = buckets.argsort(dim=3, stable=True)
        places = torch.arange(N, device=buckets.device).expand_as(order)
        rank = torch.empty_like(order).scatter_(3, order, places)
        rows = -(-N // chunk) + 1                    # one more than there are chunks: buckets lie two codes apart
        return cls(order, rank, buckets * rows + rank // chunk, chunk)
