"""The hierarchy decoder: queries of all scenes and hierarchies read an image (Clark et al., section 3.3).

Queries are (B, S, H, C): one a kind of scene and a hierarchy. The first layers let all of them see each other; in the
last ones only queries of one hierarchy do, and each hierarchy has a feed-forward network of its own.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import torch
from torch import Tensor, nn

from .layers import FeedForward, QueryAttention


class QueryLayer(nn.Module):
    """Self-attention of queries, cross-attention to image tokens and feed-forward, each normalised before.

    Args:
        channels: token width C.
        heads: attention heads.
        head_channels: width of a head.
        dropout: share of the values that are dropped in training.
    """

    def __init__(self, channels: int, *, heads: int, head_channels: int, dropout: float = 0.0) -> None:
        super().__init__()
        options: dict[str, Any] = {"heads": heads, "head_channels": head_channels, "dropout": dropout}
        self.norm_self = nn.LayerNorm(channels)
        self.self_attention = QueryAttention(channels, **options)
        self.norm_query = nn.LayerNorm(channels)
        self.norm_image = nn.LayerNorm(channels)
        self.cross_attention = QueryAttention(channels, **options)

    def forward(self, queries: Tensor, tokens: Tensor) -> Tensor:
        """Queries (B, S, H, C), image tokens (B, N, C) -> (B, S, H, C)."""
        shape = queries.shape[1:3]
        queries = queries + self.mix(self.norm_self(queries))
        image = self.norm_image(tokens)
        found = self.cross_attention(self.norm_query(queries).flatten(1, 2), image, image)             # (B, S * H, C)
        queries = queries + found.unflatten(1, shape)
        return queries + self.feed(queries)

    @abstractmethod
    def mix(self, queries: Tensor) -> Tensor:
        """Self-attention: (B, S, H, C) -> (B, S, H, C)."""

    @abstractmethod
    def feed(self, queries: Tensor) -> Tensor:
        """Norm and feed-forward: (B, S, H, C) -> (B, S, H, C)."""


class IndependentLayer(QueryLayer):
    """All queries see each other and share a feed-forward network; arguments as `QueryLayer`, and ``hidden``."""

    def __init__(
        self, channels: int, *, heads: int, head_channels: int, hidden: int, dropout: float = 0.0
    ) -> None:
        super().__init__(channels, heads=heads, head_channels=head_channels, dropout=dropout)
        self.norm_feed = nn.LayerNorm(channels)
        self.feed_forward = FeedForward(channels, hidden, dropout)

    def mix(self, queries: Tensor) -> Tensor:
        """Over all S * H queries."""
        flat = queries.flatten(1, 2)
        return self.self_attention(flat, flat, flat).unflatten(1, queries.shape[1:3])

    def feed(self, queries: Tensor) -> Tensor:
        """The same for all."""
        return self.feed_forward(self.norm_feed(queries))


class DependentLayer(QueryLayer):
    """Queries see those of their own hierarchy, which has a norm and a feed-forward network of its own.

    Arguments as `QueryLayer`, and ``hidden`` and ``num_hierarchies``.
    """

    def __init__(
        self, channels: int, num_hierarchies: int, *, heads: int, head_channels: int, hidden: int,
        dropout: float = 0.0,
    ) -> None:
        super().__init__(channels, heads=heads, head_channels=head_channels, dropout=dropout)
        self.norm_feed = nn.ModuleList(nn.LayerNorm(channels) for _ in range(num_hierarchies))
        self.feed_forward = nn.ModuleList(FeedForward(channels, hidden, dropout) for _ in range(num_hierarchies))

    def mix(self, queries: Tensor) -> Tensor:
        """Over the S queries of each hierarchy."""
        B, _, H, _ = queries.shape
        flat = queries.transpose(1, 2).flatten(0, 1)                               # (B * H, S, C)
        return self.self_attention(flat, flat, flat).unflatten(0, (B, H)).transpose(1, 2)

    def feed(self, queries: Tensor) -> Tensor:
        """By hierarchy."""
        parts = zip(queries.unbind(2), self.norm_feed, self.feed_forward, strict=True)
        return torch.stack([feed(norm(part)) for part, norm, feed in parts], dim=2)


class HierarchyDecoder(nn.Module):
    """Independent layers, then dependent ones.

    How the paper divides its eight layers is not known; five and three are our choice.

    Args:
        channels: token width C.
        num_hierarchies: H.
        heads: attention heads.
        head_channels: width of a head.
        hidden: width within the feed-forward networks.
        num_independent, num_dependent: layers of each kind.
        dropout: share of the values that are dropped in training.

    Raises:
        ValueError: there is no layer.
    """

    def __init__(
        self,
        channels: int,
        num_hierarchies: int,
        *,
        heads: int = 16,
        head_channels: int = 64,
        hidden: int = 1024,
        num_independent: int = 5,
        num_dependent: int = 3,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if min(num_independent, num_dependent) < 0 or num_independent + num_dependent < 1:
            raise ValueError(
                f"num_independent and num_dependent must be >= 0, and 1 together, got {num_independent} and "
                f"{num_dependent}"
            )
        options: dict[str, Any] = {
            "heads": heads, "head_channels": head_channels, "hidden": hidden, "dropout": dropout,
        }
        self.independent = nn.ModuleList(
            IndependentLayer(channels, **options) for _ in range(num_independent)
        )
        self.dependent = nn.ModuleList(
            DependentLayer(channels, num_hierarchies, **options) for _ in range(num_dependent)
        )

    def forward(self, queries: Tensor, tokens: Tensor) -> Tensor:
        """Queries (B, S, H, C), image tokens (B, N, C) -> (B, S, H, C)."""
        for layer in (*self.independent, *self.dependent):
            queries = layer(queries, tokens)
        return queries
