"""Short-Term Dense Concatenate networks: fast backbones whose blocks join the maps of growing receptive fields.

"Rethinking BiSeNet For Real-time Semantic Segmentation" (Fan et al., CVPR 2021), section 3.1 and table 2.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from perception.models.conv_unit import ConvUnit
from perception.registry import MODELS

BLOCKS = ("cat", "add")
DEPTHS = {"stdc1": (2, 2, 2), "stdc2": (4, 5, 3)}
LAST_WIDTH = 1024


def unit(in_channels: int, channels: int, kernel: int, stride: int = 1) -> ConvUnit:
    """A convolution that keeps the size at stride 1, batch normalisation and a ReLU."""
    conv = nn.Conv2d(in_channels, channels, kernel, stride=stride, padding=kernel // 2, bias=False)
    return ConvUnit(conv, eps=1e-5, momentum=0.1)


def halving(channels: int) -> ConvUnit:
    """A depthwise 3x3 convolution of stride 2 with a normalisation and no ReLU."""
    conv = nn.Conv2d(channels, channels, 3, stride=2, padding=1, groups=channels, bias=False)
    return ConvUnit(conv, eps=1e-5, momentum=0.1, activation=False)


class ConcatBlock(nn.Module):
    """A chain of convolutions, the first 1x1 and the others 3x3, all of whose outputs are joined.

    Their widths are 1/2, 1/4, 1/8 ... of the block's, the last as wide as the one before. With stride 2 the second
    convolution reads the first one's map halved by a depthwise convolution, and the join has its average instead.

    Args:
        in_channels: width of the input.
        channels: width of the output.
        stride: 1 or 2.
        num_convs: length of the chain, at least 2.
        residual: "STDC-Add": the chain goes on from the halved map, which is joined too, and the input is added.
    """

    def __init__(
        self, in_channels: int, channels: int, stride: int = 1, *, num_convs: int = 4, residual: bool = False
    ) -> None:
        super().__init__()
        self.residual = residual
        widths = [channels >> min(number, num_convs - 1) for number in range(1, num_convs + 1)]
        self.convs = nn.ModuleList(
            unit(before, width, 3 if number else 1)
            for number, (before, width) in enumerate(zip([in_channels, *widths[:-1]], widths, strict=True))
        )
        self.down = halving(widths[0]) if stride == 2 else None
        self.pool = nn.AvgPool2d(3, stride=2, padding=1) if stride == 2 and not residual else nn.Identity()
        self.shortcut: nn.Module = nn.Identity()
        if residual and stride == 2:
            pointwise = nn.Conv2d(in_channels, channels, 1, bias=False)
            self.shortcut = nn.Sequential(
                halving(in_channels), ConvUnit(pointwise, eps=1e-5, momentum=0.1, activation=False)
            )

    def forward(self, x: Tensor) -> Tensor:
        """(B, C_in, H, W) -> (B, C, H / stride, W / stride), rounded up."""
        first = self.convs[0](x)
        halved = first if self.down is None else self.down(first)
        maps = [halved if self.residual else self.pool(first)]
        last = halved
        for conv in self.convs[1:]:
            last = conv(last)
            maps.append(last)
        joined = torch.cat(maps, dim=1)
        return joined + self.shortcut(x) if self.residual else joined


@MODELS.register_module(role="image_backbone")
class STDC(nn.Module):
    """Two strided convolutions, then three groups of blocks, the first block of each with stride 2.

    Args:
        depth: "stdc1", "stdc2", or the numbers of blocks of the three groups.
        base_channels: width of the map of stride 4; the groups have 4, 8 and 16 times as much.
        block: "cat", blocks as published; "add", with an added shortcut.
        num_convs: convolutions of a block.
        last_conv: end with a 1x1 convolution to a width of at least 1024, as the classifier that it is pretrained as.

    Raises:
        ValueError: an argument lies outside what it can be.
    """

    def __init__(
        self,
        depth: str | Sequence[int] = "stdc1",
        *,
        base_channels: int = 64,
        block: str = "cat",
        num_convs: int = 4,
        last_conv: bool = False,
    ) -> None:
        super().__init__()
        counts = DEPTHS.get(depth, ()) if isinstance(depth, str) else tuple(depth)
        _check_choices(depth, counts, base_channels, block, num_convs)
        first, second = unit(3, base_channels // 2, 3, stride=2), unit(base_channels // 2, base_channels, 3, stride=2)
        features: list[nn.Module] = [first, second]
        self.ends = [1]                              # where in `features` the maps of stride 4, 8, 16 and 32 come out
        in_channels = base_channels
        for group, count in enumerate(counts):
            channels = base_channels * 4 * 2**group
            for position in range(count):
                stride = 1 if position else 2
                features.append(
                    ConcatBlock(in_channels, channels, stride, num_convs=num_convs, residual=block == "add")
                )
                in_channels = channels
            self.ends.append(len(features) - 1)
        self.features = nn.ModuleList(features)
        last = max(LAST_WIDTH, in_channels) if last_conv else in_channels
        self.conv_last: nn.Module = unit(in_channels, last, 1) if last_conv else nn.Identity()
        self.channels = (base_channels, base_channels * 4, base_channels * 8, last)
        self.strides = (4, 8, 16, 32)
        self.init_weights()

    def init_weights(self) -> None:
        """Convolutions as in He et al., ICCV 2015; norms as the identity."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """(B, 3, H, W) -> maps (B, C_i, H / s_i, W / s_i) of strides 4, 8, 16 and 32, rounded up."""
        x, maps = images, []
        for number, feature in enumerate(self.features):
            x = feature(x)
            if number in self.ends:
                maps.append(x)
        return (*maps[:-1], self.conv_last(maps[-1]))


def _check_choices(
    depth: str | Sequence[int], counts: Sequence[int], base_channels: int, block: str, num_convs: int
) -> None:
    if len(counts) != 3 or min(counts) < 1:
        known = " or ".join(f'"{name}"' for name in DEPTHS)
        raise ValueError(f"depth must be {known} or three numbers of blocks, got {depth!r}")
    if block not in BLOCKS:
        raise ValueError(f'block must be "cat" or "add", got {block!r}')
    if num_convs < 2:
        raise ValueError(f"num_convs must be at least 2, got {num_convs}")
    narrowest = 2 ** (num_convs - 1)
    if base_channels < 2 or base_channels % 2 or (4 * base_channels) % narrowest:
        raise ValueError(
            f"base_channels must be even, and 4 * base_channels divisible by {narrowest} for blocks of {num_convs} "
            f"convolutions, got {base_channels}"
        )
