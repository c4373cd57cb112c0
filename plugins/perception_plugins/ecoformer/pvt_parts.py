"""The parts of PVTv2 (Wang et al., Computational Visual Media 2022) in the form of token and channel mixers."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from perception.models.image_backbones.mit import MixFFN, ReducedAttention
from perception.models.token_layout import checked_size, keep_real, map_of, tokens_of
from perception.registry import MODELS


@MODELS.register_module()
class ConvFeedForward(MixFFN):
    """A `MixFFN` in the place of a channel mixer; it also mixes each token with its neighbours.

    Args:
        channels: width C of the tokens.
        ratio: hidden over outer width.
    """

    def __init__(self, channels: int, *, ratio: float = 4.0) -> None:
        super().__init__(channels, int(channels * ratio))

    def forward(self, x: Tensor, size: tuple[int, int] | None = None, mask: Tensor | None = None) -> Tensor:
        """(B, N, C) tokens of a map of H, W -> (B, N, C); where ``mask`` (B, N) is False they count as 0 and become 0.

        Raises:
            ValueError: there is no ``size``, or it is that of other than N tokens.
        """
        size = checked_size(size, x, "ConvFeedForward")
        hidden = tokens_of(self.dwconv(map_of(keep_real(self.fc1(x), mask), size)))
        return keep_real(self.fc2(F.gelu(hidden)), mask)


@MODELS.register_module()
class ReducedAttentionMixer(ReducedAttention):
    """A `ReducedAttention` in the place of a token mixer; arguments as there. It knows no masks."""

    def forward(self, x: Tensor, size: tuple[int, int] | None = None, mask: Tensor | None = None) -> Tensor:
        """(B, N, C) tokens of a map of H, W -> (B, N, C).

        Raises:
            ValueError: there is a ``mask`` or no ``size``, or the map does not fill one window of the reduction.
        """
        size = checked_size(size, x, "ReducedAttentionMixer")
        if mask is not None:
            raise ValueError("ReducedAttentionMixer takes no mask: its windows mix tokens before attention sees them")
        if min(size) < self.reduction:
            raise ValueError(
                f"a map of {size[0]} x {size[1]} tokens does not fill one window of the reduction ({self.reduction})"
            )
        return super().forward(x, size)
