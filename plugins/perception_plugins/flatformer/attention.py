"""Attention inside equal-sized groups of pillars (FlatFormer, section 3.2)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from perception.registry import MODELS


@MODELS.register_module(role="token_mixer")
class GroupAttention(nn.Module):
    """Exact multi-head attention; the position code is added to queries and keys, not to values.

    Args:
        channels: token width C; divisible by ``num_heads``.
        num_heads: attention heads.
    """

    def __init__(self, channels: int, *, num_heads: int = 8) -> None:
        super().__init__()
        if channels % num_heads:
            raise ValueError(f"channels ({channels}) must be divisible by num_heads ({num_heads})")
        self.num_heads = num_heads
        self.qkv = nn.Linear(channels, 3 * channels)
        self.proj = nn.Linear(channels, channels)
        for linear in (self.qkv, self.proj):
            nn.init.xavier_uniform_(linear.weight)
            nn.init.zeros_(linear.bias)

    def forward(self, tokens: Tensor, position: Tensor | None = None, mask: Tensor | None = None) -> Tensor:
        """Mix the tokens of each group.

        Args:
            tokens: (G, S, C), G groups of S tokens.
            position: (G, S, C) position code.
            mask: (G, S) bool, False where a slot is filled up and must not be looked at.
        """
        G, S, C = tokens.shape
        heads, D = self.num_heads, C // self.num_heads
        placed = tokens if position is None else tokens + position
        weight_qk, weight_v = self.qkv.weight.split((2 * C, C))
        bias_qk, bias_v = self.qkv.bias.split((2 * C, C))
        q, k = F.linear(placed, weight_qk, bias_qk).view(G, S, 2, heads, D).permute(2, 0, 3, 1, 4)
        v = F.linear(tokens, weight_v, bias_v).view(G, S, heads, D).transpose(1, 2)   # (G, heads, S, D)
        mixed = attend(q, k, v, mask)                                                    # (G, heads, S, D)
        return self.proj(mixed.transpose(1, 2).reshape(G, S, C))


def attend(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Tensor:
    """Exact attention within each group: q, k, v (G, heads, S, D) and mask (G, S) bool -> (G, heads, S, D).

    On a CPU the product is written out: torch's fused kernel is slower on groups this small (its gradient by half in
    float32, 20 times in bfloat16). The softmax sums up in float32 either way.
    """
    keys = None if mask is None else mask[:, None, None, :]                              # (G, 1, 1, S)
    if q.device.type == "cpu":
        logits = (q * q.shape[-1] ** -0.5) @ k.transpose(2, 3)                           # (G, heads, S, S)
        if keys is not None:
            logits = logits.masked_fill_(~keys, -torch.inf)
        return logits.softmax(dim=-1) @ v
    S = k.shape[2]
    return F.scaled_dot_product_attention(q, k, v, attn_mask=None if keys is None else keys.expand(-1, 1, S, S))


class FeedForward(nn.Module):
    """Two linear layers with an exact GELU in between: (..., C) -> (..., C).

    Args:
        channels: width C.
        hidden: width in between.
    """

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(channels, hidden)
        self.fc2 = nn.Linear(hidden, channels)
        for linear in (self.fc1, self.fc2):
            nn.init.xavier_uniform_(linear.weight)

    def forward(self, tokens: Tensor) -> Tensor:
        """(..., C) -> (..., C)."""
        return self.fc2(F.gelu(self.fc1(tokens)))


def as_groups(tokens: Tensor, slots: Tensor, group_size: int) -> Tensor:
    """Rows (N, C) gathered by ``slots`` (P,) into (P / group_size, group_size, C)."""
    return torch.index_select(tokens, 0, slots).unflatten(0, (-1, group_size))
