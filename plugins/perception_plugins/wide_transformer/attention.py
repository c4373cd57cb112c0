"""Attention whose number of heads and width of a head are free: what a wide layer has many of."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from perception.models.mixers.attention import seen_keys
from perception.models.mixers.traits import MixerTraits
from perception.models.token_layout import keep_real
from perception.registry import MODELS


@MODELS.register_module(role="token_mixer")
class WideAttentionMixer(nn.Module):
    """Multi-head self-attention with an inner width of its own.

    "Wide Attention Is The Way Forward For Transformers?" (2022): all heads of several layers in one.

    Args:
        channels: width C of the tokens.
        heads: attention heads; None takes four layers' worth of heads of ``head_channels``, at least one.
        head_channels: width D of a head, of any size.

    Raises:
        ValueError: ``heads`` or ``head_channels`` is below 1.
    """

    TRAITS = MixerTraits(cost="N^2")

    def __init__(self, channels: int, *, heads: int | None = None, head_channels: int = 32) -> None:
        super().__init__()
        heads = max(4 * channels // head_channels, 1) if heads is None else heads
        if heads < 1 or head_channels < 1:
            raise ValueError(f"heads and head_channels must be >= 1, got {heads} and {head_channels}")
        self.heads = heads
        self.q, self.k, self.v = (nn.Linear(channels, heads * head_channels) for _ in range(3))
        self.out = nn.Linear(heads * head_channels, channels)

    def forward(self, x: Tensor, size: tuple[int, int] | None = None, mask: Tensor | None = None) -> Tensor:
        """(B, N, C) -> (B, N, C); tokens where ``mask`` (B, N) is False are not looked at and become 0."""
        return keep_real(self.attend(x, mask), mask)

    def attend(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """As `forward`, but tokens that are not real look at the real ones too; where there are none, all do nothing.

        A sample without any real token gives the bias of the last projection.
        """
        query, key, value = (self._by_head(part(x)) for part in (self.q, self.k, self.v))  # (B, heads, N, D) each
        seen = None if mask is None else seen_keys(mask)
        mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=seen)
        if mask is not None:
            mixed = mixed * mask.any(dim=1)[:, None, None, None]
        return self.out(mixed.transpose(1, 2).flatten(2))

    def weights(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """All attention maps, (B, heads, N, N); each row adds up to 1, or is 0 where there is nothing to look at."""
        query, key = (self._by_head(part(x)) for part in (self.q, self.k))
        scores = (query * query.shape[3] ** -0.5) @ key.mT
        if mask is None:
            return scores.softmax(dim=3)
        weights = scores.masked_fill(~seen_keys(mask), -torch.inf).softmax(dim=3)
        return weights * mask.any(dim=1)[:, None, None, None]

    def _by_head(self, tokens: Tensor) -> Tensor:
        return tokens.unflatten(2, (self.heads, -1)).transpose(1, 2)
