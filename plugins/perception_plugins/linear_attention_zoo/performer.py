"""Performer: softmax attention by random positive features (FAVOR+), and its form with ReLU features."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

from perception.models.autocast import without_autocast
from perception.models.mixers.traits import MixerTraits, State
from perception.registry import MODELS

from .favor import ReluFeatures, SoftmaxFeatures
from .kernel_sums import with_ones
from .orthogonal_features import Lengths, orthogonal_features
from .packed import CausalMixer, at_least_float32

KERNELS = {"softmax": SoftmaxFeatures, "relu": ReluFeatures}
BLOCK = 4096                                         # tokens whose features are held at a time


@MODELS.register_module(role="token_mixer")
class PerformerMixer(CausalMixer):
    """Attention by random features, linear in the tokens; the weights of a softmax attention fit.

    "Rethinking Attention with Performers" (Choromanski et al., ICLR 2021), section 2. Certain: the features. Their
    variance grows steeply with the lengths of queries and keys. Interpretation: exponents are stabilised by the largest
    product of a query, and by that of all real keys of a sample and head, and 1e-4 is added behind them. The factor
    m^(-1/2) cancels and is left out. Features, sums and divisions are float32 under autocast.

    In the causal form the largest product is that of the keys so far: that of all, as in the compared implementation,
    lets the 1e-4 weigh more where a large key is to come, much where products are large, and cannot stream.

    Args:
        channels: width C of the tokens.
        features: m; None is floor(D ln D) for heads of width D.
        kind: "softmax" or "relu".
        lengths: of the directions, see `orthogonal_features`.
        heads, head_channels: see `PackedMixer`.
        causal: a token looks at none behind it; the mixer can then stream.
        future_max: in the causal form, stabilise by the keys of all tokens, later ones included; it then cannot stream.

    Raises:
        ValueError: the width is not divisible by the heads, ``features`` is below 1, or a name unknown.
    """

    TRAITS = MixerTraits(cost="N", causal="option", streaming=True)
    omega: Tensor

    def __init__(
        self, channels: int, *, features: int | None = None, kind: Literal["softmax", "relu"] = "softmax",
        lengths: Lengths = "chi", heads: int | None = None, head_channels: int = 32, causal: bool = False,
        future_max: bool = False,
    ) -> None:
        super().__init__(channels, heads=heads, head_channels=head_channels, causal=causal)
        if kind not in KERNELS:
            raise ValueError(f"kind must be one of {', '.join(KERNELS)}, got {kind!r}")
        self.kernel, self.lengths, self.future_max = KERNELS[kind](), lengths, future_max
        width = channels // self.heads
        count = max(int(width * math.log(width)), 1) if features is None else features
        self.register_buffer("omega", orthogonal_features(count, width, lengths=lengths))

    @torch.no_grad()
    def redraw(self, generator: torch.Generator | None = None) -> None:
        """Draw other directions, which all weights fit as well."""
        self.omega.copy_(orthogonal_features(*self.omega.shape, lengths=self.lengths, generator=generator))

    def stream(self, x: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """See `CausalMixer.stream`.

        Raises:
            ValueError: the mixer was built without its causal option, or with ``future_max``.
        """
        if self.future_max:
            raise ValueError("stream knows no later tokens, got a PerformerMixer with future_max=True")
        return super().stream(x, state)

    def attend(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """See `PackedMixer.attend`."""
        return self._mix(x, mask, None)[0]

    def advance(self, x: Tensor, state: State | None) -> tuple[Tensor, State]:
        """See `CausalMixer.advance`; for the state, see `SoftmaxFeatures`."""
        return self._mix(x, None, state)

    def _mix(self, x: Tensor, mask: Tensor | None, state: State | None) -> tuple[Tensor, State]:
        q, k, v = self.project(x)
        with without_autocast(x.device.type):
            q, k, v = at_least_float32(q, k, v)
            q, k, v = q * q.shape[3] ** -0.25, k * k.shape[3] ** -0.25, with_ones(v, mask)
            total, state = self._sums(q, k, v, mask, state)
            weight = total[..., -1:]                                                           # (B, heads, N, 1)
            return total[..., :-1] / weight.masked_fill(weight == 0, 1.0), state

    def _sums(
        self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, state: State | None
    ) -> tuple[Tensor, State]:
        """Weighed sums of values (B, heads, N, D + 1), and the state behind them."""
        omega, parts = self.omega.to(q.dtype), []
        state = self.kernel.start(v, omega) if state is None else state
        if self.future_max:
            state = state | {"largest": self.kernel.keys(k, omega, mask, state["largest"])[1].amax(dim=2, keepdim=True)}
        queries, keys, values = (x.split(BLOCK, dim=2) for x in (q, k, v))
        masks = [None] * len(keys) if mask is None else mask.split(BLOCK, dim=1)
        if not self.causal:
            for key, value, real in zip(keys, values, masks, strict=True):
                state = self.kernel.absorb(key, value, omega, real, state)
            return torch.cat([self.kernel.read(query, omega, state) for query in queries], dim=2), state
        for query, key, value, real in zip(queries, keys, values, masks, strict=True):
            part, state = self.kernel.advance(query, key, value, omega, real, state)
            parts.append(part)
        return torch.cat(parts, dim=2), state
