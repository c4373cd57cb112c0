"""Average pooling as the token mixer (PoolFormer, section 3.2)."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from perception.models.mixers.traits import MixerTraits
from perception.models.token_layout import checked_size, keep_real, map_of, tokens_of
from perception.registry import MODELS


@MODELS.register_module(role="token_mixer")
class PoolingMixer(nn.Module):
    """Mean of the window around each token less the token itself, which the block's shortcut adds again (equation 4).

    Args:
        channels: width C of the tokens.
        pool_size: side of the window, odd; what lies beyond the border does not count.

    Raises:
        ValueError: ``pool_size`` is even or below 1.
    """

    TRAITS = MixerTraits(cost="N")

    def __init__(self, channels: int, *, pool_size: int = 3) -> None:
        super().__init__()
        if pool_size < 1 or pool_size % 2 == 0:
            raise ValueError(f"pool_size must be odd and >= 1, got {pool_size}")
        self.channels, self.pool_size = channels, pool_size

    def forward(self, x: Tensor, size: tuple[int, int] | None = None, mask: Tensor | None = None) -> Tensor:
        """(B, N, C) tokens of a map of H, W -> (B, N, C); where ``mask`` (B, N) is False they don't count and become 0.

        Raises:
            ValueError: there is no ``size``, or it is that of other than N tokens.
        """
        size = checked_size(size, x, "PoolingMixer")
        if mask is None:
            return tokens_of(self._pool(map_of(x, size))).sub_(x)
        share = tokens_of(self._pool(map_of(mask[:, :, None].to(x.dtype), size)))          # (B, N, 1) that counts
        pooled = tokens_of(self._pool(map_of(keep_real(x, mask), size)))
        return keep_real(pooled / share.clamp(min=1 / self.pool_size**2) - x, mask)

    def _pool(self, x: Tensor) -> Tensor:
        return F.avg_pool2d(x, self.pool_size, stride=1, padding=self.pool_size // 2, count_include_pad=False)
