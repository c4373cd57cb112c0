"""Complex multi-head attention by its exact factorisation into ordinary attention.

"ComplexFormer: Disruptively Advancing Transformer Inference Ability via Head-Specific Complex Vector Attention" (2025;
withdrawn by its first author, and no figure of it is quoted here). The equations are those of the authors' running
code. A score sums ``|q| |k| cos(delta (theta_q - theta_k) + bias + (m - n) g)`` over pairs of channels. The cosine of a
difference of angles is a dot product, so the score is that of two transformed vectors as wide as a head (this
factorisation is ours), which any kernel of softmax attention can take.

The phase jumps where a number crosses the negative real axis, and with a ``delta`` that is no integer the score does.
"""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from perception.models.attention.cache import KeyValueCache, appended
from perception.models.attention.causal import earlier_keys
from perception.models.attention.heads import by_head, together
from perception_ops import lean_decode

from .phase import FREQ_DTYPES, FreqDtype, cartesian, polar, sequence_places, turn_of

Start = Literal["released", "rotary"]


class ComplexAttention(nn.Module):
    """Self-attention between complex numbers.

    Channels i and i + D / 2 of a head are the real and the imaginary part of one number.

    Args:
        channels: token width C.
        heads: attention heads; D = C / heads is even.
        causal: a token sees itself and those before it.
        scale: factor of the scores; the source has none, so that wide tokens saturate the softmax.
        freq_dtype: what the rates of positions are rounded to.
        start: "released" draws ``delta`` near 0, so that phases hardly matter at first; "rotary" begins with 1, which
            is rotary attention of this scale exactly.

    Raises:
        ValueError: the heads do not divide the channels into even widths, or an option is unknown.
    """

    def __init__(
        self, channels: int, heads: int, *, causal: bool = False, scale: float = 1.0, freq_dtype: FreqDtype = "float32",
        start: Start = "released",
    ) -> None:
        super().__init__()
        if heads < 1 or channels % (2 * heads):
            raise ValueError(f"channels ({channels}) must be divisible by twice the heads ({heads})")
        if freq_dtype not in FREQ_DTYPES:
            raise ValueError(f"freq_dtype must be one of {', '.join(FREQ_DTYPES)}, got {freq_dtype!r}")
        if start not in get_args(Start):
            raise ValueError(f"start must be one of {', '.join(get_args(Start))}, got {start!r}")
        self.heads, self.causal, self.scale, self.start = heads, causal, scale, start
        self.freq_dtype: FreqDtype = freq_dtype
        self.query, self.key, self.value, self.proj = (nn.Linear(channels, channels, bias=False) for _ in range(4))
        self.delta = nn.Parameter(torch.empty(heads, channels // heads // 2))
        self.bias = nn.Parameter(torch.zeros_like(self.delta))
        self.init_weights()

    def init_weights(self) -> None:
        """Projections Xavier-uniform, no offset of angles, and what ``start`` says."""
        for linear in (self.query, self.key, self.value, self.proj):
            nn.init.xavier_uniform_(linear.weight)
        nn.init.zeros_(self.bias)
        if self.start == "rotary":
            nn.init.ones_(self.delta)
        else:
            nn.init.normal_(self.delta, std=self.delta.shape[1] ** -0.5)

    def forward(self, x: Tensor, mask: Tensor | None = None, places: Tensor | None = None) -> Tensor:
        """Attend.

        Args:
            x: (B, N, C).
            mask: bool, True where a query may see a key, or float, added to the scores: (B, N) for keys, (B, N, N), or
                what broadcasts to (B, heads, N, N).
            places: (N, A) or (B, N, A) real positions on A axes; None counts the tokens.

        Returns:
            (B, N, C).
        """
        query, key, value = self.transformed(x, places)
        in_order = self.causal and mask is None
        seen = None if in_order else self._added(mask, query)
        mixed = F.scaled_dot_product_attention(
            query, key, value, attn_mask=seen, is_causal=in_order, scale=self.scale
        )
        return self.proj(together(mixed))

    def weights(self, x: Tensor, mask: Tensor | None = None, places: Tensor | None = None) -> Tensor:
        """The weights of `forward`, to look at: (B, heads, N, N), sums of a row 1."""
        query, key, _ = self.transformed(x, places)
        scores, added = query @ key.mT * self.scale, self._added(mask, query)
        return (scores if added is None else scores + added).softmax(dim=-1)

    def extend(
        self, x: Tensor, cache: KeyValueCache | None = None, places: Tensor | None = None
    ) -> tuple[Tensor, KeyValueCache]:
        """The next tokens of a sequence; the past is read by `lean_decode`.

        Args:
            x: (B, T, C).
            cache: of the tokens before; None if these are the first.
            places: of these tokens, as in `forward`; None counts on.

        Returns:
            What they become (B, T, C), as `forward` of the whole sequence gives it, and the cache behind them.

        Raises:
            ValueError: the attention was built without ``causal``.
        """
        if not self.causal:
            raise ValueError("ComplexAttention goes on only if no token sees later ones: build it with causal")
        if places is None:
            places = sequence_places(x.shape[1], 0 if cache is None else cache.key.shape[2], device=x.device)
        query, key, value = self.transformed(x, places)
        cache = appended(cache, key, value)
        seen = earlier_keys(x.shape[1], cache.key.shape[2], device=x.device) if x.shape[1] > 1 else None
        mixed = lean_decode(query, cache.key, cache.value, None, seen, scale=self.scale)
        return self.proj(together(mixed)), cache

    def projected(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(B, N, C) -> queries, keys and values as they are projected, (B, heads, N, D) each."""
        query, key, value = (by_head(layer(x), self.heads) for layer in (self.query, self.key, self.value))
        return query, key, value

    def transformed(self, x: Tensor, places: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """(B, N, C) -> queries and keys whose dot products are the scores, and values, (B, heads, N, D) each.

        Angles are float32 at least.
        """
        query, key, value = self.projected(x)
        dtype = torch.promote_types(query.dtype, torch.float32)
        places = sequence_places(x.shape[1], device=x.device) if places is None else places
        turn = turn_of(places, self.delta.shape[1], self.freq_dtype).to(dtype)             # ([B,] N, h)
        turn = turn[:, None] if turn.dim() == 3 else turn
        delta, bias = self.delta.to(dtype)[:, None], self.bias.to(dtype)[:, None]          # (heads, 1, h)
        size, angle = polar(query.to(dtype))                                               # (B, heads, N, h) each
        query = cartesian(size, delta * angle + bias + turn)
        size, angle = polar(key.to(dtype))
        return query.to(value.dtype), cartesian(size, delta * angle + turn).to(value.dtype), value

    def _added(self, mask: Tensor | None, query: Tensor) -> Tensor | None:
        """What a mask and the order of tokens add to the scores, (B or 1, heads or 1, N or 1, N).

        Where a bool mask is False it is the lowest finite number, as in the source: a query that may see no key sees
        all alike.
        """
        if mask is not None and mask.dim() < 4:
            mask = mask[:, None, None] if mask.dim() == 2 else mask[:, None]
        if self.causal:
            earlier = earlier_keys(query.shape[2], query.shape[2], device=query.device)
            if mask is None:
                mask = earlier
            else:
                mask = mask & earlier if mask.dtype == torch.bool else mask.masked_fill(~earlier, -torch.inf)
        if mask is None or mask.dtype != torch.bool:
            return None if mask is None else mask.to(query.dtype)
        return torch.zeros_like(mask, dtype=query.dtype).masked_fill(~mask, torch.finfo(query.dtype).min)
