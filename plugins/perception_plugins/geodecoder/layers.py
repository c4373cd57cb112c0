"""Attention and feed-forward parts of both decoders."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F


class QueryAttention(nn.Module):
    """Multi-head attention whose heads have a width of their own.

    Args:
        channels: token width C.
        heads: attention heads.
        head_channels: width D of a head.
        dropout: share of the outputs that are dropped in training.
        project: whether a linear layer joins the heads; without, ``heads * head_channels`` must be ``channels``.

    Raises:
        ValueError: nothing joins heads of another width than the tokens.
    """

    def __init__(
        self, channels: int, *, heads: int, head_channels: int, dropout: float = 0.0, project: bool = True
    ) -> None:
        super().__init__()
        inner = heads * head_channels
        if not project and inner != channels:
            raise ValueError(f"heads * head_channels must be channels ({channels}) without project, got {inner}")
        self.heads, self.dropout = heads, dropout
        self.to_q = nn.Linear(channels, inner, bias=False)
        self.to_k = nn.Linear(channels, inner, bias=False)
        self.to_v = nn.Linear(channels, inner, bias=False)
        self.to_out = nn.Linear(inner, channels) if project else nn.Identity()

    def forward(self, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        """Queries (B, Q, C), keys and values (B, N, C), not projected yet -> (B, Q, C)."""
        q, k, v = self._by_head(self.to_q(queries)), self._by_head(self.to_k(keys)), self._by_head(self.to_v(values))
        mixed = F.scaled_dot_product_attention(q, k, v)                            # (B, heads, Q, D)
        return F.dropout(self.to_out(mixed.transpose(1, 2).flatten(2)), self.dropout, self.training)

    def _by_head(self, tokens: Tensor) -> Tensor:
        return tokens.unflatten(2, (self.heads, -1)).transpose(1, 2)


class FeedForward(nn.Module):
    """Two linear layers with a GELU between; the residual is the caller's.

    Args:
        channels: token width C.
        hidden: width between the two.
        dropout: share of the values that are dropped after each layer in training.
    """

    def __init__(self, channels: int, hidden: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.fc1, self.fc2, self.dropout = nn.Linear(channels, hidden), nn.Linear(hidden, channels), dropout

    def forward(self, tokens: Tensor) -> Tensor:
        """(..., C) -> (..., C)."""
        hidden = F.dropout(F.gelu(self.fc1(tokens)), self.dropout, self.training)
        return F.dropout(self.fc2(hidden), self.dropout, self.training)
