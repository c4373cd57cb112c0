"""Ways to fuse the levels of a feature pyramid, once they are of one size, into one map with context."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from perception.models.conv_unit import ConvUnit
from perception.models.sliding_window import resize_maps
from perception.models.token_layout import map_of, tokens_of
from perception.registry import MODELS


def conv_unit(in_channels: int, channels: int, kernel: int = 1, *, dilation: int = 1, groups: int = 1) -> ConvUnit:
    """A convolution that keeps the size, batch normalisation and a ReLU."""
    padding = dilation * (kernel // 2)
    conv = nn.Conv2d(in_channels, channels, kernel, padding=padding, dilation=dilation, groups=groups, bias=False)
    return ConvUnit(conv, eps=1e-5, momentum=0.1)


class SeparableUnit(nn.Module):
    """A dilated 3x3 convolution of each channel alone, then a 1x1 convolution, each with its norm and ReLU.

    Args:
        in_channels: width of the input.
        channels: width of the output.
        dilation: of the 3x3 convolution.
    """

    def __init__(self, in_channels: int, channels: int, dilation: int) -> None:
        super().__init__()
        self.depthwise = conv_unit(in_channels, in_channels, 3, dilation=dilation, groups=in_channels)
        self.pointwise = conv_unit(in_channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C_in, H, W) -> (B, C, H, W)."""
        return self.pointwise(self.depthwise(x))


@MODELS.register_module()
class ContextASPP(nn.Module):
    """Atrous spatial pyramid pooling: convolutions of several dilations side by side, then a 3x3 one over all of them.

    DAFormer (Hoyer et al., CVPR 2022), section 3.2, after DeepLabV3+ (Chen et al., ECCV 2018).

    Args:
        in_channels: width of the input.
        channels: width of each branch and of the output.
        dilations: of the branches; 1 is a 1x1 convolution.
        separable: branches of a greater dilation are a `SeparableUnit` instead of a full convolution.
        pool: a further branch, the first, with the mean over the picture. In training it needs two pictures a batch.
    """

    def __init__(
        self, in_channels: int, channels: int, *, dilations: Sequence[int] = (1, 6, 12, 18), separable: bool = True,
        pool: bool = False,
    ) -> None:
        super().__init__()
        self.pool = conv_unit(in_channels, channels) if pool else None
        self.branches = nn.ModuleList()
        for dilation in dilations:
            if dilation > 1 and separable:
                self.branches.append(SeparableUnit(in_channels, channels, dilation))
            else:
                self.branches.append(conv_unit(in_channels, channels, 3 if dilation > 1 else 1, dilation=dilation))
        self.bottleneck = conv_unit((len(dilations) + pool) * channels, channels, 3)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C_in, H, W) -> (B, C, H, W)."""
        found = [branch(x) for branch in self.branches]
        if self.pool is not None:
            found.insert(0, self.pool(x.mean(dim=(2, 3), keepdim=True)).expand_as(found[0]))
        return self.bottleneck(torch.cat(found, dim=1))


@MODELS.register_module()
class ConvFusion(nn.Module):
    """One convolution with norm and ReLU: as published, 1x1, no context at all.

    Args:
        in_channels: width of the input.
        channels: width of the output.
        kernel: side of its window, odd.
    """

    def __init__(self, in_channels: int, channels: int, *, kernel: int = 1) -> None:
        super().__init__()
        self.unit = conv_unit(in_channels, channels, kernel)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C_in, H, W) -> (B, C, H, W)."""
        return self.unit(x)


class PlaneAttention(nn.Module):
    """Self-attention of one head among the positions of small planes; no shortcut.

    Args:
        channels: width of input and output.
        hidden: width of queries, keys and values.
        projections: convolutions, one after the other, that give the queries, and as many for the keys.
    """

    def __init__(self, channels: int, hidden: int, projections: int = 1) -> None:
        super().__init__()
        self.query, self.key = _projection(channels, hidden, projections), _projection(channels, hidden, projections)
        self.value = nn.Conv2d(channels, hidden, 1)
        self.output = conv_unit(hidden, channels)

    def forward(self, x: Tensor) -> Tensor:
        """(G, C, h, w) -> the same shape."""
        query, key, value = (tokens_of(part(x)) for part in (self.query, self.key, self.value))
        mixed = F.scaled_dot_product_attention(query, key, value)                          # (G, h * w, hidden)
        return self.output(map_of(mixed, (x.shape[2], x.shape[3])))


@MODELS.register_module()
class InterlacedAttention(nn.Module):
    """Attention over the whole map in two steps: among positions a cell apart, then within each cell.

    "Interlaced Sparse Self-Attention for Semantic Segmentation" (Huang et al., 2019).

    Args:
        in_channels: width of the input.
        channels: width of the output.
        hidden: width of queries, keys and values.
        cell: rows and columns of a cell; the map is padded with zeros to whole cells.
        projections: see `PlaneAttention`.
    """

    def __init__(
        self, in_channels: int, channels: int, *, hidden: int = 256, cell: Sequence[int] = (8, 8), projections: int = 1
    ) -> None:
        super().__init__()
        self.cell = (int(cell[0]), int(cell[1]))
        self.project = conv_unit(in_channels, channels)
        self.across = PlaneAttention(channels, hidden, projections)
        self.within = PlaneAttention(channels, hidden, projections)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C_in, H, W) -> (B, C, H, W)."""
        x = self.project(x)
        B, C, H, W = x.shape
        rows, columns = self.cell
        top, left = (-H % rows) // 2, (-W % columns) // 2
        x = F.pad(x, (left, -W % columns - left, top, -H % rows - top))
        down, along = x.shape[2] // rows, x.shape[3] // columns
        cells = x.view(B, C, down, rows, along, columns)
        planes = cells.permute(0, 3, 5, 1, 2, 4).reshape(-1, C, down, along)               # one a place in the cell
        cells = self.across(planes).view(B, rows, columns, C, down, along)
        planes = cells.permute(0, 4, 5, 3, 1, 2).reshape(-1, C, rows, columns)             # one a cell
        cells = self.within(planes).view(B, down, along, C, rows, columns)
        return cells.permute(0, 3, 1, 4, 2, 5).reshape(x.shape)[:, :, top : top + H, left : left + W]


def _projection(channels: int, hidden: int, count: int) -> nn.Module:
    units = [conv_unit(hidden if number else channels, hidden) for number in range(count)]
    return units[0] if count == 1 else nn.Sequential(*units)


class ContextEmbed(nn.Module):
    """A 1x1 convolution and an ASPP of the coarsest level alone, at the size of the finest.

    Args:
        in_channels: width of the level.
        channels: width of the output.
    """

    def __init__(self, in_channels: int, channels: int) -> None:
        super().__init__()
        self.project = nn.Conv2d(in_channels, channels, 1)
        self.context = ContextASPP(channels, channels)

    def forward(self, x: Tensor, size: Sequence[int]) -> Tensor:
        """(B, C_in, h, w) -> (B, C, *size)."""
        return self.context(self.project(resize_maps(x, size)))


class LinearEmbed(nn.Linear):
    """A linear layer over the channels of a level, then a resize."""

    def forward(self, x: Tensor, size: Sequence[int]) -> Tensor:                    # type: ignore[override]
        """(B, C_in, h, w) -> (B, C, *size)."""
        return resize_maps(super().forward(x.movedim(1, 3)).movedim(3, 1), size)
