"""A depthwise convolution as the token mixer."""

from __future__ import annotations

from torch import Tensor, nn

from perception.registry import MODELS

from ..token_layout import checked_size, keep_real, map_of, tokens_of
from .traits import MixerTraits


@MODELS.register_module(role="token_mixer")
class DepthwiseConvMixer(nn.Module):
    """A weighted sum of the window around each token, each channel with weights of its own.

    Args:
        channels: width C of the tokens.
        kernel: side of the window, odd; what lies beyond the border is 0.

    Raises:
        ValueError: ``kernel`` is even or below 1.
    """

    TRAITS = MixerTraits(cost="N")

    def __init__(self, channels: int, *, kernel: int = 3) -> None:
        super().__init__()
        if kernel < 1 or kernel % 2 == 0:
            raise ValueError(f"kernel must be odd and >= 1, got {kernel}")
        self.conv = nn.Conv2d(channels, channels, kernel, padding=kernel // 2, groups=channels)

    def forward(self, x: Tensor, size: tuple[int, int] | None = None, mask: Tensor | None = None) -> Tensor:
        """(B, N, C) tokens of a map of H, W -> (B, N, C); where ``mask`` (B, N) is False they count as 0 and become 0.

        Raises:
            ValueError: there is no ``size``, or it is that of other than N tokens.
        """
        size = checked_size(size, x, "DepthwiseConvMixer")
        return keep_real(tokens_of(self.conv(map_of(keep_real(x, mask), size))), mask)
