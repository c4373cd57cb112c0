"""Complex attention as a token mixer."""

from __future__ import annotations

from torch import Tensor

from perception.models.attention.causal import earlier_keys
from perception.models.attention.heads import count_heads
from perception.models.mixers.attention import seen_keys
from perception.models.mixers.traits import MixerTraits
from perception.models.token_layout import checked_size, keep_real
from perception.registry import MODELS

from .attention import ComplexAttention, Start
from .phase import FreqDtype, plane_places


@MODELS.register_module(role="token_mixer")
class ComplexAttentionMixer(ComplexAttention):
    """`ComplexAttention` that knows where tokens are: in the plane if they form a map, else in their order.

    Positions in the plane are our interpretation: half the pairs of channels tell the row, half the column.

    Args:
        channels: width C of the tokens.
        heads: attention heads; None takes as many as give each ``head_channels``.
        head_channels: width of a head if ``heads`` is None, even.
        causal: a token sees itself and those before it; they then are a sequence, whatever map they form.
        plane: use the map's rows and columns.
        cell: length of a cell of the map, in cells of the map that was learned on: 0.5 for one twice as fine.
        scale, freq_dtype, start: see `ComplexAttention`.

    Raises:
        ValueError: as `ComplexAttention`, or ``cell`` is not above 0.
    """

    TRAITS = MixerTraits(cost="N^2", causal="option")    # no streaming: what it keeps of the past grows with it

    def __init__(
        self, channels: int, *, heads: int | None = None, head_channels: int = 32, causal: bool = False,
        plane: bool = True, cell: float = 1.0, scale: float = 1.0, freq_dtype: FreqDtype = "float32",
        start: Start = "released",
    ) -> None:
        heads = count_heads(channels, heads, head_channels)
        super().__init__(channels, heads, causal=causal, scale=scale, freq_dtype=freq_dtype, start=start)
        if cell <= 0:
            raise ValueError(f"cell must be > 0, got {cell}")
        self.plane, self.cell = plane and not causal, cell

    def forward(                                         # type: ignore[override]  # a mixer's call, not the attention's
        self, x: Tensor, size: tuple[int, int] | None = None, mask: Tensor | None = None
    ) -> Tensor:
        """(B, N, C) -> (B, N, C); tokens where ``mask`` (B, N) is False are not looked at and become 0.

        Raises:
            ValueError: ``size`` is that of other than N tokens.
        """
        places = None
        if self.plane and size is not None:
            places = plane_places(checked_size(size, x, "ComplexAttentionMixer"), self.cell, device=x.device)
        seen = None if mask is None else seen_keys(mask)
        if self.causal and mask is not None:
            seen = earlier_keys(x.shape[1], x.shape[1], mask, device=x.device)
        return keep_real(super().forward(x, seen, places), mask)
