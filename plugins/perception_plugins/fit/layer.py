"""The layers of FIT: attention among tokens of one kind, and reading those of the other.

"FIT: Far-reaching Interleaved Transformers" (Chen & Li, 2023).
"""

from __future__ import annotations

from collections.abc import Iterable

from timm.layers import DropPath
from torch import Tensor, nn
from torch.nn import functional as F

from perception.models.attention.heads import by_head, together
from perception.models.mixers.attention import seen_keys
from perception.models.mixers.feed_forward import FeedForward

NORM_EPS = 1e-6


class Attention(nn.Module):
    """Multi-head attention of queries on a memory, with biases.

    Args:
        channels: width of the queries and of what comes out.
        memory_channels: width of the memory.
        heads: attention heads.
        head_channels: width of a head.
    """

    def __init__(self, channels: int, memory_channels: int, heads: int, head_channels: int) -> None:
        super().__init__()
        self.heads, width = heads, heads * head_channels
        self.query = nn.Linear(channels, width)
        self.key, self.value = nn.Linear(memory_channels, width), nn.Linear(memory_channels, width)
        self.proj = nn.Linear(width, channels)

    def forward(self, x: Tensor, memory: Tensor, seen: Tensor | None = None) -> Tensor:
        """(B, N, C), (B, S, C') -> (B, N, C); ``seen`` is bool and broadcasts to (B, heads, N, S)."""
        query, key, value = (
            by_head(layer(part), self.heads)
            for layer, part in ((self.query, x), (self.key, memory), (self.value, memory))
        )
        return self.proj(together(F.scaled_dot_product_attention(query, key, value, attn_mask=seen)))


class FITLayer(nn.Module):
    """Self-attention and a feed-forward net, each behind a norm and beside a shortcut.

    Args:
        channels: width C; divisible by the heads.
        heads: attention heads.
        mlp_ratio: hidden over outer width of the feed-forward net.
        self_attention: there is attention.
        drop_path: probability that a sample goes without a branch in training.

    Raises:
        ValueError: the heads do not divide the channels.
    """

    def __init__(
        self, channels: int, heads: int, *, mlp_ratio: float = 4.0, self_attention: bool = True, drop_path: float = 0.0
    ) -> None:
        super().__init__()
        if channels % heads:
            raise ValueError(f"channels ({channels}) must be divisible by heads ({heads})")
        self.attention: Attention | None = None
        if self_attention:
            self.norm1 = nn.LayerNorm(channels, eps=NORM_EPS)
            self.attention = Attention(channels, channels, heads, channels // heads)
        self.norm2 = nn.LayerNorm(channels, eps=NORM_EPS)
        self.mlp = FeedForward(channels, ratio=mlp_ratio)
        self.drop_path = DropPath(drop_path) if drop_path > 0 else nn.Identity()

    def forward(self, x: Tensor, seen: Tensor | None = None) -> Tensor:
        """(B, N, C) -> (B, N, C)."""
        if self.attention is not None:
            normed = self.norm1(x)
            x = x + self.drop_path(self.attention(normed, normed, seen))
        return x + self.drop_path(self.mlp(self.norm2(x)))


class FITLayers(nn.Module):
    """Layers one after another.

    Args:
        layers: of them.
    """

    def __init__(self, layers: Iterable[FITLayer]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)

    def forward(self, x: Tensor, seen: Tensor | None = None) -> Tensor:
        """(B, N, C) -> (B, N, C)."""
        for layer in self.layers:
            x = layer(x, seen)
        return x


class Reading(nn.Module):
    """Tokens read a memory, beside a shortcut; a feed-forward net may follow.

    Args:
        channels: width C of the tokens.
        memory_channels: width C' of the memory.
        heads: attention heads.
        head_channels: width of a head.
        mlp_ratio: hidden over outer width of a feed-forward net; None has none.
        memory_norm: the memory is normalised.
    """

    def __init__(
        self, channels: int, memory_channels: int, heads: int, head_channels: int, *, mlp_ratio: float | None = None,
        memory_norm: bool = True,
    ) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels, eps=NORM_EPS)
        self.memory_norm = nn.LayerNorm(memory_channels, eps=NORM_EPS) if memory_norm else nn.Identity()
        self.attention = Attention(channels, memory_channels, heads, head_channels)
        self.mlp: FeedForward | None = None
        if mlp_ratio is not None:
            self.norm2, self.mlp = nn.LayerNorm(channels, eps=NORM_EPS), FeedForward(channels, ratio=mlp_ratio)

    def forward(self, x: Tensor, memory: Tensor, real: Tensor | None = None) -> Tensor:
        """Read once.

        Args:
            x: (B, N, C).
            memory: (B, S, C').
            real: (B, S) bool, False where the memory holds nothing; where it holds nothing at all, nothing is read.

        Returns:
            (B, N, C).
        """
        seen = None if real is None else seen_keys(real)
        found = self.attention(self.norm(x), self.memory_norm(memory), seen)
        if real is not None:
            found = found.masked_fill(~real.any(dim=1)[:, None, None], 0.0)
        x = x + found
        return x if self.mlp is None else x + self.mlp(self.norm2(x))


def init_glorot(module: nn.Module) -> None:
    """Every linear layer in it: weights Glorot-uniform, biases 0."""
    for part in module.modules():
        if isinstance(part, nn.Linear):
            nn.init.xavier_uniform_(part.weight)
            nn.init.zeros_(part.bias)
