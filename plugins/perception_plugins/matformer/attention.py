"""Causal attention as in OLMo, on which MatLM is built: few keys for many queries, and places told by a bias."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from perception.models.attention.causal import earlier_keys
from perception.models.attention.heads import by_head, count_heads, together
from perception.models.attention.rotary import rotary_rates, turned
from perception.models.mixers.traits import MixerTraits
from perception.models.token_layout import keep_real
from perception.registry import MODELS

POSITIONS = ("alibi", "rotary", None)


@MODELS.register_module(role="token_mixer")
class OlmoAttention(nn.Module):
    """Softmax attention of each token to itself and those before it, with keys and values of all heads or of one.

    Args:
        channels: width C of the tokens.
        heads: attention heads H; None takes as many as give each ``head_channels``.
        head_channels: width of a head if ``heads`` is None.
        multi_query: keys and values have one head ("Fast Transformer Decoding", Shazeer, 2019).
        position: "alibi", logits fall by distance times 2^(-``alibi_max`` * h / H) in head h = 1 ... H ("Train Short,
            Test Long", Press et al., ICLR 2022); "rotary", all channels turn by place; None knows no places.
        alibi_max: see ``position``.
        bias: of both linear layers.

    Raises:
        ValueError: ``channels`` is not divisible by the heads, a rotary head is odd, or ``position`` is another.
    """

    TRAITS = MixerTraits(cost="N^2", causal="always")    # no streaming: the keys that it keeps grow in number

    rates: Tensor | None

    def __init__(
        self, channels: int, *, heads: int | None = None, head_channels: int = 32, multi_query: bool = True,
        position: str | None = "alibi", alibi_max: float = 8.0, bias: bool = True,
    ) -> None:
        super().__init__()
        if position not in POSITIONS:
            raise ValueError(f'position must be "alibi", "rotary" or None, got {position!r}')
        self.heads = count_heads(channels, heads, head_channels)
        self.key_heads = 1 if multi_query else self.heads
        self.key_channels, self.alibi_max = channels // self.heads * self.key_heads, alibi_max
        self.has_alibi = position == "alibi"
        self.in_proj = nn.Linear(channels, channels + 2 * self.key_channels, bias=bias)
        self.out_proj = nn.Linear(channels, channels, bias=bias)
        self.register_buffer("rates", rotary_rates(channels // self.heads) if position == "rotary" else None)

    def forward(self, x: Tensor, size: tuple[int, int] | None = None, mask: Tensor | None = None) -> Tensor:
        """(B, N, C) -> (B, N, C); tokens where ``mask`` (B, N) is False are not looked at and become 0.

        ``size`` is not needed: places are those in the sequence.
        """
        parts = self.in_proj(x).split((x.shape[2], self.key_channels, self.key_channels), dim=2)
        query, key, value = (
            by_head(part, heads) for part, heads in zip(parts, (self.heads, *(self.key_heads,) * 2), strict=True)
        )
        if self.rates is not None:
            query, key = turned(query, self.rates), turned(key, self.rates)
        key, value = key.expand(-1, self.heads, -1, -1), value.expand(-1, self.heads, -1, -1)
        seen = self.bias(x.shape[1], mask, x.device).to(query.dtype)
        return keep_real(self.out_proj(together(F.scaled_dot_product_attention(query, key, value, seen))), mask)

    def bias(self, count: int, mask: Tensor | None = None, device: torch.device | None = None) -> Tensor:
        """What is added to the logits of N tokens, (1 or B, H, N, N) float32: minus infinity where nothing is seen."""
        place = torch.arange(count, device=device, dtype=torch.float32)
        seen = earlier_keys(count, count, mask, device=place.device)                     # (1 or B, 1, N, N)
        steps = torch.arange(1, self.heads + 1, device=device, dtype=torch.float32) / self.heads
        slopes = 2.0 ** (-self.alibi_max * steps) * self.has_alibi
        falls = -(place[:, None] - place).abs() * slopes[:, None, None]                  # (H, N, N)
        return torch.where(seen, falls, float("-inf"))
