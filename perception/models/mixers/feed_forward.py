"""The two-layer perceptron of each token."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn
from torch.nn import functional as F

from perception.compression.batch_norm import absorb
from perception.errors import suggestion
from perception.registry import MODELS

from ..token_layout import keep_real
from .traits import MixerTraits

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {       # all of them leave 0 as it is
    "gelu": F.gelu, "gelu_tanh": lambda x: F.gelu(x, approximate="tanh"), "relu": F.relu, "silu": F.silu,
}


@MODELS.register_module(role="channel_mixer")
class FeedForward(nn.Module):
    """Two linear layers with a non-linearity in between, applied to each token by itself.

    Args:
        channels: width C of the tokens.
        ratio: hidden over outer width; the hidden width is rounded down.
        hidden: hidden width in place of ``ratio``.
        dropout: share of numbers dropped in training, behind the non-linearity and behind the second layer.
        activation: the non-linearity: "gelu", which is exact, "gelu_tanh", "relu" or "silu".

    Raises:
        ValueError: the hidden width is below 1, or there is no such non-linearity.
    """

    TRAITS = MixerTraits(cost="N", causal="always")

    def __init__(
        self, channels: int, *, ratio: float = 4.0, hidden: int | None = None, dropout: float = 0.0,
        activation: str = "gelu",
    ) -> None:
        super().__init__()
        hidden = hidden_width(channels, ratio, hidden)
        self.activation, self.activate = activation, activation_of(activation)
        self.fc1 = nn.Linear(channels, hidden)
        self.fc2 = nn.Linear(hidden, channels)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, size: tuple[int, int] | None = None, mask: Tensor | None = None) -> Tensor:
        """(..., C) -> (..., C), of (B, N, C) tokens 0 where ``mask`` (B, N) is False; ``size`` is not needed."""
        hidden = self.dropout(self.activate(self.fc1(x)))
        return keep_real(self.dropout(self.fc2(hidden)), mask)

    def absorb_affine(self, scale: Tensor, shift: Tensor) -> None:
        """Take a scale and a shift of the tokens over."""
        absorb(self.fc1, scale, shift)


def hidden_width(channels: int, ratio: float, hidden: int | None) -> int:
    """The width between the two layers: ``hidden``, or ``ratio`` times that of the tokens, rounded down.

    Raises:
        ValueError: it is below 1.
    """
    hidden = int(channels * ratio) if hidden is None else hidden
    if hidden < 1:
        raise ValueError(f"the hidden width must be >= 1, got {hidden} for {channels} channels")
    return hidden


def activation_of(name: str) -> Callable[[Tensor], Tensor]:
    """The non-linearity of that name. Raises ValueError that lists the known ones."""
    if name not in ACTIVATIONS:
        known = ", ".join(ACTIVATIONS)
        raise ValueError(f"activation must be one of {known}, got {name!r}{suggestion(name, ACTIVATIONS)}")
    return ACTIVATIONS[name]
