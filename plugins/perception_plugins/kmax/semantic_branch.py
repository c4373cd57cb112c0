"""Semantic segmentation beside the clusters, which teaches the backbone in training and is not run otherwise.

The full branch is DeepLabv3+ (Chen et al., ECCV 2018) with one more skip, as in Panoptic-DeepLab.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .conv_norm import ConvNorm, classifier
from .pixel_decoder import resize

RATES = (6, 12, 18)


class AtrousPyramid(nn.Module):
    """Convolutions of several reaches and the mean of the map, side by side (DeepLabv3, section 3.3).

    Args:
        in_channels: width of the input.
        channels: width of each branch and of the output.
        dropout: of the output.
    """

    def __init__(self, in_channels: int, channels: int, dropout: float = 0.1) -> None:
        super().__init__()
        self.point = ConvNorm(in_channels, channels)
        self.atrous = nn.ModuleList(ConvNorm(in_channels, channels, 3, dilation=rate) for rate in RATES)
        self.pool = ConvNorm(in_channels, channels)
        self.project = ConvNorm((2 + len(RATES)) * channels, channels)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C_in, H, W) -> (B, C, H, W).

        Raises:
            ValueError: there is one image in training, whose mean has no statistics.
        """
        if self.training and len(x) == 1:
            raise ValueError("the full semantic branch needs two images at least in a training batch, got 1")
        mean = self.pool(x.mean(dim=(2, 3), keepdim=True)).expand(-1, -1, *x.shape[2:])
        branches = [self.point(x), *(conv(x) for conv in self.atrous), mean]
        return self.dropout(self.project(torch.cat(branches, dim=1)))


class SkipFusion(nn.Module):
    """A coarse map, made larger, beside a narrow projection of a finer one, convolved by depth and by point.

    Args:
        channels: width of the coarse map and of the output.
        skip_channels: width of the finer map.
        projected: width of its projection.
    """

    def __init__(self, channels: int, skip_channels: int, projected: int) -> None:
        super().__init__()
        both = channels + projected
        self.project = ConvNorm(skip_channels, projected)
        self.depth = ConvNorm(both, both, 5, groups=both)
        self.point = ConvNorm(both, channels)

    def forward(self, x: Tensor, skip: Tensor, align: bool) -> Tensor:
        """(B, C, H', W') and (B, C_skip, H, W) -> (B, C, H, W)."""
        larger = resize(x, (skip.shape[2], skip.shape[3]), align=align)
        return self.point(self.depth(torch.cat([larger, self.project(skip)], dim=1)))


class FullSemanticBranch(nn.Module):
    """An atrous pyramid over the coarsest map, and skips from two finer ones; void has a channel of its own.

    Args:
        in_channels: widths of the maps of strides 32, 8 and 4.
        num_classes: real classes K.
        channels: widths of the pyramid and of the projections of the second and third map.
    """

    def __init__(self, in_channels: Sequence[int], num_classes: int, channels: Sequence[int] = (256, 64, 32)) -> None:
        super().__init__()
        width = channels[0]
        self.pyramid = AtrousPyramid(in_channels[0], width)
        self.fuse8 = SkipFusion(width, in_channels[1], channels[1])
        self.fuse4 = SkipFusion(width, in_channels[2], channels[2])
        self.depth = ConvNorm(width, width, 5, groups=width)
        self.point = ConvNorm(width, width)
        self.classify = classifier(width, num_classes + 1, std=(2 / width) ** 0.5)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Maps of strides 32, 8 and 4 -> (B, K + 1, H / 4, W / 4)."""
        x = self.pyramid(maps[0])
        align = bool(x.shape[3] % 2)
        x = self.fuse4(self.fuse8(x, maps[1], align), maps[2], align)
        return self.classify(self.point(self.depth(x)))


class LightSemanticBranch(nn.Module):
    """Two convolutions over the coarsest map.

    Args:
        in_channels: widths of the maps of strides 32, 8 and 4; only the first is read.
        num_classes: real classes K.
        channels: the first is the width before the classifier.
    """

    def __init__(self, in_channels: Sequence[int], num_classes: int, channels: Sequence[int] = (256,)) -> None:
        super().__init__()
        self.depth = ConvNorm(in_channels[0], in_channels[0], 5, groups=in_channels[0])
        self.point = ConvNorm(in_channels[0], channels[0])
        self.classify = classifier(channels[0], num_classes, std=(2 / channels[0]) ** 0.5)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Maps of strides 32, 8 and 4 -> (B, K, H / 32, W / 32)."""
        return self.classify(self.point(self.depth(maps[0])))


class PixelSemanticBranch(nn.Module):
    """A layer and a classifier on the map that the masks are read from, so that its pixels tell their class.

    Not published: it brings the pixel decoder a dense signal from the first iteration on, which a training of minutes
    without weights to begin with needs.

    Args:
        in_channels: width of the map.
        num_classes: real classes K.
        channels: the first is the width before the classifier.
    """

    def __init__(self, in_channels: Sequence[int], num_classes: int, channels: Sequence[int] = (64,)) -> None:
        super().__init__()
        self.point = ConvNorm(in_channels[0], channels[0])
        self.classify = classifier(channels[0], num_classes, std=(2 / channels[0]) ** 0.5)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """A map (B, C, H / 4, W / 4), alone in a list -> (B, K, H / 4, W / 4)."""
        return self.classify(self.point(F.gelu(maps[0])))
