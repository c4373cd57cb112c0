"""The gating unit of Activator.

"Activator: GLU Activation Function as the Core Component of a Vision Transformer" (2024).
"""

from __future__ import annotations

from torch import Tensor, nn

from perception.models.mixers.feed_forward import activation_of, hidden_width
from perception.models.mixers.traits import MixerTraits
from perception.models.token_layout import keep_real
from perception.registry import MODELS


@MODELS.register_module(role="channel_mixer")
class ActivatorGLU(nn.Module):
    """The product of two normalised linear layers of a token, one of them behind a non-linearity, and a linear layer.

    It is a channel mixer: although the paper speaks of interaction of tokens, nothing in the authors' code crosses
    them, so beside it there must be a token mixer where places matter. One norm serves both factors.

    Args:
        channels: width C of the tokens.
        ratio: hidden over outer width, 2 in the authors' networks; the hidden width is rounded down.
        hidden: hidden width F in place of ``ratio``.
        activation: "gelu", exact, as in the authors' code; the paper also describes "silu" and "relu".

    Raises:
        ValueError: the hidden width is below 1, or there is no such non-linearity.
    """

    TRAITS = MixerTraits(cost="N", causal="always")

    def __init__(
        self, channels: int, *, ratio: float = 2.0, hidden: int | None = None, activation: str = "gelu"
    ) -> None:
        super().__init__()
        hidden = hidden_width(channels, ratio, hidden)
        self.activation, self.activate = activation, activation_of(activation)
        self.gate, self.up = nn.Linear(channels, hidden), nn.Linear(channels, hidden)
        self.norm = nn.LayerNorm(hidden)
        self.down = nn.Linear(hidden, channels)

    def forward(self, x: Tensor, size: tuple[int, int] | None = None, mask: Tensor | None = None) -> Tensor:
        """(..., C) -> (..., C), of (B, N, C) tokens 0 where ``mask`` (B, N) is False; ``size`` is not needed."""
        gate = self.norm(self.activate(self.gate(x)))                                       # (..., F)
        return keep_real(self.down(gate * self.norm(self.up(x))), mask)
