"""Convolutional networks with the proportions of vision transformers.

"A ConvNet for the 2020s" (Liu et al., CVPR 2022). Parameters have the names of the authors' ImageNet files.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.ops import StochasticDepth

from perception.models.channel_norm import ChannelNorm
from perception.registry import MODELS

STEM_PADDING = (1, 2, 1, 2)                          # left, right, top, bottom
DOWN_PADDING = (0, 1, 0, 1)


class ConvNeXtBlock(nn.Module):
    """Depthwise 7x7 convolution, then a two-layer perceptron of each pixel, around a shortcut (figure 4).

    Args:
        channels: width C.
        drop_path: probability of leaving a sample's branch out in training.
        layer_scale: first value of the branch's scale; 0 leaves the scale out.
    """

    def __init__(self, channels: int, drop_path: float = 0.0, layer_scale: float = 1e-6) -> None:
        super().__init__()
        self.dwconv = nn.Conv2d(channels, channels, 7, padding=3, groups=channels)
        self.norm = nn.LayerNorm(channels, eps=1e-6)
        self.pwconv1 = nn.Linear(channels, 4 * channels)
        self.pwconv2 = nn.Linear(4 * channels, channels)
        self.gamma = nn.Parameter(torch.full((channels,), layer_scale)) if layer_scale else None
        self.drop_path = StochasticDepth(drop_path, "row")

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        y = self.norm(self.dwconv(x).permute(0, 2, 3, 1))                                  # (B, H, W, C)
        y = self.pwconv2(F.gelu(self.pwconv1(y)))
        y = y if self.gamma is None else self.gamma * y
        return x + self.drop_path(y.permute(0, 3, 1, 2))


@MODELS.register_module(role="image_backbone")
class ConvNeXt(nn.Module):
    """A ConvNeXt that gives the last map of chosen stages; none of them is normalised.

    Args:
        depths: blocks of each stage; (3, 3, 9, 3) in T, (3, 3, 27, 3) in S, B and L.
        widths: channels of each stage; from 96 in T and S, 128 in B, 192 in L, doubling with each stage.
        out_indices: stages whose maps are given, in ascending order.
        stem_map: give the map before stage 0 too, as the first.
        drop_path: probability of leaving a branch out, of the last block; it grows linearly from 0 at the first.
        layer_scale: first value of the branches' scales; 0 leaves the scales out.
        ceil_sizes: pad with zeros before each reduction, so that sizes round up and no border pixel is lost, as in
            kMaX-DeepLab (Yu et al., ECCV 2022); False rounds down as the ImageNet models do.

    Raises:
        ValueError: depths and widths differ in number, or ``out_indices`` are no ascending stages.
    """

    def __init__(
        self,
        depths: Sequence[int] = (3, 3, 9, 3),
        widths: Sequence[int] = (96, 192, 384, 768),
        *,
        out_indices: Sequence[int] = (0, 1, 2, 3),
        stem_map: bool = False,
        drop_path: float = 0.0,
        layer_scale: float = 1e-6,
        ceil_sizes: bool = False,
    ) -> None:
        super().__init__()
        stages = range(len(depths))
        if len(widths) != len(depths):
            raise ValueError(f"widths must be one for each of the {len(depths)} depths, got {tuple(widths)}")
        if not out_indices or any(index not in stages for index in out_indices) or list(out_indices) != sorted(
            set(out_indices)
        ):
            raise ValueError(f"out_indices must be ascending stages 0 to {len(depths) - 1}, got {tuple(out_indices)}")
        self.out_indices, self.stem_map, self.ceil_sizes = tuple(out_indices), stem_map, ceil_sizes
        self.downsample_layers = nn.ModuleList([nn.Sequential(nn.Conv2d(3, widths[0], 4, 4), ChannelNorm(widths[0]))])
        for narrow, wide in pairwise(widths):
            self.downsample_layers.append(nn.Sequential(ChannelNorm(narrow), nn.Conv2d(narrow, wide, 2, 2)))
        rates = iter(torch.linspace(0, drop_path, sum(depths), device="cpu").tolist())
        self.stages = nn.ModuleList(
            nn.Sequential(*(ConvNeXtBlock(width, next(rates), layer_scale) for _ in range(depth)))
            for width, depth in zip(widths, depths, strict=True)
        )
        maps = [(widths[stage], 4 * 2**stage) for stage in self.out_indices]
        self.channels, self.strides = zip(*([(widths[0], 4)] if stem_map else []), *maps, strict=True)
        self.init_weights()

    def init_weights(self) -> None:
        """Weights from a normal distribution of standard deviation 0.02, biases 0."""
        for module in self.modules():
            if isinstance(module, (nn.Conv2d, nn.Linear)) and module.bias is not None:
                nn.init.trunc_normal_(module.weight, std=0.02)
                nn.init.zeros_(module.bias)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """(B, 3, H, W) -> maps (B, C_i, H / s_i, W / s_i), rounded up if ``ceil_sizes``, else down."""
        x, maps = images, []
        for stage, (down, blocks) in enumerate(zip(self.downsample_layers, self.stages, strict=True)):
            padding = STEM_PADDING if stage == 0 else DOWN_PADDING
            x = down(F.pad(x, padding) if self.ceil_sizes else x)
            if stage == 0 and self.stem_map:
                maps.append(x)
            x = blocks(x)
            if stage in self.out_indices:
                maps.append(x)
        return tuple(maps)
