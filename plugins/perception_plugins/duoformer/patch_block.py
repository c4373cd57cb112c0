"""Attention among regions (DuoFormer, section 3)."""

from __future__ import annotations

from torch import Tensor, nn

from perception.models.attention.packed import PackedAttention


class PatchAttention(PackedAttention):
    """Multi-head self-attention whose queries and keys may be normalised.

    Args:
        channels: token width D; divisible by ``heads``.
        heads: attention heads.
        dropout: share of the attention weights that are dropped in training.
        qk_norm: layer normalisation of queries and keys over the channels of each head.
    """

    def __init__(self, channels: int, *, heads: int = 8, dropout: float = 0.0, qk_norm: bool = False) -> None:
        super().__init__(channels, heads=heads, dropout=dropout)
        self.q_norm: nn.Module = nn.LayerNorm(channels // heads) if qk_norm else nn.Identity()
        self.k_norm: nn.Module = nn.LayerNorm(channels // heads) if qk_norm else nn.Identity()

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, N, D) -> (B, N, D)."""
        query, key, value = self.project(tokens)
        return self.mix(self.q_norm(query), self.k_norm(key), value)


class PatchBlock(nn.Module):
    """Attention alone: no norm, no perceptron, and as published no shortcut.

    Args:
        channels, heads, dropout, qk_norm: of the `PatchAttention`.
        residual: add the input. Without it, tokens grow alike from block to block when training begins anew.
    """

    def __init__(
        self, channels: int, *, heads: int = 8, dropout: float = 0.0, qk_norm: bool = False, residual: bool = False
    ) -> None:
        super().__init__()
        self.attention = PatchAttention(channels, heads=heads, dropout=dropout, qk_norm=qk_norm)
        self.residual = residual

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, N, D) -> (B, N, D)."""
        mixed = self.attention(tokens)
        return tokens + mixed if self.residual else mixed
