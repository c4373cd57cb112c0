"""MemoryFormer's mixers: attention whose projections are table reads, and two reads for the channels of a token."""

from __future__ import annotations

import math
from typing import Literal, get_args

from torch import Tensor, nn

from perception.models.attention.sequence import SequenceAttention
from perception.models.mixers.traits import MixerTraits
from perception.models.token_layout import keep_real
from perception.registry import MODELS

from .hashing import SignHash, Weighting
from .layer import MemoryLayer, MemoryTables

Projection = Literal["none", "shared", "each"]
Expansion = Literal["extra_bit", "extra_table"]
EXTRA_BITS = 2                                       # of the second layer's addresses: four times the rows
NORM_EPS = 1e-5


@MODELS.register_module(role="token_mixer")
class MemoryAttentionMixer(SequenceAttention):
    """Multi-head attention whose queries, keys and values are read from tables; nothing projects the output.

    Args:
        channels: width C of the tokens.
        heads: attention heads; None takes as many as give each ``head_channels``.
        head_channels: width of a head if ``heads`` is None.
        tables: K of each of the three layers; None takes as many as read all channels.
        bits: of an address.
        weighting, temperature: see `SignHash`.
        projection: "none" hashes the tokens as they are, once for all three; "shared" projects them first, once; "each"
            projects and hashes them for each of the three.
        causal: a token sees itself and those before it.
        rotary_pct: share of a head's channels that turn by position, in the order of the tokens; 0 knows no places.
        rotary_base: wave length of the slowest of them over 2 pi.

    Raises:
        ValueError: ``channels`` is not divisible by the heads, the channels that turn are odd, the projection is
            unknown, or as `SignHash`.
    """

    TRAITS = MixerTraits(cost="N^2", causal="option")    # no streaming: what it keeps of the past grows with it

    def __init__(
        self, channels: int, *, heads: int | None = None, head_channels: int = 32, tables: int | None = None,
        bits: int = 8, weighting: Weighting = "released", temperature: float = 1.0, projection: Projection = "none",
        causal: bool = False, rotary_pct: float = 0.0, rotary_base: float = 10000.0,
    ) -> None:
        super().__init__(
            channels, heads=heads, head_channels=head_channels, causal=causal, rotary_pct=rotary_pct,
            rotary_base=rotary_base,
        )
        if projection not in get_args(Projection):
            raise ValueError(f"projection must be one of {', '.join(get_args(Projection))}, got {projection!r}")
        number = -(-channels // max(bits, 1)) if tables is None else tables
        self.hash: SignHash | None = None
        if projection != "each":
            self.hash = SignHash(
                channels, number, bits, weighting=weighting, temperature=temperature,
                projection=projection == "shared",
            )

        def layer() -> MemoryTables:
            if projection != "each":
                return MemoryTables(channels, number, bits)
            return MemoryLayer(
                channels, channels, number, bits, weighting=weighting, temperature=temperature, projection=True
            )

        self.query_proj, self.key_proj, self.value_proj = (layer() for _ in range(3))
        self.init_weights()

    def init_weights(self) -> None:
        """Tables normal with a variance of 2 / (5 C), as the authors begin."""
        for layer in (self.query_proj, self.key_proj, self.value_proj):
            nn.init.normal_(layer.tables, std=math.sqrt(2 / (5 * layer.out_channels)))

    def read(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values of tokens (B, N, C), (B, N, C) each, before heads and positions."""
        layers = (self.query_proj, self.key_proj, self.value_proj)
        if self.hash is None:
            query, key, value = (layer(x) for layer in layers)
        else:
            at = self.hash(x)
            query, key, value = (layer.read(at).view(x.shape) for layer in layers)
        return query, key, value


@MODELS.register_module(role="channel_mixer")
class MemoryFeedForward(nn.Module):
    """Two table reads with a layer normalisation in between, for each token by itself; no activation.

    Args:
        channels: width C of the tokens.
        tables: K of the first layer; None takes as many as read all channels.
        bits: of the first layer's addresses.
        expand: "extra_bit" makes K (bits + 2) channels, which K tables with two more bits read; "extra_table" makes
            2 C, which 2 K tables read.
        weighting, temperature: see `SignHash`.
        projection: both layers project before they hash.

    Raises:
        ValueError: the expansion is unknown, or as `SignHash`.
    """

    TRAITS = MixerTraits(cost="N", causal="always")

    def __init__(
        self, channels: int, *, tables: int | None = None, bits: int = 8, expand: Expansion = "extra_bit",
        weighting: Weighting = "released", temperature: float = 1.0, projection: bool = False,
    ) -> None:
        super().__init__()
        if expand not in get_args(Expansion):
            raise ValueError(f"expand must be one of {', '.join(get_args(Expansion))}, got {expand!r}")
        number = -(-channels // max(bits, 1)) if tables is None else tables
        wider = expand == "extra_bit"
        hidden = number * (bits + EXTRA_BITS) if wider else 2 * channels
        second = (number, bits + EXTRA_BITS) if wider else (2 * number, bits)

        def layer(inputs: int, outputs: int, tables: int, bits: int) -> MemoryLayer:
            return MemoryLayer(
                inputs, outputs, tables, bits, weighting=weighting, temperature=temperature, projection=projection
            )

        self.fc1 = layer(channels, hidden, number, bits)
        self.norm = nn.LayerNorm(hidden, eps=NORM_EPS)
        self.fc2 = layer(hidden, channels, *second)

    def forward(self, x: Tensor, size: tuple[int, int] | None = None, mask: Tensor | None = None) -> Tensor:
        """(..., C) -> (..., C), of (B, N, C) tokens 0 where ``mask`` (B, N) is False; ``size`` is not needed."""
        return keep_real(self.fc2(self.norm(self.fc1(x))), mask)
