"""Multi-head attention with one packed projection whose parts can be used, and kept, apart."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from perception_ops import lean_decode

from .top_k import top_k_attention


class PackedAttention(nn.Module):
    """Attention whose queries, keys and values come from three parts of one linear layer.

    The sum is that of `torch.nn.MultiheadAttention`; here a caller may project a memory once and use it many times.

    Args:
        channels: token width C; divisible by ``heads``.
        heads: attention heads.
        dropout: share of the attention weights that are dropped in training.
        qkv_bias: the projections to queries, keys and values have a bias.

    Raises:
        ValueError: ``channels`` is not divisible by ``heads``.
    """

    def __init__(self, channels: int, *, heads: int = 8, dropout: float = 0.0, qkv_bias: bool = True) -> None:
        super().__init__()
        if channels % heads:
            raise ValueError(f"channels ({channels}) must be divisible by heads ({heads})")
        self.channels, self.heads, self.dropout = channels, heads, dropout
        self.top_k: int | None = None              # see `mix`
        self.in_proj = nn.Linear(channels, 3 * channels, bias=qkv_bias)
        self.out_proj = nn.Linear(channels, channels)

    def project(self, tokens: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(N, T, C) -> queries, keys and values of the same tokens, (N, heads, T, D) each."""
        q, k, v = (self._by_head(part) for part in self.in_proj(tokens).chunk(3, dim=2))
        return q, k, v

    def query(self, tokens: Tensor) -> Tensor:
        """(N, T, C) -> (N, heads, T, D)."""
        return self._by_head(self._part(tokens, 0, 1))

    def query_key(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """(N, T, C) -> queries and keys, (N, heads, T, D) each."""
        q, k = (self._by_head(part) for part in self._part(tokens, 0, 2).chunk(2, dim=2))
        return q, k

    def value(self, tokens: Tensor) -> Tensor:
        """(N, T, C) -> (N, heads, T, D)."""
        return self._by_head(self._part(tokens, 2, 3))

    def key_value(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """(N, S, C) -> keys and values, (N, heads, S, D) each."""
        k, v = (self._by_head(part) for part in self._part(tokens, 1, 3).chunk(2, dim=2))
        return k, v

    def mix(self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None) -> Tensor:
        """Attend: (N, heads, T, D) queries, (N, heads, S, D) keys and values -> (N, T, C).

        ``mask`` is bool and broadcasts to (N, heads, T, S): True where a query may see a key. With ``self.top_k`` each
        query keeps that many weights, see `top_k_attention`, and none is dropped.
        """
        if self.top_k is not None:
            return self.out_proj(top_k_attention(query, key, value, self.top_k, mask).transpose(1, 2).flatten(2))
        dropout = self.dropout if self.training else 0.0
        mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=mask, dropout_p=dropout)
        return self.out_proj(mixed.transpose(1, 2).flatten(2))

    def decode(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """As `mix` without a mask, for a few queries and the keys and values of a cache, which are read in place.

        Not for training: nothing is dropped.
        """
        mixed = lean_decode(query.to(key.dtype), key, value)
        return self.out_proj(mixed.transpose(1, 2).flatten(2))

    def _part(self, tokens: Tensor, first: int, last: int) -> Tensor:
        width = self.in_proj.out_features // 3     # below the channels if heads have been pruned
        rows = slice(first * width, last * width)
        bias = self.in_proj.bias
        return F.linear(tokens, self.in_proj.weight[rows], None if bias is None else bias[rows])

    def _by_head(self, tokens: Tensor) -> Tensor:
        return tokens.unflatten(2, (self.heads, -1)).transpose(1, 2)
