"""What the queries of both networks read: a BEV map as tokens that know their place."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from perception.models.fourier import fourier


class BEVMemory(nn.Module):
    """Projects a map and adds to each cell a linear code of its row and column.

    Args:
        in_channels: width of the map.
        channels: width C of the tokens.
        frequencies: sines and cosines of row and column that the code sees as well, see `fourier`; published: none.
        stride: the map is brought to so much larger cells by their mean; published: 1.
    """

    def __init__(self, in_channels: int, channels: int, *, frequencies: int = 0, stride: int = 1) -> None:
        super().__init__()
        self.frequencies, self.stride = frequencies, stride
        self.project = nn.Conv2d(in_channels, channels, 1)
        self.place = nn.Linear(2 + 4 * frequencies, channels)

    def forward(self, bev: Tensor) -> Tensor:
        """(B, in_channels, H, W) -> (B, H * W, C), row by row; H and W those of the larger cells."""
        if self.stride > 1:
            bev = F.avg_pool2d(bev, self.stride)
        H, W = bev.shape[2:]
        rows, columns = (torch.linspace(-1.0, 1.0, size, dtype=bev.dtype, device=bev.device) for size in (H, W))
        places = torch.stack(torch.meshgrid(rows, columns, indexing="ij"), dim=2)        # (H, W, 2), row first
        places = fourier(places.flatten(0, 1), self.frequencies)
        return self.project(bev).flatten(2).transpose(1, 2) + self.place(places)
