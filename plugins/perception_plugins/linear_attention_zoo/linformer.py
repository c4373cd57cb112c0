"""Linformer: keys and values are projected along the row of tokens to a fixed number of them."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from perception.models.autocast import without_autocast
from perception.models.mixers.traits import MixerTraits
from perception.registry import MODELS

from .packed import PackedMixer, at_least_float32


@MODELS.register_module(role="token_mixer")
class LinformerMixer(PackedMixer):
    """Softmax attention to ``rank`` learned mixtures of the tokens.

    "Linformer: Self-Attention with Linear Complexity" (Wang et al., 2020), equation 7. Certain: the sum.
    Interpretation: fewer tokens take the first columns of the projections, and masked keys and values are 0 before
    these. It is bound to the order of tokens and has no causal form. All is float32 under autocast.

    Args:
        channels: width C of the tokens.
        tokens: most tokens N that it can take (n_max).
        rank: mixtures (k).
        share: "kv" mixes values as keys; "none" learns a projection for each.
        per_head: each head learns its own.
        heads, head_channels: see `PackedMixer`.

    Raises:
        ValueError: the width is not divisible by the heads, ``tokens`` or ``rank`` is below 1, or ``share`` unknown.
    """

    TRAITS = MixerTraits(cost="N")

    def __init__(
        self, channels: int, *, tokens: int, rank: int = 64, share: Literal["none", "kv"] = "none",
        per_head: bool = False, heads: int | None = None, head_channels: int = 32,
    ) -> None:
        super().__init__(channels, heads=heads, head_channels=head_channels)
        for name, value in (("tokens", tokens), ("rank", rank)):
            if value < 1:
                raise ValueError(f"{name} must be >= 1, got {value}")
        if share not in ("none", "kv"):
            raise ValueError(f'share must be "none" or "kv", got {share!r}')
        shape = (self.heads, rank, tokens) if per_head else (rank, tokens)
        self.tokens = tokens
        self.proj_k = nn.Parameter(torch.empty(shape))
        self.proj_v = nn.Parameter(torch.empty(shape)) if share == "none" else None
        for projection in self.parameters(recurse=False):
            nn.init.normal_(projection, std=rank**-0.5)

    def attend(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """See `PackedMixer.attend`.

        Raises:
            ValueError: there are more tokens than it can take.
        """
        count = x.shape[1]
        if count > self.tokens:
            raise ValueError(f"a LinformerMixer of tokens={self.tokens} can take no more, got {count}")
        q, k, v = self.project(x)
        with without_autocast(x.device.type):
            q, k, v = at_least_float32(q, k, v)
            if mask is not None:
                k, v = (part.masked_fill(~mask[:, None, :, None], 0.0) for part in (k, v))
            k = self.proj_k[..., :count].to(k.dtype) @ k                                           # (B, heads, rank, D)
            v = (self.proj_k if self.proj_v is None else self.proj_v)[..., :count].to(v.dtype) @ v
            return F.scaled_dot_product_attention(q, k, v)
