"""Manhattan self-attention for any network that mixes tokens."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from perception.models.mixers.traits import MixerTraits
from perception.models.token_layout import checked_size, keep_real
from perception.registry import MODELS

from .attention import MaSA
from .position import DecayPosition


@MODELS.register_module(role="token_mixer")
class ManhattanAttention(nn.Module):
    """Attention among all tokens of a map, whose logits fall with Manhattan distance; quadratic in the tokens.

    RMT (Fan et al., CVPR 2024), section 3.2.

    Args:
        channels: width C, divisible by twice the ``heads``.
        heads: of the attention.
        decay_start: see `DecayPosition`.
        decay_range: likewise, its ``span``.
    """

    TRAITS = MixerTraits(cost="N^2")

    decomposed = False

    def __init__(
        self, channels: int, *, heads: int = 4, decay_start: float = 2.0, decay_range: float = 4.0
    ) -> None:
        super().__init__()
        self.position = DecayPosition(channels, heads, decay_start, decay_range, decomposed=self.decomposed)
        self.attention = MaSA(channels, heads)

    def forward(self, x: Tensor, size: tuple[int, int] | None = None, mask: Tensor | None = None) -> Tensor:
        """Mix the tokens of a map.

        Args:
            x: (B, N, C), row by row.
            size: rows and columns H, W of the map; N = H * W.
            mask: (B, N) bool, True where a token is real; real ones see the others as if the map ended there.

        Returns:
            (B, N, C); 0 where ``mask`` is False.

        Raises:
            ValueError: the size is missing or is not that of the tokens, or the mask is none of theirs.
        """
        size = checked_size(size, x, type(self).__name__)
        tables = self.position(size)
        if mask is None:
            return self.attention(x.unflatten(1, size), tables).flatten(1, 2)
        if mask.dtype != torch.bool or mask.shape != x.shape[:2]:
            raise ValueError(f"mask must be bool {tuple(x.shape[:2])}, got {mask.dtype} {tuple(mask.shape)}")
        grid = keep_real(x, mask).unflatten(1, size)                                       # (B, H, W, C)
        return keep_real(self.attention(grid, tables, mask.unflatten(1, size)).flatten(1, 2), mask)


@MODELS.register_module(role="token_mixer")
class DecomposedManhattanAttention(ManhattanAttention):
    """The same along rows and then along columns: N * (H + W) pairs of tokens in place of N * N (section 3.3).

    Args:
        channels, heads, decay_start, decay_range: see `ManhattanAttention`.
    """

    TRAITS = MixerTraits(cost="N^1.5")

    decomposed = True
