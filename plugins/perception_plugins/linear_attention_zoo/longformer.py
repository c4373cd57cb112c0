"""Longformer: attention within a window, and a few global tokens that all see and that see all."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from perception.compression.batch_norm import absorb
from perception.models.attention.causal import earlier_keys
from perception.models.attention.heads import by_head
from perception.models.metaformer.block import init_linear_layers
from perception.models.mixers.attention import seen_keys
from perception.models.mixers.traits import MixerTraits, State
from perception.registry import MODELS

from .band import banded_attention
from .packed import CausalMixer, at_least_float32


@MODELS.register_module(role="token_mixer")
class LongformerMixer(CausalMixer):
    """Softmax attention to ``window`` tokens on each side and to the first ``global_tokens``, which see all tokens.

    "Longformer: The Long-Document Transformer" (Beltagy et al., 2020), section 3. Certain: the pattern, and projections
    of their own for what global tokens see. Interpretation: global tokens are the first ones, other tokens see them by
    the ordinary projection and once, and all of it obeys ``causal``. The order of the tokens matters: those of a map
    come row by row, so a window of two rows spans twice its width.

    Args:
        channels: width C of the tokens.
        window: tokens that are seen on each side (w), so 2 w + 1 in all.
        dilation: distance between them (s).
        global_tokens: g. Their projections exist without any, too, but are then not trained.
        heads, head_channels: see `PackedMixer`.
        causal: a token looks at none behind it; the mixer can then stream.

    Raises:
        ValueError: the width is not divisible by the heads, or a number is below its least.
    """

    TRAITS = MixerTraits(cost="N", causal="option", streaming=True)

    def __init__(
        self, channels: int, *, window: int = 32, dilation: int = 1, global_tokens: int = 0, heads: int | None = None,
        head_channels: int = 32, causal: bool = False,
    ) -> None:
        super().__init__(channels, heads=heads, head_channels=head_channels, causal=causal)
        for name, value, least in (
            ("window", window, 0), ("dilation", dilation, 1), ("global_tokens", global_tokens, 0)
        ):
            if value < least:
                raise ValueError(f"{name} must be >= {least}, got {value}")
        self.window, self.dilation, self.global_tokens = window, dilation, global_tokens
        self.global_qkv = nn.Linear(channels, 3 * channels).requires_grad_(global_tokens > 0)
        init_linear_layers(self)

    def attend(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """See `PackedMixer.attend`."""
        N, g = x.shape[1], self.global_tokens
        q, k, v = self.project(x)                                                              # (B, heads, N, D) each
        window = min(self.window, -(-N // self.dilation))
        before = window * self.dilation
        real = x.new_ones(1, N, dtype=torch.bool) if mask is None else mask
        seen = F.pad(real & (torch.arange(N, device=x.device) >= g), (before, 0))              # global ones are shared
        mixed = banded_attention(
            q, F.pad(k, (0, 0, before, 0)), F.pad(v, (0, 0, before, 0)), seen, window=window, dilation=self.dilation,
            causal=self.causal, shared=(k[:, :, :g], v[:, :, :g], real[:, :g]) if g else None,
        )
        return torch.cat([self._global_rows(x[:, :g], x, mask), mixed[:, :, g:]], dim=2) if g else mixed

    def advance(self, x: Tensor, state: State | None) -> tuple[Tensor, State]:
        """See `CausalMixer.advance`.

        The state: how many tokens there were, ``count`` (B,) int64, ``keys`` and ``values`` of the last of them, (B,
        heads, window * dilation, D), and the global tokens, ``first`` (B, g, C).
        """
        N, g, before = x.shape[1], self.global_tokens, self.window * self.dilation
        q, k, v = self.project(x)
        state = self._empty_state(x) if state is None else state
        k, v = (torch.cat([state[name].to(new.dtype), new], dim=2) for name, new in (("keys", k), ("values", v)))
        place = state["count"][:, None] - before + torch.arange(before + N, device=x.device)   # (B, before + N)
        first = _filled(state["first"].to(x.dtype), x, state["count"])
        real = place.new_ones(1, g, dtype=torch.bool)
        mixed = banded_attention(
            q, k, v, place >= g, window=self.window, dilation=self.dilation, causal=True,
            shared=(*self.project(first)[1:], real) if g else None,
        )
        if g:
            mixed = _replaced(mixed, self._global_rows(first, first, None), place[:, before : before + g])
        keys, values, first = at_least_float32(k[:, :, N:], v[:, :, N:], first)
        return mixed, {"count": state["count"] + N, "keys": keys, "values": values, "first": first}

    def absorb_affine(self, scale: Tensor, shift: Tensor) -> None:
        """Take a scale and a shift of the tokens over."""
        super().absorb_affine(scale, shift)
        absorb(self.global_qkv, scale, shift)

    def _global_rows(self, first: Tensor, x: Tensor, mask: Tensor | None) -> Tensor:
        """What global tokens (B, g, C) see of the tokens (B, N, C), (B, heads, g, D)."""
        g, C = first.shape[1:]
        x, mask = (x[:, :g], None if mask is None else mask[:, :g]) if self.causal else (x, mask)
        weight, bias = self.global_qkv.weight, self.global_qkv.bias
        q = by_head(F.linear(first, weight[:C], bias[:C]), self.heads)
        k, v = (by_head(part, self.heads) for part in F.linear(x, weight[C:], bias[C:]).chunk(2, dim=2))
        allowed = None if mask is None else seen_keys(mask)
        if self.causal:
            allowed = earlier_keys(g, g, mask, device=x.device)
        return F.scaled_dot_product_attention(q, k, v, attn_mask=allowed)

    def _empty_state(self, x: Tensor) -> State:
        B, _, C = x.shape
        row = x.new_zeros(B, self.heads, self.window * self.dilation, C // self.heads)
        first = x.new_zeros(B, self.global_tokens, C)
        return {"count": x.new_zeros(B, dtype=torch.int64), "keys": row, "values": row, "first": first}


def _filled(first: Tensor, x: Tensor, count: Tensor) -> Tensor:
    """Global tokens (B, g, C) with those among new ones (B, N, C), before which there were ``count`` (B,)."""
    index = torch.arange(first.shape[1], device=x.device) - count[:, None]                     # (B, g), among the new
    found = x.gather(1, index.clamp(0, x.shape[1] - 1)[..., None].expand_as(first))
    return torch.where(((index >= 0) & (index < x.shape[1]))[..., None], found, first)


def _replaced(mixed: Tensor, rows: Tensor, place: Tensor) -> Tensor:
    """(B, heads, N, D) with ``rows`` (B, heads, g, D) in the places (B, n) of the first n <= g tokens that are < g."""
    n, g = place.shape[1], rows.shape[2]
    index = place.clamp(max=g - 1)[:, None, :, None].expand(-1, rows.shape[1], -1, rows.shape[3])
    head = torch.where((place < g)[:, None, :, None], rows.gather(2, index), mixed[:, :, :n])
    return torch.cat([head, mixed[:, :, n:]], dim=2)
