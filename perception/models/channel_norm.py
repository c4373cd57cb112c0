"""Layer normalisation of each pixel of a map over its channels."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F


class ChannelNorm(nn.LayerNorm):
    """Layer normalisation (Ba et al., 2016) over the channels of a map; computed in float32 whatever the map is.

    Args:
        channels: width C.
        eps: added to the variance.
    """

    def __init__(self, channels: int, eps: float = 1e-6) -> None:
        super().__init__(channels, eps)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W) of the same dtype."""
        rows = x.permute(0, 2, 3, 1).float()
        normed = F.layer_norm(rows, self.normalized_shape, self.weight.float(), self.bias.float(), self.eps)
        return normed.to(x.dtype).permute(0, 3, 1, 2)
