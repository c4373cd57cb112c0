"""The block of VMamba, and a column of them as a mixer of BEV maps."""

from __future__ import annotations

from timm.layers import DropPath
from torch import Tensor, nn

from perception.models.mixers.feed_forward import FeedForward

from .ss2d import SS2D


class VSSBlock(nn.Module):
    """`SS2D` and a feed-forward net, each behind a norm and with a shortcut.

    "VMamba" (Liu et al., NeurIPS 2024), section 4.3 and figure 3.

    Args:
        channels: width C.
        op: the scan of the map.
        mlp_ratio: hidden over outer width of the feed-forward net; 0 goes without.
        drop_path: probability that a sample goes without a branch in training.
    """

    def __init__(self, channels: int, op: SS2D, *, mlp_ratio: float = 4.0, drop_path: float = 0.0) -> None:
        super().__init__()
        self.norm, self.op = nn.LayerNorm(channels, eps=1e-5), op
        self.norm2 = nn.LayerNorm(channels, eps=1e-5) if mlp_ratio > 0 else None
        self.mlp = FeedForward(channels, ratio=mlp_ratio) if mlp_ratio > 0 else None
        self.drop_path = DropPath(drop_path) if drop_path > 0 else nn.Identity()

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Mix once.

        Args:
            x: (B, H, W, C).
            mask: (B, H, W) bool, False where a place is not to be looked at; it mixes with no other.

        Returns:
            (B, H, W, C).
        """
        x = x + self.drop_path(keep_places(self.op(keep_places(self.norm(x), mask), mask), mask))
        if self.mlp is not None and self.norm2 is not None:
            x = x + self.drop_path(self.mlp(self.norm2(x)))
        return x


def keep_places(x: Tensor, mask: Tensor | None) -> Tensor:
    """(B, H, W, C), 0 where the mask (B, H, W) bool is False; None leaves it as it is."""
    return x if mask is None else x.masked_fill(~mask[..., None], 0.0)
