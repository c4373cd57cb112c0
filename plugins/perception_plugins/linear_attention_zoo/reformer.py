"""Reformer: attention among tokens that fall into the same buckets of a locality-sensitive hash."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from perception.compression.batch_norm import absorb
from perception.models.attention.heads import by_head, count_heads, together
from perception.models.autocast import without_autocast
from perception.models.metaformer.block import init_linear_layers
from perception.models.mixers.traits import MixerTraits
from perception.models.token_layout import keep_real
from perception.registry import MODELS

from .bucket_attention import bucket_attention
from .hashing import ChunkedBuckets, hash_buckets
from .packed import at_least_float32


@MODELS.register_module(role="token_mixer")
class ReformerMixer(nn.Module):
    """Softmax attention, whose queries are its keys, to tokens that share a bucket in a round and lie near in it.

    "Reformer: The Efficient Transformer" (Kitaev et al., ICLR 2020), section 2. Certain: hashing, sorting and chunks,
    and that a token attends to itself only if it has no other key. Interpretation: keys of several rounds are united,
    each counted once, and the first chunk has none before it. Hash and softmax are float32 under autocast. With
    ``causal`` no value of a later token is read, though where chunks end depends on how many fall into each bucket.

    Args:
        channels: width C of the tokens.
        buckets: even; for N tokens about 2 N / chunk.
        rounds: R, each with rotations of its own.
        chunk: tokens of a chunk.
        heads: of the attention; None takes as many as give each ``head_channels``.
        head_channels: width of a head if ``heads`` is None.
        causal: a token looks at none behind it.

    Raises:
        ValueError: the width is not divisible by the heads, ``buckets`` is odd, or a number below its least.
    """

    TRAITS = MixerTraits(cost="N log N", causal="option")
    rotations: Tensor

    def __init__(
        self, channels: int, *, buckets: int = 32, rounds: int = 2, chunk: int = 64, heads: int | None = None,
        head_channels: int = 32, causal: bool = False,
    ) -> None:
        super().__init__()
        self.heads = count_heads(channels, heads, head_channels)
        if buckets < 2 or buckets % 2:
            raise ValueError(f"buckets must be even and >= 2, got {buckets}")
        for name, value in (("rounds", rounds), ("chunk", chunk)):
            if value < 1:
                raise ValueError(f"{name} must be >= 1, got {value}")
        self.chunk, self.causal = chunk, causal
        self.to_qk, self.to_v = nn.Linear(channels, channels), nn.Linear(channels, channels)
        self.proj = nn.Linear(channels, channels)
        self.register_buffer("rotations", torch.randn(self.heads, rounds, channels // self.heads, buckets // 2))
        init_linear_layers(self)

    @torch.no_grad()
    def redraw(self, generator: torch.Generator | None = None) -> None:
        """Draw other rotations, which all weights fit as well."""
        self.rotations.normal_(generator=generator)

    def forward(self, x: Tensor, size: tuple[int, int] | None = None, mask: Tensor | None = None) -> Tensor:
        """(B, N, C) -> (B, N, C); tokens where ``mask`` (B, N) is False are not looked at and become 0.

        ``size`` is not needed: tokens are a row, and near ones of a bucket are near in it.
        """
        x = keep_real(x, mask)
        qk, v = (by_head(to(x), self.heads) for to in (self.to_qk, self.to_v))                 # (B, heads, N, D) each
        with without_autocast(x.device.type):
            qk, v = at_least_float32(qk, v)
            mixed = bucket_attention(qk, v, self.hashed(qk, mask), causal=self.causal)
        return keep_real(self.proj(together(mixed).to(x.dtype)), mask)

    def hashed(self, qk: Tensor, mask: Tensor | None = None) -> ChunkedBuckets:
        """Vectors (B, heads, N, D), mask (B, N) -> their buckets of all rounds, sorted and cut into chunks."""
        buckets = hash_buckets(qk.detach(), self.rotations.to(qk.dtype), mask)
        return ChunkedBuckets.of(buckets, self.chunk)

    def absorb_affine(self, scale: Tensor, shift: Tensor) -> None:
        """Take a scale and a shift of the tokens over."""
        absorb(self.to_qk, scale, shift)
        absorb(self.to_v, scale, shift)
