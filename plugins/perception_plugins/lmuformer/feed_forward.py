"""The channel mixer of LMUFormer: two linear layers, each with a batch normalisation."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from perception.models.mixers.traits import MixerTraits
from perception.models.token_layout import keep_real
from perception.registry import MODELS

from .norm import RealTokenNorm


@MODELS.register_module(role="channel_mixer")
class NormedFeedForward(nn.Module):
    """Linear layer, norm, GELU, linear layer, norm and ReLU (LMUFormer, section 3.2, and the released code).

    Args:
        channels: width C of the tokens.
        ratio: hidden over outer width; the hidden width is rounded down.
        norm: "batch" as published, or "none".

    Raises:
        ValueError: the hidden width is below 1, or the norm unknown.
    """

    TRAITS = MixerTraits(cost="N", causal="always", masked=True)

    def __init__(self, channels: int, *, ratio: float = 4.0, norm: str = "batch") -> None:
        super().__init__()
        hidden = int(channels * ratio)
        if hidden < 1:
            raise ValueError(f"the hidden width must be >= 1, got {hidden} for {channels} channels")
        self.fc1, self.norm1 = nn.Linear(channels, hidden), RealTokenNorm(hidden, norm)
        self.fc2, self.norm2 = nn.Linear(hidden, channels), RealTokenNorm(channels, norm)

    def forward(self, x: Tensor, size: tuple[int, int] | None = None, mask: Tensor | None = None) -> Tensor:
        """(B, N, C) -> (B, N, C), each token by itself; 0 where ``mask`` (B, N) is False. ``size`` is not needed."""
        hidden = F.gelu(self.norm1(self.fc1(x), mask))                                     # (B, N, hidden)
        return keep_real(self.norm2(self.fc2(hidden), mask).relu(), mask)
