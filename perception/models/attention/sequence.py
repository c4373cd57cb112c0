"""Attention in a sequence, by whatever projections: masks, causality, places, and a cache of the past."""

from __future__ import annotations

from abc import abstractmethod

from torch import Tensor, nn
from torch.nn import functional as F

from perception_ops import lean_decode

from ..mixers.attention import seen_keys
from ..token_layout import keep_real
from .cache import KeyValueCache, appended
from .causal import earlier_keys
from .heads import by_head, count_heads, together
from .rotary import rotary_rates, turned


class SequenceAttention(nn.Module):
    """Multi-head softmax attention whose queries, keys and values a subclass gives.

    Args:
        channels: width C of the tokens.
        heads: attention heads; None takes as many as give each ``head_channels``.
        head_channels: width of a head if ``heads`` is None.
        causal: a token sees itself and those before it.
        rotary_pct: share of a head's channels that turn by position, in the order of the tokens; 0 knows no places.
        rotary_base: wave length of the slowest of them over 2 pi.

    Raises:
        ValueError: ``channels`` is not divisible by the heads, or the channels that turn are odd.
    """

    def __init__(
        self, channels: int, *, heads: int | None = None, head_channels: int = 32, causal: bool = False,
        rotary_pct: float = 0.0, rotary_base: float = 10000.0,
    ) -> None:
        super().__init__()
        self.heads, self.causal, self.rotary_base = count_heads(channels, heads, head_channels), causal, rotary_base
        self.rotary_channels = int(channels // self.heads * rotary_pct)
        rotary_rates(self.rotary_channels)                                                # refuses odd ones

    @abstractmethod
    def read(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values of tokens (B, N, C), (B, N, C) each, before heads and positions."""

    def close(self, mixed: Tensor) -> Tensor:
        """What becomes of mixed values (B, N, C): a projection, or nothing."""
        return mixed

    def forward(self, x: Tensor, size: tuple[int, int] | None = None, mask: Tensor | None = None) -> Tensor:
        """(B, N, C) -> (B, N, C); tokens where ``mask`` (B, N) is False are not looked at and become 0.

        ``size`` is not needed: places, if it knows them, are those in the sequence.
        """
        query, key, value = self._turned(*self.read(x), 0)
        seen = None if mask is None else seen_keys(mask)
        if self.causal and mask is not None:
            seen = earlier_keys(x.shape[1], x.shape[1], mask, device=x.device)
        is_causal = self.causal and mask is None
        mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=seen, is_causal=is_causal)
        return keep_real(self.close(together(mixed)), mask)

    def extend(self, x: Tensor, cache: KeyValueCache | None = None) -> tuple[Tensor, KeyValueCache]:
        """The next tokens of a sequence, any number of them; the past is read by `lean_decode`.

        Args:
            x: (B, T, C).
            cache: of the tokens before; None if these are the first.

        Returns:
            What they become (B, T, C), as `forward` of the whole sequence gives it, and the cache behind them.

        Raises:
            ValueError: the mixer was built without ``causal``.
        """
        if not self.causal:
            raise ValueError(f"{type(self).__name__} goes on only if no token sees later ones: build it with causal")
        query, key, value = self._turned(*self.read(x), 0 if cache is None else cache.key.shape[2])
        cache = appended(cache, key, value)
        seen = earlier_keys(x.shape[1], cache.key.shape[2], device=x.device) if x.shape[1] > 1 else None
        return self.close(together(lean_decode(query, cache.key, cache.value, None, seen))), cache

    def _turned(self, query: Tensor, key: Tensor, value: Tensor, first: int) -> tuple[Tensor, Tensor, Tensor]:
        """(B, N, C) each -> (B, heads, N, D) each, of which the first two know their places."""
        query, key, value = (by_head(part, self.heads) for part in (query, key, value))
        if self.rotary_channels == 0:
            return query, key, value
        rates = rotary_rates(self.rotary_channels, self.rotary_base, device=query.device)
        return turned(query, rates, first), turned(key, rates, first), value
