"""A linear layer over the places of a map of one size."""

from __future__ import annotations

from torch import Tensor, nn

from perception.registry import MODELS

from ..token_layout import keep_real
from .traits import MixerTraits


@MODELS.register_module(role="token_mixer")
class SpatialLinearMixer(nn.Module):
    """A learned matrix between places, the same for every channel ("spatial fully connected" in PoolFormer's ablation).

    Args:
        channels: width C of the tokens.
        tokens: their number N, which it is bound to.
        bias: add a learned number at each place.

    Raises:
        ValueError: ``tokens`` is below 1.
    """

    TRAITS = MixerTraits(cost="N^2")

    def __init__(self, channels: int, *, tokens: int, bias: bool = False) -> None:
        super().__init__()
        if tokens < 1:
            raise ValueError(f"tokens must be >= 1, got {tokens}")
        self.channels, self.tokens = channels, tokens
        self.fc = nn.Linear(tokens, tokens, bias=bias)

    def forward(self, x: Tensor, size: tuple[int, int] | None = None, mask: Tensor | None = None) -> Tensor:
        """(B, N, C) -> (B, N, C); tokens where ``mask`` (B, N) is False count as 0 and become 0.

        Raises:
            ValueError: there are more or fewer tokens than it is bound to.
        """
        if x.shape[1] != self.tokens:
            raise ValueError(f"SpatialLinearMixer is bound to {self.tokens} tokens, got {x.shape[1]}")
        mixed = self.fc(keep_real(x, mask).transpose(1, 2))                                # (B, C, N)
        return keep_real(mixed.transpose(1, 2), mask)
