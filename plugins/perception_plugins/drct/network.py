"""DRCT: super-resolution of pictures by Swin layers that are densely connected within residual groups.

"DRCT: Saving Image Super-Resolution away from Information Bottleneck" (Hsu, Lee and Chou, CVPR workshops 2024).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import torch
from timm.layers import trunc_normal_
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from perception.models.token_layout import map_of, tokens_of
from perception.registry import MODELS

from .attention import shift_mask
from .group import ResidualDenseGroup

GROUPS = {"drct": 6, "drct_l": 12}                   # all else is the same
CONV_REACH = 4                                       # of all convolutions together, at any scale
MEAN = (0.4488, 0.4371, 0.4040)                      # of DF2K's pictures, RGB


@MODELS.register_module(role="super_resolution_net")
class DRCT(nn.Module):
    """Enlarges pictures: shallow features, residual dense groups, and sub-pixel convolutions.

    Args:
        scale: factor of both sides, 3 or a power of two.
        variant: "drct" or "drct_l" sets the number of groups.
        depths: one number a group, instead of the variant's sixes; they set the rates of ``drop_path`` alone, for a
            group always has five layers.
        channels: width of the tokens.
        growth: channels that each layer of a group adds.
        heads: of a group's first layer, one for all groups or one a group; see `ResidualDenseGroup`.
        window: side of the windows.
        mlp_ratio: hidden over outer width of the feed-forward layers of each group's first three layers.
        features: width of the enlarging part.
        in_channels: of the pictures; only those of 3 have a mean taken off.
        image_size: side of the pictures it was made for. One of at most ``window`` shrinks the windows to it and leaves
            them unmoved; all others only matter with ``position_table``.
        image_range: factor on the pictures inside.
        qkv_bias: the projections to queries, keys and values have a bias.
        embed_norm: normalise the tokens at the beginning.
        position_table: add a learnt vector a place; then pictures must have the size ``image_size``.
        body_conv: a convolution behind the groups.
        dropout, attention_dropout: see `SwinLayer`.
        drop_path: of the last layer by ``depths``; rates rise linearly from 0, and a group has that of its first layer.
        shortcut: what the last convolution's output is added to: the mean colour, as published, or the bicubic
            enlargement, which it then equals at first and which a small network has soon surpassed.
        checkpointing: compute the inside of the groups again for their gradients, which takes less memory.

    Attributes:
        divisor: height and width of pictures must be multiples of it.
        reach: an output pixel depends on no input pixel farther than this from its own place.

    Raises:
        ValueError: the variant, the scale or the shortcut is unknown, a side is below 1, a number of values is not that
            of the groups, or widths are not divisible by heads.
    """

    mean: Tensor

    def __init__(
        self,
        scale: int = 4,
        *,
        variant: str = "drct",
        depths: Sequence[int] | None = None,
        channels: int = 180,
        growth: int = 32,
        heads: int | Sequence[int] = 6,
        window: int = 16,
        mlp_ratio: float = 2.0,
        features: int = 64,
        in_channels: int = 3,
        image_size: int = 64,
        image_range: float = 1.0,
        qkv_bias: bool = True,
        embed_norm: bool = True,
        position_table: bool = False,
        body_conv: bool = True,
        dropout: float = 0.0,
        attention_dropout: float = 0.0,
        drop_path: float = 0.1,
        shortcut: Literal["mean", "bicubic"] = "mean",
        checkpointing: bool = False,
    ) -> None:
        super().__init__()
        if variant not in GROUPS:
            raise ValueError(f"variant must be one of {', '.join(GROUPS)}, got {variant!r}")
        if shortcut not in ("mean", "bicubic"):
            raise ValueError(f'shortcut must be "mean" or "bicubic", got {shortcut!r}')
        if min(window, image_size) < 1:
            raise ValueError(f"window and image_size must be >= 1, got {window} and {image_size}")
        depths = (6,) * GROUPS[variant] if depths is None else tuple(depths)
        heads = (heads,) * len(depths) if isinstance(heads, int) else tuple(heads)
        if not depths or len(heads) != len(depths):
            raise ValueError(f"depths and heads must have one number a group, got {depths} and {heads}")
        self.scale, self.in_channels, self.image_size = scale, in_channels, image_size
        self.image_range, self.shortcut, self.checkpointing = image_range, shortcut, checkpointing
        self.divisor, self.shift = min(window, image_size), 0 if image_size <= window else window // 2
        self.reach = (2 * len(depths) + 1) * self.divisor + CONV_REACH    # two windows a group, and the pixel's own
        mean = torch.tensor(MEAN) if in_channels == 3 else torch.zeros(in_channels)
        self.register_buffer("mean", mean.view(-1, 1, 1), persistent=False)
        self.conv_first = _conv(in_channels, channels)
        self.embed_norm = nn.LayerNorm(channels) if embed_norm else nn.Identity()
        self.position = nn.Parameter(torch.zeros(1, image_size**2, channels)) if position_table else None
        if self.position is not None:
            trunc_normal_(self.position, std=0.02)
        self.dropout = nn.Dropout(dropout)
        self.groups = nn.ModuleList(
            ResidualDenseGroup(
                channels, growth, count, self.divisor, self.shift, mlp_ratio=mlp_ratio, qkv_bias=qkv_bias,
                dropout=dropout, attention_dropout=attention_dropout, drop_path=rate,
            )
            for count, rate in zip(heads, group_rates(depths, drop_path), strict=True)
        )
        self.norm = nn.LayerNorm(channels)
        self.body_conv = _conv(channels, channels) if body_conv else nn.Identity()
        self.before_upsample = nn.Sequential(_conv(channels, features), nn.LeakyReLU())
        self.upsample = nn.Sequential(*_sub_pixel_layers(scale, features))
        self.conv_last = _conv(features, in_channels)
        if shortcut == "bicubic":
            for parameter in self.conv_last.parameters():
                nn.init.zeros_(parameter)

    def forward(self, images: Tensor) -> Tensor:
        """Pictures (B, 3, H, W), RGB in [0, 1] -> (B, 3, scale * H, scale * W), not clamped.

        Raises:
            ValueError: the pictures have another shape, or a side that is no multiple of ``divisor``.
        """
        self._check(images)
        shallow = self.conv_first((images - self.mean) * self.image_range)                # (B, C, H, W)
        deep = self.body_conv(self._body(shallow)) + shallow
        y = self.conv_last(self.upsample(self.before_upsample(deep)))                     # (B, 3, sH, sW)
        return y / self.image_range + (self.mean if self.shortcut == "mean" else self._bicubic(images))

    def _body(self, maps: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        size = (maps.shape[2], maps.shape[3])
        tokens = self.embed_norm(tokens_of(maps))                                         # (B, H * W, C)
        if self.position is not None:
            tokens = tokens + self.position
        tokens = self.dropout(tokens)
        mask = shift_mask(size, self.divisor, self.shift, self.mean) if self.shift else None
        for group in self.groups:
            if self.checkpointing and self.training:
                tokens = checkpoint(group, tokens, size, mask, use_reentrant=False)
            else:
                tokens = group(tokens, size, mask)
        return map_of(self.norm(tokens), size)

    def _bicubic(self, images: Tensor) -> Tensor:
        size = (images.shape[2] * self.scale, images.shape[3] * self.scale)
        return F.interpolate(images, size, mode="bicubic", align_corners=False, antialias=True)

    def _check(self, images: Tensor) -> None:
        if images.dim() != 4 or images.shape[1] != self.in_channels:
            raise ValueError(f"images must be (B, {self.in_channels}, H, W), got {tuple(images.shape)}")
        H, W = images.shape[2:]
        if H < 1 or W < 1 or H % self.divisor or W % self.divisor:
            raise ValueError(f"images must have sides that are multiples of {self.divisor}, got {H} x {W}")
        if self.position is not None and {H, W} != {self.image_size}:
            raise ValueError(f"with position_table images must be {self.image_size} x {self.image_size}, got {H} x {W}")


def group_rates(depths: Sequence[int], drop_path: float) -> list[float]:
    """Stochastic-depth rate of each group: at its first layer's place on a line from 0 to ``drop_path``."""
    last = max(sum(depths) - 1, 1)
    return [drop_path * sum(depths[:number]) / last for number in range(len(depths))]


def _conv(in_channels: int, channels: int) -> nn.Conv2d:
    return nn.Conv2d(in_channels, channels, 3, padding=1)


def _sub_pixel_layers(scale: int, features: int) -> list[nn.Module]:
    """Convolutions whose channels become pixels: one for a scale of 3, one a doubling for powers of two."""
    if scale == 3:
        factors = [3]
    elif scale >= 2 and math.log2(scale).is_integer():
        factors = [2] * int(math.log2(scale))
    else:
        raise ValueError(f"scale must be 3 or a power of two, got {scale}")
    layers: list[nn.Module] = []
    for factor in factors:
        layers += [_conv(features, factor**2 * features), nn.PixelShuffle(factor)]
    return layers
