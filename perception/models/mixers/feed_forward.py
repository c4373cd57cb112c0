"""The two-layer perceptron of each token."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from perception.compression.batch_norm import absorb
from perception.registry import MODELS

from ..token_layout import keep_real


@MODELS.register_module(role="channel_mixer")
class FeedForward(nn.Module):
    """Two linear layers with an exact GELU in between, applied to each token by itself.

    Args:
        channels: width C of the tokens.
        ratio: hidden over outer width; the hidden width is rounded down.
        hidden: hidden width in place of ``ratio``.
        dropout: share of numbers dropped in training, behind the GELU and behind the second layer.

    Raises:
        ValueError: the hidden width is below 1.
    """

    def __init__(
        self, channels: int, *, ratio: float = 4.0, hidden: int | None = None, dropout: float = 0.0
    ) -> None:
        super().__init__()
        hidden = int(channels * ratio) if hidden is None else hidden
        if hidden < 1:
            raise ValueError(f"the hidden width must be >= 1, got {hidden} for {channels} channels")
        self.fc1 = nn.Linear(channels, hidden)
        self.fc2 = nn.Linear(hidden, channels)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, size: tuple[int, int] | None = None, mask: Tensor | None = None) -> Tensor:
        """(..., C) -> (..., C), of (B, N, C) tokens 0 where ``mask`` (B, N) is False; ``size`` is not needed."""
        hidden = self.dropout(F.gelu(self.fc1(x)))
        return keep_real(self.dropout(self.fc2(hidden)), mask)

    def absorb_affine(self, scale: Tensor, shift: Tensor) -> None:
        """Take a scale and a shift of the tokens over."""
        absorb(self.fc1, scale, shift)
