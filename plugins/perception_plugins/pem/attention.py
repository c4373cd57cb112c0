"""Attention that reads one pixel a query and head: the one most similar to the query, its prototype.

"PEM: Prototype-based Efficient MaskFormer for Image Segmentation" (Cavagnero et al., CVPR 2024), section 3.2.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class PrototypeAttention(nn.Module):
    """Picks a prototype for every query and head, and lets the query speak to it; without a sum over pixels.

    The answer is normalised over the queries, so each depends on all others and on their number.

    Args:
        channels: width C of queries and memory.
        heads: parts of the channels that choose a pixel each.

    Raises:
        ValueError: ``channels`` is not divisible by ``heads``.
    """

    def __init__(self, channels: int, *, heads: int = 8) -> None:
        super().__init__()
        if channels % heads:
            raise ValueError(f"channels ({channels}) must be divisible by heads ({heads})")
        self.heads = heads
        self.memory_norm = nn.BatchNorm2d(channels)
        self.memory_conv = nn.Conv2d(channels, channels, 3, padding=1, groups=channels)
        self.memory_proj = nn.Linear(channels, channels)
        self.query_norm = nn.LayerNorm(channels)
        self.query_proj = nn.Linear(channels, channels)
        self.proj = nn.Linear(channels, channels)
        self.output_proj = nn.Linear(channels, channels)
        self.alpha = nn.Parameter(torch.ones(1, 1, channels))

    def tokens_of_memory(self, memory: Tensor) -> Tensor:
        """(B, C, H, W), position code added already -> (B, H * W, C) of length one."""
        read = self.memory_conv(self.memory_norm(memory))
        return F.normalize(self.memory_proj(read.flatten(2).transpose(1, 2)).float(), dim=2)

    def tokens_of_query(self, query: Tensor) -> Tensor:
        """(B, Q, C), position code added already -> (B, Q, C) of length one."""
        return F.normalize(self.query_proj(self.query_norm(query)).float(), dim=2)

    @torch.no_grad()
    def choose(self, query: Tensor, memory: Tensor, hidden: Tensor | None = None) -> Tensor:
        """The most similar pixel for every query and head.

        Args:
            query: (B, Q, C) of `tokens_of_query`.
            memory: (B, N, C) of `tokens_of_memory`.
            hidden: (B, Q, N) bool, pixels that a query may not choose. A query without a choice gets pixel 0. A picture
                in which no query has any is treated as if nothing were hidden.

        Returns:
            (B, heads, Q) int64 in [0, N); the first of equals.
        """
        similarity = self._by_head(query) @ self._by_head(memory).transpose(2, 3)       # (B, heads, Q, N)
        if hidden is not None:
            hidden = hidden & ~hidden.flatten(1).all(dim=1)[:, None, None]
            similarity = similarity.masked_fill(hidden[:, None], -torch.inf)
        return similarity.argmax(dim=3)

    def pick(self, memory: Tensor, index: Tensor) -> Tensor:
        """(B, N, C) tokens and (B, heads, Q) pixels -> (B, Q, C) prototypes, the heads' parts side by side."""
        by_head = self._by_head(memory)                                                 # (B, heads, N, D)
        chosen = by_head.gather(2, index[..., None].expand(-1, -1, -1, by_head.shape[3]))
        return chosen.transpose(1, 2).flatten(2)

    def forward(self, query: Tensor, query_code: Tensor, memory: Tensor, hidden: Tensor | None = None) -> Tensor:
        """Let every query read its prototypes.

        Args:
            query: (B, Q, C).
            query_code: (Q, C) position codes of the queries.
            memory: (B, C, H, W), position code added already.
            hidden: (B, Q, H * W) bool, see `choose`.

        Returns:
            (B, Q, C), the query added.
        """
        tokens, asked = self.tokens_of_memory(memory), self.tokens_of_query(query + query_code)
        prototypes = self.pick(tokens, self.choose(asked, tokens, hidden))
        answer = F.normalize(self.proj(prototypes * asked).float(), dim=1)              # over the queries
        return self.output_proj(answer * self.alpha + prototypes) + query

    def _by_head(self, tokens: Tensor) -> Tensor:
        """(B, T, C) -> (B, heads, T, D)."""
        return tokens.unflatten(2, (self.heads, -1)).transpose(1, 2)
