"""From a backbone's maps to fine mask features and three coarser levels, by deformable convolutions alone.

"PEM: Prototype-based Efficient MaskFormer for Image Segmentation" (Cavagnero et al., CVPR 2024), section 3.3.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from perception.models.conv_unit import ConvUnit
from perception.models.image_backbones.deform_conv import ModulatedDeformConv2d
from perception.models.image_backbones.resnet import conv1x1, fold_pair
from perception.registry import MODELS


def unit(conv: nn.Conv2d | nn.ConvTranspose2d) -> ConvUnit:
    """A convolution, batch normalisation as torch has it, and a ReLU."""
    return ConvUnit(conv, eps=1e-5, momentum=0.1)


class SelfModulation(nn.Module):
    """Strengthens the channels of a map by what its mean says of the picture: CSM, context-based self-modulation.

    The weights pass through two sigmoids, as in the authors' code, so they lie in (0.5, 0.731).

    Args:
        channels: width D of the map.
        reduction: how many times narrower the context is.
    """

    def __init__(self, channels: int, reduction: int = 2) -> None:
        super().__init__()
        self.reduce = unit(conv1x1(channels, channels // reduction))
        self.expand = conv1x1(channels // reduction, channels)

    def forward(self, x: Tensor) -> Tensor:
        """(B, D, H, W) -> the same shape."""
        context = self.expand(self.reduce(x.mean(dim=(2, 3), keepdim=True)))            # (B, D, 1, 1)
        return x + x * context.sigmoid().sigmoid()


class DeformUpsample(nn.Module):
    """A deformable 3x3 convolution, and its output at twice the size by a transposed one.

    Args:
        in_channels: width of the input.
        channels: width of both outputs.
    """

    def __init__(self, in_channels: int, channels: int) -> None:
        super().__init__()
        self.deform = ModulatedDeformConv2d(in_channels, channels)
        self.norm: nn.Module = nn.BatchNorm2d(channels)
        self.up = unit(nn.ConvTranspose2d(channels, channels, 4, stride=2, padding=1, bias=False))
        tent = torch.tensor([0.25, 0.75, 0.75, 0.25])
        with torch.no_grad():                        # as the authors: bilinear for the first output channel alone
            self.up.conv.weight[:, 0] = tent[:, None] * tent

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(B, C_in, H, W) -> (B, C, H, W), (B, C, 2 H, 2 W)."""
        y = self.norm(self.deform(x)).relu()
        return y, self.up(y)

    def fold_batch_norm(self) -> None:
        """Give the scale and shift behind the deformable convolution to it; for evaluation only."""
        fold_pair(self, "deform", "norm")


@MODELS.register_module(role="pixel_decoder")
class PEMPixelDecoder(nn.Module):
    """Goes from the coarsest map to the finest; each one is modulated, and joined with what comes from below.

    Args:
        in_channels: widths of the backbone's maps, finest first, each map half the size of the one before.
        channels: width D of all maps in between.
        mask_channels: width of the mask features.

    Raises:
        ValueError: there are fewer than two maps.
    """

    def __init__(self, in_channels: Sequence[int], *, channels: int = 128, mask_channels: int = 256) -> None:
        super().__init__()
        if len(in_channels) < 2:
            raise ValueError(f"in_channels must be the widths of at least two maps, got {tuple(in_channels)}")
        self.channels, self.mask_channels = channels, mask_channels
        self.levels = len(in_channels) - 1           # maps that are given beside the mask features
        self.projections = nn.ModuleList(unit(conv1x1(width, channels)) for width in in_channels)
        self.context = unit(conv1x1(in_channels[-1], channels))
        self.modulations = nn.ModuleList(SelfModulation(channels) for _ in in_channels)      # coarsest first
        self.upsamples = nn.ModuleList(DeformUpsample(channels, channels) for _ in in_channels[1:])
        self.output = unit(conv1x1(channels, mask_channels))
        for part in (self.context, self.output, *self.projections):
            for conv in part.modules():
                if isinstance(conv, nn.Conv2d):
                    nn.init.kaiming_normal_(conv.weight, a=1)

    def forward(self, features: Sequence[Tensor]) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Decode the maps of a backbone.

        Args:
            features: (B, C_i, H_i, W_i), finest first.

        Returns:
            (B, mask_channels, H_0, W_0) mask features, and maps (B, D, H_i, W_i) of all but the finest size, coarsest
            first.

        Raises:
            ValueError: a map is not half the size of the one before, or one picture alone is to be learned from.
        """
        self._check(features)
        coarsest = features[-1]
        joined = self.context(coarsest.mean(dim=(2, 3), keepdim=True))                  # (B, D, 1, 1)
        levels = []
        for number, modulation in enumerate(self.modulations):
            place = len(features) - 1 - number
            x = modulation(self.projections[place](features[place])) + joined
            if number < len(self.upsamples):
                level, joined = self.upsamples[number](x)
                levels.append(level)
        return self.output(x), tuple(levels)

    def _check(self, features: Sequence[Tensor]) -> None:
        sizes = [tuple(feature.shape[2:]) for feature in features]
        if len(sizes) != len(self.projections):
            raise ValueError(f"features must be {len(self.projections)} maps, got {len(sizes)}")
        if any(finer != (2 * H, 2 * W) for finer, (H, W) in itertools.pairwise(sizes)):
            raise ValueError(
                f"features must halve in size from one to the next, got {', '.join(map(str, sizes))}: "
                f"pad the pictures to a multiple of {2 ** (len(sizes) + 1)}"
            )
        if self.training and len(features[0]) < 2:
            raise ValueError("training needs batches of two pictures or more: means over a picture are normalised")
