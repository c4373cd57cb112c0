"""From the maps of a backbone to finer and finer ones that axial attention and convolutions have worked over.

"k-means Mask Transformer" (Yu et al., ECCV 2022), section 3.3 and the pixel decoder of figure 1.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.ops import StochasticDepth

from perception.models.channel_norm import ChannelNorm

from .axial_attention import AxialAttention2d
from .conv_norm import ConvNorm

LAYER_TYPES = ("axial", "bottleneck")
EXPANSION = 4


class ResidualBlock(nn.Module):
    """A GELU, then axial attention or a 3x3 convolution between two 1x1 ones, and a shortcut; no GELU at its end.

    Args:
        in_channels: width of the input.
        channels: base width C; the output has 4 C.
        layer_type: "axial" (attention of 2 C channels) or "bottleneck" (a convolution of C channels).
        heads: of the attention.
        drop_path: probability of leaving a sample's branch out in training.

    Raises:
        ValueError: the type is another.
    """

    def __init__(
        self, in_channels: int, channels: int, layer_type: str, *, heads: int = 8, drop_path: float = 0.0
    ) -> None:
        super().__init__()
        if layer_type not in LAYER_TYPES:
            raise ValueError(f'layer_types must be "axial" or "bottleneck", got {layer_type!r}')
        out = EXPANSION * channels
        self.is_axial = layer_type == "axial"
        middle = 2 * channels if self.is_axial else channels
        self.reduce = ConvNorm(in_channels, middle)
        self.middle: nn.Module
        if self.is_axial:
            self.middle = AxialAttention2d(middle, channels, middle, heads)
        else:
            self.middle = ConvNorm(middle, middle, 3)
        self.expand = ConvNorm(middle, out, activation=False, norm_weight=0.0)
        self.shortcut = ConvNorm(in_channels, out, activation=False) if in_channels != out else nn.Identity()
        self.drop_path = StochasticDepth(drop_path, "row")

    def forward(self, x: Tensor) -> Tensor:
        """(B, C_in, H, W) -> (B, 4 C, H, W)."""
        x = F.gelu(x)
        y = self.middle(self.reduce(x))
        y = self.expand(F.gelu(y) if self.is_axial else y)
        return self.drop_path(y) + self.shortcut(x)


class ResizedFuse(nn.Module):
    """The sum of a coarse map, made larger, and a fine one, each brought to the same width if need be.

    Args:
        low_channels: width of the coarse map.
        high_channels: width of the fine one.
        channels: width of the sum; a map of this width is taken as it is.
    """

    def __init__(self, low_channels: int, high_channels: int, channels: int) -> None:
        super().__init__()
        self.low = ConvNorm(low_channels, channels, activation=False) if low_channels != channels else None
        self.high = ConvNorm(high_channels, channels, activation=False) if high_channels != channels else None

    def forward(self, low: Tensor, high: Tensor) -> Tensor:
        """(B, C_low, H', W') and (B, C_high, H, W) -> (B, C, H, W)."""
        coarse = low if self.low is None else self.low(F.gelu(low))
        fine = high if self.high is None else self.high(F.gelu(high))
        return resize(coarse, (high.shape[2], high.shape[3])) + fine


class PixelDecoder(nn.Module):
    """Stages of residual blocks from the coarsest map on, each fused with the next finer map before the next stage.

    Args:
        in_channels: widths of the maps, coarsest first.
        layers: blocks of each stage.
        channels: base width of each stage; its output is four times as wide.
        layer_types: "axial" or "bottleneck", of each stage.
        heads: of the axial attention.
        drop_path: probability of leaving a sample's branch out in training.

    Raises:
        ValueError: the lists differ in length, or there is no stage.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        *,
        layers: Sequence[int] = (1, 5, 1, 1),
        channels: Sequence[int] = (512, 256, 128, 64),
        layer_types: Sequence[str] = ("axial", "axial", "bottleneck", "bottleneck"),
        heads: int = 8,
        drop_path: float = 0.0,
    ) -> None:
        super().__init__()
        for name, values in (("layers", layers), ("channels", channels), ("layer_types", layer_types)):
            if len(values) != len(in_channels) or not in_channels:
                raise ValueError(f"{name} must be one for each of the {len(in_channels)} maps, got {tuple(values)}")
        self.channels = tuple(EXPANSION * width for width in channels)
        self.norms = nn.ModuleList(ChannelNorm(width) for width in in_channels)
        self.stages = nn.ModuleList()
        for stage, (count, width, kind) in enumerate(zip(layers, channels, layer_types, strict=True)):
            sources = [in_channels[0] if stage == 0 else width, *[EXPANSION * width] * (count - 1)]
            self.stages.append(nn.Sequential(*(
                ResidualBlock(source, width, kind, heads=heads, drop_path=drop_path) for source in sources
            )))
        self.fuses = nn.ModuleList(
            ResizedFuse(EXPANSION * low, high, width)
            for low, high, width in zip(channels, in_channels[1:], channels[1:], strict=False)
        )

    def forward(self, maps: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Maps (B, C_i, H_i, W_i), coarsest first -> the stages' outputs (B, 4 C_i, H_i, W_i)."""
        outputs = [self.stages[0](self.norms[0](maps[0]))]
        for norm, fuse, stage, finer in zip(self.norms[1:], self.fuses, self.stages[1:], maps[1:], strict=True):
            outputs.append(stage(fuse(outputs[-1], norm(finer))))
        return tuple(outputs)


def resize(x: Tensor, size: tuple[int, int], *, align: bool | None = None) -> Tensor:
    """Bilinear resizing of a map (B, C, H, W).

    Args:
        x: the map.
        size: new rows and columns.
        align: whether the centres of the corner pixels fall on each other, as they do for maps of images whose sides
            are a multiple of the stride plus one; None: if the map's width is odd.
    """
    return F.interpolate(x, size, mode="bilinear", align_corners=bool(x.shape[3] % 2) if align is None else align)


def upsample(x: Tensor, size: torch.Size | tuple[int, ...]) -> Tensor:
    """Make a prediction of a coarse layer as large as the final one; the corners align if its height is odd."""
    return resize(x, (size[-2], size[-1]), align=bool(size[-2] % 2))
