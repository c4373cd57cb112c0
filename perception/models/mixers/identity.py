"""The mixer that mixes nothing: what is left of a network when its mixing is taken away."""

from __future__ import annotations

from torch import Tensor, nn

from perception.registry import MODELS

from ..token_layout import keep_real
from .traits import MixerTraits


@MODELS.register_module(role="token_mixer")
class IdentityMixer(nn.Module):
    """Gives each token back ("MetaFormer Is Actually What You Need for Vision", Yu et al., CVPR 2022, table 5).

    Args:
        channels: width C of the tokens.
    """

    TRAITS = MixerTraits(cost="N", causal="always")

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels

    def forward(self, x: Tensor, size: tuple[int, int] | None = None, mask: Tensor | None = None) -> Tensor:
        """(B, N, C) -> (B, N, C), 0 where ``mask`` (B, N) is False; ``size`` is not needed."""
        return keep_real(x, mask)
