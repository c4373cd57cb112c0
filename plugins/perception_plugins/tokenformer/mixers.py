"""TokenFormer's mixers: attention whose projections are `Pattention`, and one `Pattention` for the channels."""

from __future__ import annotations

from torch import Tensor, nn

from perception.models.attention.sequence import SequenceAttention
from perception.models.mixers.traits import MixerTraits
from perception.models.token_layout import keep_real
from perception.registry import MODELS

from .pattention import Pattention


@MODELS.register_module(role="token_mixer")
class PattentionMixer(SequenceAttention):
    """Multi-head attention among tokens; queries, keys, values and the output are projected by parameter tokens.

    Args:
        channels: width C of the tokens.
        heads: attention heads; None takes as many as give each ``head_channels``.
        head_channels: width of a head if ``heads`` is None.
        qkv_slots: rows of the tables of queries, keys and values each; None takes C.
        proj_slots: rows of the table behind; None takes C.
        slot_factor: times as many rows of all tables, rounded: see `grow_config`.
        causal: a token sees itself and those before it.
        rotary_pct: share of a head's channels that turn by position, in the order of the tokens; 0 knows no places.
        rotary_base: wave length of the slowest of them over 2 pi.
        activation, dropout, layers: of the tables, see `Pattention`.

    Raises:
        ValueError: ``channels`` is not divisible by the heads, the channels that turn are odd, or as `Pattention`.
    """

    TRAITS = MixerTraits(cost="N^2", causal="option")    # no streaming: what it keeps of the past grows with it

    def __init__(
        self, channels: int, *, heads: int | None = None, head_channels: int = 32, qkv_slots: int | None = None,
        proj_slots: int | None = None, slot_factor: float = 1.0, causal: bool = False, rotary_pct: float = 0.0,
        rotary_base: float = 10000.0, activation: str = "l2_norm_gelu", dropout: float = 0.0, layers: int = 12,
    ) -> None:
        super().__init__(
            channels, heads=heads, head_channels=head_channels, causal=causal, rotary_pct=rotary_pct,
            rotary_base=rotary_base,
        )

        def table(slots: int | None) -> Pattention:
            rows = scaled_slots(channels if slots is None else slots, slot_factor)
            return Pattention(channels, channels, rows, activation=activation, dropout=dropout, layers=layers)

        self.query, self.key, self.value = (table(qkv_slots) for _ in range(3))
        self.proj = table(proj_slots)

    def read(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values of tokens (B, N, C), (B, N, C) each, before heads and positions."""
        return self.query(x), self.key(x), self.value(x)

    def close(self, mixed: Tensor) -> Tensor:
        """Mixed values (B, N, C) through the last table."""
        return self.proj(mixed)


@MODELS.register_module(role="channel_mixer")
class PattentionFeedForward(nn.Module):
    """One `Pattention` of each token by itself, which is all of TokenFormer's feed-forward part.

    Args:
        channels: width C of the tokens.
        slots: rows of the table; None takes 4 C.
        slot_factor: times as many rows, rounded: see `grow_config`.
        activation, dropout, layers: see `Pattention`.

    Raises:
        ValueError: as `Pattention`.
    """

    TRAITS = MixerTraits(cost="N", causal="always")

    def __init__(
        self, channels: int, *, slots: int | None = None, slot_factor: float = 1.0, activation: str = "l2_norm_gelu",
        dropout: float = 0.0, layers: int = 12,
    ) -> None:
        super().__init__()
        rows = scaled_slots(4 * channels if slots is None else slots, slot_factor)
        self.mlp = Pattention(channels, channels, rows, activation=activation, dropout=dropout, layers=layers)

    def forward(self, x: Tensor, size: tuple[int, int] | None = None, mask: Tensor | None = None) -> Tensor:
        """(..., C) -> (..., C), of (B, N, C) tokens 0 where ``mask`` (B, N) is False; ``size`` is not needed."""
        return keep_real(self.mlp(x), mask)


def scaled_slots(slots: int, factor: float) -> int:
    """``factor`` times as many rows, rounded, at least 1. Raises ValueError unless the factor is above 0."""
    if factor <= 0:
        raise ValueError(f"slot_factor must be > 0, got {factor}")
    return max(1, round(slots * factor))
