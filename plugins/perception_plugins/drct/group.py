"""The residual dense group of DRCT: five Swin layers, each of which sees what all before it have found."""

from __future__ import annotations

from typing import Any

import torch
from timm.layers import DropPath, Mlp, trunc_normal_
from torch import Tensor, nn
from torch.nn import functional as F

from .attention import WindowAttention, map_of_windows, shift_mask, windows_of

LAYERS = 5
SHIFTED = (1, 3)                                     # layers whose windows are moved by half a window
WIDE_MLP = 3                                         # the first so many layers heed ``mlp_ratio``, the others have 1
SLOPE = 0.2                                          # of the leaky ReLU behind a layer
RESIDUAL_SCALE = 0.2


class SwinLayer(nn.Module):
    """Attention within windows and a feed-forward layer, each behind a norm and beside a shortcut.

    Args:
        channels: width of the tokens, divisible by ``heads``.
        heads: of the attention.
        window: side of a window.
        shift: rows and columns by which the windows are moved, in [0, window).
        mlp_ratio: hidden over outer width of the feed-forward layer.
        qkv_bias, dropout, attention_dropout: see `WindowAttention`; the feed-forward layer has the first dropout too.
        drop_path: probability that a sample goes without a branch in training.

    Raises:
        ValueError: the width is not divisible by the heads, or the shift out of range.
    """

    def __init__(
        self, channels: int, heads: int, window: int, shift: int = 0, *, mlp_ratio: float = 2.0, qkv_bias: bool = True,
        dropout: float = 0.0, attention_dropout: float = 0.0, drop_path: float = 0.0,
    ) -> None:
        super().__init__()
        if not 0 <= shift < window:
            raise ValueError(f"shift must lie in [0, {window}), got {shift}")
        self.window, self.shift = window, shift
        self.norm1 = nn.LayerNorm(channels)
        self.attention = WindowAttention(
            channels, heads, window, qkv_bias=qkv_bias, dropout=dropout, attention_dropout=attention_dropout
        )
        self.norm2 = nn.LayerNorm(channels)
        self.mlp = Mlp(channels, int(channels * mlp_ratio), drop=dropout)
        self.drop_path = DropPath(drop_path) if drop_path > 0 else nn.Identity()
        for part in self.modules():
            if isinstance(part, nn.Linear):
                trunc_normal_(part.weight, std=0.02)
                if part.bias is not None:
                    nn.init.zeros_(part.bias)

    def forward(self, tokens: Tensor, size: tuple[int, int], mask: Tensor | None = None) -> Tensor:
        """Tokens (B, H * W, C) of a map -> the same form.

        Args:
            tokens: row by row.
            size: H and W, multiples of the window.
            mask: what `shift_mask` gives for that size, if several layers share it; a layer without shift needs none.
        """
        tokens = tokens + self.drop_path(self._attend(self.norm1(tokens), size, mask))
        return tokens + self.drop_path(self.mlp(self.norm2(tokens)))

    def _attend(self, tokens: Tensor, size: tuple[int, int], mask: Tensor | None) -> Tensor:
        x = tokens.unflatten(1, size)                                                     # (B, H, W, C)
        if self.shift == 0:
            mixed = self.attention(windows_of(x, self.window))
            return map_of_windows(mixed, self.window, size).flatten(1, 2)
        if mask is None:
            mask = shift_mask(size, self.window, self.shift, self.attention.bias_table)
        rolled = windows_of(x.roll((-self.shift, -self.shift), (1, 2)), self.window)
        mixed = map_of_windows(self.attention(rolled, mask), self.window, size)
        return mixed.roll((self.shift, self.shift), (1, 2)).flatten(1, 2)


class ResidualDenseGroup(nn.Module):
    """Layers of growing width with dense connections: layer k reads the group's input and what k layers have added.

    DRCT (Hsu et al., CVPR workshops 2024), section 3.2.

    Args:
        channels: width C of the group's tokens.
        growth: channels that each layer but the last adds.
        heads: of the first layer; a layer of width C_k has ``heads - C_k % heads``.
        window: side of a window.
        shift: rows and columns by which the windows of every other layer are moved.
        mlp_ratio: of the first three layers; the others have 1.
        kwargs: further arguments of each `SwinLayer`.

    Raises:
        ValueError: a layer's width is not divisible by the heads that the rule gives it.
    """

    def __init__(
        self, channels: int, growth: int, heads: int, window: int, shift: int, *, mlp_ratio: float = 2.0,
        **kwargs: Any,
    ) -> None:
        super().__init__()
        widths = [channels + number * growth for number in range(LAYERS)]
        self.heads = heads_of_layers(widths, heads)
        self.layers = nn.ModuleList(
            SwinLayer(
                width, self.heads[number], window, shift if number in SHIFTED else 0,
                mlp_ratio=mlp_ratio if number < WIDE_MLP else 1.0, **kwargs,
            )
            for number, width in enumerate(widths)
        )
        added = [growth] * (LAYERS - 1) + [channels]
        self.adjust = nn.ModuleList(nn.Linear(width, count) for width, count in zip(widths, added, strict=True))

    def forward(self, tokens: Tensor, size: tuple[int, int], mask: Tensor | None = None) -> Tensor:
        """(B, H * W, C) -> (B, H * W, C); ``size`` and ``mask`` as for `SwinLayer`."""
        found = tokens                                                                    # (B, N, C_k)
        for layer, adjust in zip(self.layers[:-1], self.adjust[:-1], strict=True):
            fresh = F.leaky_relu(adjust(layer(found, size, mask)), SLOPE)                 # (B, N, growth)
            found = torch.cat([found, fresh], dim=2)
        return RESIDUAL_SCALE * self.adjust[-1](self.layers[-1](found, size, mask)) + tokens


def heads_of_layers(widths: list[int], heads: int) -> list[int]:
    """Attention heads of layers by their widths: all of them in the first, ``heads - width % heads`` in the others.

    Raises:
        ValueError: there is no head, or a width is not divisible by its heads (choose other sizes).
    """
    if heads < 1:
        raise ValueError(f"heads must be >= 1, got {heads}")
    counts = [heads, *(heads - width % heads for width in widths[1:])]
    for width, count in zip(widths, counts, strict=True):
        if width % count:
            raise ValueError(
                f"channels and growth give a layer of width {width} with {count} heads, which do not divide it; "
                f"heads is {heads}"
            )
    return counts
