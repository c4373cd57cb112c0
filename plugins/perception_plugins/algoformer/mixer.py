"""An AlgoFormer in place of one attention layer of a host."""

from __future__ import annotations

from torch import Tensor, nn

from perception.models.mixers.traits import MixerTraits
from perception.models.token_layout import keep_real
from perception.registry import MODELS

from .looped import AlgoFormer


@MODELS.register_module(role="token_mixer")
class AlgoFormerMixer(nn.Module):
    """A short `AlgoFormer` as token mixer (ours): compute grows with ``loops``, parameters do not.

    Args:
        channels: width C of the tokens.
        heads: attention heads; None takes as many as give each ``head_channels``.
        head_channels: width of a head if ``heads`` is None.
        loops: iterations of the middle layer; the attribute of this name may be changed at any time.
        mlp_ratio: hidden width of the perceptrons over C.
        inject: see `AlgoFormer`.
        causal: a token sees itself and those before it.

    Raises:
        ValueError: as `AlgoFormer` does.
    """

    TRAITS = MixerTraits(cost="N^2", causal="option")

    def __init__(
        self, channels: int, *, heads: int | None = None, head_channels: int = 32, loops: int = 3,
        mlp_ratio: float = 1.0, inject: str = "add", causal: bool = False,
    ) -> None:
        super().__init__()
        heads = max(channels // head_channels, 1) if heads is None else heads
        self.loops = loops
        self.body = AlgoFormer(
            channels, heads=heads, loops=loops, mlp_ratio=mlp_ratio, inject=inject, causal=causal
        )

    def forward(self, x: Tensor, size: tuple[int, int] | None = None, mask: Tensor | None = None) -> Tensor:
        """(B, N, C) -> (B, N, C); tokens where ``mask`` (B, N) is False are not looked at and become 0."""
        return keep_real(self.body(x, mask, loops=self.loops), mask)
