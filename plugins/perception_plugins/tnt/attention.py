"""The attention of TNT and of PyramidTNT, among the words of a sentence and among sentences.

"Transformer in Transformer" (Han et al., NeurIPS 2021), section 2; "PyramidTNT: Improved Transformer-in-Transformer
Baselines with Pyramid Architecture" (Han et al., 2022), section 3.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from perception.models.mixers.traits import MixerTraits
from perception.models.token_layout import keep_real, map_of, tokens_of
from perception.registry import MODELS


def attend(
    query: Tensor, key: Tensor, value: Tensor, heads: int, mask: Tensor | None = None, bias: Tensor | None = None
) -> Tensor:
    """Softmax attention, whose logits are scaled by the root of a head's width.

    Args:
        query: (B, N, C).
        key: (B, M, C).
        value: (B, M, C).
        heads: parts that the channels are split into.
        mask: (B, M) bool, True where a key may be seen; a sample without such keys sees all.
        bias: added to the logits; broadcasts to (B, heads, N, M).

    Returns:
        (B, N, C).
    """
    q, k, v = (part.unflatten(2, (heads, -1)).transpose(1, 2) for part in (query, key, value))   # (B, heads, N | M, D)
    bias = None if bias is None else bias.to(q.dtype)
    if mask is not None:
        seen = (mask | ~mask.any(dim=1, keepdim=True))[:, None, None]                      # (B, 1, 1, M)
        bias = seen if bias is None else bias.masked_fill(~seen, -torch.inf)
    return F.scaled_dot_product_attention(q, k, v, attn_mask=bias).transpose(1, 2).flatten(2)


@MODELS.register_module(role="token_mixer")
class TNTAttention(nn.Module):
    """Self-attention with one projection to queries and keys and another to values.

    Args:
        channels: width C of the tokens, divisible by ``heads``.
        heads: attention heads.
        qkv_bias: the projections to queries, keys and values have a bias.

    Raises:
        ValueError: ``channels`` is not divisible by ``heads``.
    """

    TRAITS = MixerTraits(cost="N^2")

    def __init__(self, channels: int, *, heads: int = 4, qkv_bias: bool = False) -> None:
        super().__init__()
        check_heads(channels, heads)
        self.heads = heads
        self.qk = nn.Linear(channels, 2 * channels, bias=qkv_bias)
        self.v = nn.Linear(channels, channels, bias=qkv_bias)
        self.proj = nn.Linear(channels, channels)

    def forward(
        self, tokens: Tensor, size: tuple[int, int] | None = None, mask: Tensor | None = None,
        bias: Tensor | None = None,
    ) -> Tensor:
        """Mix the tokens of each sample.

        Args:
            tokens: (B, N, C).
            size: of the map that they are of; it makes no difference.
            mask: (B, N) bool, True where a token is real; None if all are.
            bias: see `attend`.

        Returns:
            (B, N, C), zero where a token is not real.
        """
        tokens = keep_real(tokens, mask)
        query, key = self.qk(tokens).chunk(2, dim=2)                                       # (B, N, C) each
        mixed = attend(query, key, self.v(tokens), self.heads, mask, bias)
        return keep_real(self.proj(mixed), mask)


@MODELS.register_module(role="token_mixer")
class PyramidTNTAttention(nn.Module):
    """Self-attention whose keys and values are averages over square windows of the map.

    Args:
        channels: width C of the tokens, divisible by ``heads``.
        heads: attention heads.
        reduction: side of the windows; 1 takes the tokens themselves.
        qkv_bias: the projections to queries, keys and values have a bias.

    Raises:
        ValueError: ``channels`` is not divisible by ``heads``, or ``reduction`` is below 1.
    """

    TRAITS = MixerTraits(cost="N^2")

    def __init__(self, channels: int, *, heads: int = 4, reduction: int = 1, qkv_bias: bool = False) -> None:
        super().__init__()
        check_heads(channels, heads)
        if reduction < 1:
            raise ValueError(f"reduction must be >= 1, got {reduction}")
        self.heads, self.reduction = heads, reduction
        self.q = nn.Linear(channels, channels, bias=qkv_bias)
        self.kv = nn.Linear(channels, 2 * channels, bias=qkv_bias)
        self.proj = nn.Linear(channels, channels)
        if reduction > 1:
            self.linear = nn.Linear(channels, channels)
            self.norm = nn.LayerNorm(channels)

    def forward(
        self, tokens: Tensor, size: tuple[int, int] | None = None, mask: Tensor | None = None,
        bias: Tensor | None = None,
    ) -> Tensor:
        """Mix the tokens of each sample.

        Args:
            tokens: (B, H * W, C).
            size: H and W; needed if ``reduction`` is above 1.
            mask: (B, H * W) bool, True where a token is real; None if all are.
            bias: see `attend`.

        Returns:
            (B, H * W, C), zero where a token is not real.

        Raises:
            ValueError: ``size`` is missing, or no window fits into it.
        """
        tokens = keep_real(tokens, mask)
        source, seen = tokens, mask
        if self.reduction > 1:
            source, seen = self._averaged(tokens, size, mask)
            source = self.norm(self.linear(source))                                        # (B, M, C)
        key, value = self.kv(source).chunk(2, dim=2)
        mixed = attend(self.q(tokens), key, value, self.heads, seen, bias)
        return keep_real(self.proj(mixed), mask)

    def _averaged(
        self, tokens: Tensor, size: tuple[int, int] | None, mask: Tensor | None
    ) -> tuple[Tensor, Tensor | None]:
        """Means (B, M, C) of the real tokens of each window, and where there are any (B, M)."""
        if size is None:
            raise ValueError(f"size of the map must be given where keys are reduced by {self.reduction}, got None")
        if min(size) < self.reduction:
            raise ValueError(f"size must be at least {self.reduction} x {self.reduction}, got {size[0]} x {size[1]}")
        means = F.avg_pool2d(map_of(tokens, size), self.reduction)                         # (B, C, h, w)
        if mask is None:
            return tokens_of(means), None
        share = F.avg_pool2d(map_of(mask[:, :, None].to(tokens.dtype), size), self.reduction)    # (B, 1, h, w)
        return tokens_of(means / share.clamp(min=self.reduction**-2)), tokens_of(share)[:, :, 0] > 0


def check_heads(channels: int, heads: int) -> None:
    """Raise ValueError unless the channels can be split into heads."""
    if heads < 1 or channels % heads:
        raise ValueError(f"channels ({channels}) must be divisible by heads ({heads})")
