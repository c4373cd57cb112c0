"""Which cells of a BEV map hold a pillar, and a mixer of the map that is told."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def occupied_cells(coords: Tensor, samples: int, size: tuple[int, int], stride: int = 1) -> Tensor:
    """Cells that hold a pillar or a voxel.

    Args:
        coords: (M, 4) int32 (batch, z, y, x).
        samples: B.
        size: rows and columns of the map.
        stride: places of the coordinates along a cell of the map.

    Returns:
        (B, 1, H, W) bool.
    """
    height, width = size
    batch, rows, columns = coords[:, 0].long(), coords[:, 2].long() // stride, coords[:, 3].long() // stride
    cells = coords.new_zeros(samples * height * width, dtype=torch.bool)
    return cells.index_fill(0, (batch * height + rows) * width + columns, True).view(samples, 1, height, width)


def mix_occupied(
    mixer: nn.Module | None, canvas: Tensor, coords: Tensor, *, stride: int = 1, spare_samples: int = 0
) -> Tensor:
    """A canvas (B, C, H, W) through a mixer of BEV maps that looks at the occupied cells alone; None leaves it.

    Args:
        mixer: takes the canvas and a mask (B, 1, H, W).
        canvas: map of a LiDAR backbone.
        coords: (M, 4) int32 (batch, z, y, x) of what it was made of.
        stride: of the canvas.
        spare_samples: samples after the last of the canvas that coordinates may speak of.
    """
    if mixer is None:
        return canvas
    size = (canvas.shape[2], canvas.shape[3])
    return mixer(canvas, occupied_cells(coords, len(canvas) + spare_samples, size, stride)[: len(canvas)])
