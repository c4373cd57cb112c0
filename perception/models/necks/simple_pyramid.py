"""Maps of several strides of a network that has only one.

"Exploring Plain Vision Transformer Backbones for Object Detection" (Li et al., ECCV 2022), section 3.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from perception.models.channel_norm import ChannelNorm
from perception.registry import MODELS


@MODELS.register_module(role="neck")
class SimplePyramid(nn.Module):
    """Enlarges a map by transposed convolutions, or halves it by pooling, one level a scale.

    Each level ends in a 1x1 and a 3x3 convolution, with a norm of each pixel after both.

    Args:
        in_channels: width of the map; or one for each level, each of which then has a map of its own, all of one size.
        channels: width of every level.
        scales: size of each level over that of the map: 4, 2, 1 or 0.5.

    Raises:
        ValueError: a scale is another, or the maps are neither one nor as many as the levels.
    """

    def __init__(
        self, in_channels: Sequence[int], channels: int = 256, *, scales: Sequence[float] = (4, 2, 1, 0.5)
    ) -> None:
        super().__init__()
        if not scales or any(scale not in (4, 2, 1, 0.5) for scale in scales):
            raise ValueError(f"scales must be of 4, 2, 1 and 0.5, got {tuple(scales)}")
        if len(in_channels) not in (1, len(scales)):
            raise ValueError(f"in_channels must be 1 or {len(scales)}, one a scale, got {len(in_channels)}")
        self.num_maps = len(in_channels)
        self.channels = (channels,) * len(scales)
        widths = list(in_channels) * (len(scales) // self.num_maps)
        self.levels = nn.ModuleList(
            _level(width, channels, scale) for width, scale in zip(widths, scales, strict=True)
        )

    def forward(self, maps: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Maps (B, C_i, H, W), one or one a level -> levels (B, channels, H * scale, W * scale), rounded up.

        Raises:
            ValueError: the maps are another number.
        """
        if len(maps) != self.num_maps:
            raise ValueError(f"maps must be {self.num_maps}, got {len(maps)}")
        given = list(maps) * (len(self.levels) // self.num_maps)
        return tuple(level(x) for level, x in zip(self.levels, given, strict=True))


def _level(in_channels: int, channels: int, scale: float) -> nn.Sequential:
    steps: list[nn.Module] = []
    width = in_channels
    if scale == 0.5:
        steps.append(nn.MaxPool2d(2, ceil_mode=True))
    while scale > 1:
        if steps:
            steps += [ChannelNorm(width), nn.GELU()]
        steps.append(nn.ConvTranspose2d(width, width // 2, 2, stride=2))
        width, scale = width // 2, scale / 2
    return nn.Sequential(
        *steps, nn.Conv2d(width, channels, 1, bias=False), ChannelNorm(channels),
        nn.Conv2d(channels, channels, 3, padding=1, bias=False), ChannelNorm(channels),
    )
