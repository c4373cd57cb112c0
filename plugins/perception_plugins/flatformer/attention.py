"""Attention inside equal-sized groups of pillars (FlatFormer, section 3.2)."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from perception.models.attention.top_k import top_k_attention
from perception.models.mixers.traits import MixerTraits
from perception.models.token_layout import keep_real
from perception.registry import MODELS
from perception_ops import group_attention


class TokenGroups(NamedTuple):
    """N tokens cut into groups of equal size; P slots, a multiple of the size.

    Args:
        slots: (P,) int64 token of each slot; a token may fill several.
        back: (N,) int64 slot that gives a token's result.
        valid: (P,) bool, False in slots that only fill a group up and must not be looked at; None if all may.
        size: slots of a group.
    """

    slots: Tensor
    back: Tensor
    valid: Tensor | None
    size: int


@MODELS.register_module(role="token_mixer")
class GroupAttention(nn.Module):
    """Exact multi-head attention; the position code is added to queries and keys, not to values.

    Args:
        channels: token width C; divisible by ``num_heads``.
        num_heads: attention heads.
    """

    TRAITS = MixerTraits(cost="N^2")

    def __init__(self, channels: int, *, num_heads: int = 8) -> None:
        super().__init__()
        if channels % num_heads:
            raise ValueError(f"channels ({channels}) must be divisible by num_heads ({num_heads})")
        self.num_heads = num_heads
        self.top_k: int | None = None              # keys that each query keeps, see `top_k_attention`
        self.qkv = nn.Linear(channels, 3 * channels)
        self.proj = nn.Linear(channels, channels)
        for linear in (self.qkv, self.proj):
            nn.init.xavier_uniform_(linear.weight)
            nn.init.zeros_(linear.bias)

    def forward(
        self, tokens: Tensor, size: tuple[int, int] | None = None, mask: Tensor | None = None, *,
        position: Tensor | None = None,
    ) -> Tensor:
        """Mix the tokens of each group.

        Args:
            tokens: (G, S, C), G groups of S tokens.
            size: not needed.
            mask: (G, S) bool, False where a slot is filled up: it is not looked at, and becomes 0.
            position: (G, S, C) position code.
        """
        G, S, _ = tokens.shape
        slots = torch.arange(G * S, device=tokens.device)
        groups = TokenGroups(slots, slots, None if mask is None else mask.flatten(), S)
        rows = None if position is None else position.flatten(0, 1)
        return keep_real(self.mix_tokens(tokens.flatten(0, 1), rows, groups).unflatten(0, (G, S)), mask)

    def mix_tokens(self, tokens: Tensor, position: Tensor | None, groups: TokenGroups) -> Tensor:
        """The same in token order, without gathering groups: (N, C), position code (N, C) -> (N, C)."""
        C = self.qkv.out_features // 3             # below that of the tokens if heads have been pruned
        placed = tokens if position is None else tokens + position
        weight_qk, weight_v = self.qkv.weight.split((2 * C, C))
        bias_qk, bias_v = self.qkv.bias.split((2 * C, C))
        qk, v = F.linear(placed, weight_qk, bias_qk), F.linear(tokens, weight_v, bias_v)     # (N, 2C), (N, C)
        if self.top_k is not None:
            return self.proj(self._mix_hard(torch.cat([qk, v], dim=1), groups, self.top_k))
        mixed = group_attention(
            qk, v, groups.slots, groups.back, groups.valid, group_size=groups.size, num_heads=self.num_heads
        )
        return self.proj(mixed)

    def _mix_hard(self, qkv: Tensor, groups: TokenGroups, top_k: int) -> Tensor:
        """Queries, keys and values (N, 3C) of tokens that look at ``top_k`` of their group -> (N, C)."""
        gathered = qkv[groups.slots].unflatten(0, (-1, groups.size)).unflatten(2, (3, self.num_heads, -1))
        q, k, v = gathered.permute(2, 0, 3, 1, 4)                                            # (G, heads, S, D) each
        mask = None if groups.valid is None else groups.valid.view(-1, 1, 1, groups.size)
        mixed = top_k_attention(q, k, v, top_k, mask)
        return mixed.transpose(1, 2).flatten(2).flatten(0, 1)[groups.back]
