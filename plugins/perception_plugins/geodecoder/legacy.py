"""The decoder of the authors' public code, which is older than the paper and differs from it."""

from __future__ import annotations

from typing import Any, cast

from torch import Tensor, nn

from .layers import FeedForward, QueryAttention


class LegacyLayer(nn.Module):
    """Cross-attention, self-attention and feed-forward of queries.

    Args:
        channels: token width C.
        heads: attention heads.
        head_channels: width of a head; nothing joins a single head that is as wide as the tokens.
        hidden: width within the feed-forward network.
        dropout: share of the values that are dropped in training.
    """

    def __init__(self, channels: int, *, heads: int, head_channels: int, hidden: int, dropout: float = 0.0) -> None:
        super().__init__()
        project = heads != 1 or head_channels != channels
        options: dict[str, Any] = {
            "heads": heads, "head_channels": head_channels, "dropout": dropout, "project": project,
        }
        self.norm_query = nn.LayerNorm(channels)
        self.cross_attention = QueryAttention(channels, **options)
        self.norm_self = nn.LayerNorm(channels)
        self.self_attention = QueryAttention(channels, **options)
        self.norm_feed = nn.LayerNorm(channels)
        self.feed_forward = FeedForward(channels, hidden, dropout)

    def forward(self, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        """Normalised queries (B, Q, C), normalised keys and values (B, N, C) -> (B, Q, C)."""
        x = self.norm_self(self.cross_attention(queries, keys, values) + queries)
        x = self.self_attention(x, x, x) + x
        return self.feed_forward(self.norm_feed(x)) + x


class LegacyDecoder(nn.Module):
    """Layers that all queries share, over image tokens that are normalised once.

    Args:
        channels: token width C.
        depth: layers, >= 1.
        heads: attention heads.
        head_channels: width of a head.
        hidden: width within the feed-forward networks.
        dropout: share of the values that are dropped in training.
        legacy_chain: as the public code runs: what a layer gives is not handed on, each one begins with the queries
            again (of which only the norms add up), so all layers but the last are nearly idle and learn nothing. For
            weights that were trained so; never for new trainings.

    Raises:
        ValueError: there is no layer.
    """

    def __init__(
        self,
        channels: int,
        *,
        depth: int = 6,
        heads: int = 12,
        head_channels: int = 64,
        hidden: int = 1024,
        dropout: float = 0.0,
        legacy_chain: bool = False,
    ) -> None:
        super().__init__()
        if depth < 1:
            raise ValueError(f"depth must be >= 1, got {depth}")
        self.legacy_chain = legacy_chain
        self.norm_key, self.norm_value = nn.LayerNorm(channels), nn.LayerNorm(channels)
        self.layers = nn.ModuleList(
            LegacyLayer(channels, heads=heads, head_channels=head_channels, hidden=hidden, dropout=dropout)
            for _ in range(depth)
        )

    def forward(self, queries: Tensor, tokens: Tensor) -> Tensor:
        """Queries (B, S, H, C), image tokens (B, N, C) -> (B, S, H, C)."""
        keys, values = self.norm_key(tokens), self.norm_value(tokens)
        x = queries.flatten(1, 2)
        *first, last = cast("list[LegacyLayer]", list(self.layers))
        for layer in first:
            x = layer.norm_query(x)
            x = x if self.legacy_chain else layer(x, keys, values)
        return last(last.norm_query(x), keys, values).unflatten(1, queries.shape[1:3])
