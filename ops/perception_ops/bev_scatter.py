"""bev_scatter: rows of BEV cells -> a dense map; cells without a row are exactly 0."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from .checks import FLOATING, check_positive, check_range, check_tensor


def bev_scatter(features: Tensor, coords: Tensor, batch_size: int, ny: int, nx: int) -> Tensor:
    """Write each row into its cell, differentiable in ``features``; rows that share a cell (z is ignored) are summed.

    Args:
        features: (M, C), any floating dtype.
        coords: (M, 4) int32, (batch, z, y, x).
        batch_size: number of samples B.
        ny: rows of the map.
        nx: columns of the map.

    Returns:
        (B, C, ny, nx), row = y, column = x.

    Raises:
        ValueError: wrong shapes or dtypes, a size below 1, a cell outside the map.
    """
    check_tensor("features", features, ("M", "C"), FLOATING)
    check_tensor("coords", coords, (features.shape[0], 4), (torch.int32,))
    check_positive(batch_size=batch_size, ny=ny, nx=nx)
    return torch.ops.perception.bev_scatter(features, coords, batch_size, ny, nx)


def bev_scatter_reference(features: Tensor, coords: Tensor, batch_size: int, ny: int, nx: int) -> Tensor:
    """The same in tensor algebra."""
    if coords.device.type == "cpu":                # elsewhere the scatter's own assertion speaks, without a stall here
        for name, column, size in (("batch", 0, batch_size), ("y", 2, ny), ("x", 3, nx)):
            check_range(f"coords {name}", coords[:, column], size)
    C = features.shape[1]
    canvas = features.new_zeros(batch_size * C * ny * nx)
    return canvas.index_add_(0, _places(coords, C, ny, nx).flatten(), features.flatten()).view(batch_size, C, ny, nx)


def _places(coords: Tensor, channels: int, ny: int, nx: int) -> Tensor:
    """(M, C) int64, where each number of the features lies in the flat (B, C, ny, nx) map."""
    batch, _, y, x = coords.long().unbind(1)
    plane = batch[:, None] * channels + torch.arange(channels, device=coords.device)       # (M, C)
    return plane * (ny * nx) + (y * nx + x)[:, None]


_op = torch.library.custom_op("perception::bev_scatter", bev_scatter_reference, mutates_args=())


@_op.register_fake
def _(features: Tensor, coords: Tensor, batch_size: int, ny: int, nx: int) -> Tensor:
    return features.new_empty(batch_size, features.shape[1], ny, nx)


def _save(ctx: Any, inputs: tuple, output: Tensor) -> None:
    ctx.save_for_backward(inputs[1])


def _backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None, None]:
    batch, _, y, x = ctx.saved_tensors[0].long().unbind(1)
    return grad[batch, :, y, x], None, None, None, None


_op.register_autograd(_backward, setup_context=_save)
