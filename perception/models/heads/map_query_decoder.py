"""Decoder of hierarchical map queries: every point of every map element is a token that looks at the BEV map.

"MapTR" (Liao et al., ICLR 2023), section 3.2; self-attention in two steps as in "MapTRv2" (Liao et al., IJCV 2024).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from perception.registry import MODELS

from ..attention.deformable import DeformableAttention
from ..attention.feed_forward import feed_forward


class MemoryMixer(nn.Module):
    """Lets the cells of the BEV map look at each other before tokens look at them: norm, token mixer, shortcut.

    Args:
        channels: width C of the BEV map.
        mixer: config of a token mixer, which is given ``channels``.
    """

    def __init__(self, channels: int, mixer: Mapping[str, Any]) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels)
        self.mixer = MODELS.build({"channels": channels, **mixer})

    def forward(self, memory: Tensor, shape: tuple[int, int], mask: Tensor | None = None) -> Tensor:
        """Mix once.

        Args:
            memory: (B, H * W, C).
            shape: H, W.
            mask: (B, H * W) bool, False where a cell is not to be looked at; such cells stay as they are.

        Returns:
            (B, H * W, C).
        """
        return memory + self.mixer(self.norm(memory), shape, mask)


class MapQueryLayer(nn.Module):
    """Attention among elements, among the points of an element, from points to the BEV map; then a feed-forward net.

    Args:
        channels: width C of tokens and of the BEV map.
        heads: attention heads.
        points: places that a head samples of the BEV map.
        hidden: width of the feed-forward net.
        dropout: after each branch.
    """

    def __init__(self, channels: int, *, heads: int, points: int, hidden: int, dropout: float = 0.1) -> None:
        super().__init__()
        self.across_elements = nn.MultiheadAttention(channels, heads, dropout, batch_first=True)
        self.across_points = nn.MultiheadAttention(channels, heads, dropout, batch_first=True)
        self.to_map = DeformableAttention(channels, heads=heads, points=points)
        self.ffn = feed_forward(channels, hidden, dropout)
        self.norms = nn.ModuleList(nn.LayerNorm(channels) for _ in range(4))
        self.dropout = nn.Dropout(dropout)

    def forward(
        self, tokens: Tensor, position: Tensor, memory: Tensor, shape: tuple[int, int], reference: Tensor
    ) -> Tensor:
        """One step of all tokens.

        Args:
            tokens: (B, Q, P, C), P points of Q elements.
            position: (Q, P, C) learned code of each token.
            memory: (B, H * W, C) BEV map.
            shape: H, W.
            reference: (B, Q, P, 2) in [0, 1], x then y.
        """
        B, Q, P, C = tokens.shape
        mixed = self._attend(self.across_elements, (tokens + position).transpose(1, 2), tokens.transpose(1, 2))
        tokens = self.norms[0](tokens + self.dropout(mixed.transpose(1, 2)))
        mixed = self._attend(self.across_points, tokens + position, tokens)
        tokens = self.norms[1](tokens + self.dropout(mixed))
        places = reference.view(B, Q * P, 1, 1, 1, 2)
        seen = self.to_map((tokens + position).flatten(1, 2), self.to_map.project(memory), [shape], places)
        tokens = self.norms[2](tokens + self.dropout(seen.view(B, Q, P, C)))
        return self.norms[3](tokens + self.ffn(tokens))

    @staticmethod
    def _attend(attention: nn.MultiheadAttention, query: Tensor, value: Tensor) -> Tensor:
        """Self-attention along the third dimension of (B, rows, tokens, C)."""
        flat = query.flatten(0, 1)
        mixed, _ = attention(flat, flat, value.flatten(0, 1), need_weights=False)
        return mixed.view(query.shape)
