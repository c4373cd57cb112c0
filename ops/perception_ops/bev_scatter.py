"""bev_scatter: rows of BEV cells -> a dense map; cells without a row are exactly 0."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from .checks import FLOATING, check_count, check_device, check_positive, check_range, check_tensor
from .dispatch import NATIVE, NATIVE_FLOATING, attach_native, is_portable


def bev_scatter(
    features: Tensor, coords: Tensor, batch_size: int, ny: int, nx: int, *, channels_last: bool = False
) -> Tensor:
    """Write each row into its cell, differentiable in ``features``; rows that share a cell (z is ignored) are summed.

    Args:
        features: (M, C), any floating dtype.
        coords: (M, 4) int32, (batch, z, y, x).
        batch_size: number of samples B.
        ny: rows of the map.
        nx: columns of the map.
        channels_last: memory order of the result; each row is then one piece of memory, which is faster, and so are
            convolutions on it on a CPU.

    Returns:
        (B, C, ny, nx), row = y, column = x.

    Raises:
        ValueError: wrong shapes or dtypes, a size below 1, a cell outside the map, a map of more cells than an int32
            numbers.
    """
    check_tensor("features", features, ("M", "C"), FLOATING)
    check_tensor("coords", coords, (features.shape[0], 4), (torch.int32,))
    check_device("features", features, coords=coords)
    check_positive(batch_size=batch_size, ny=ny, nx=nx)
    check_count("batch_size * ny * nx", batch_size, ny, nx)
    scatter = bev_scatter_reference if is_portable() else torch.ops.perception.bev_scatter
    return scatter(features, coords, batch_size, ny, nx, channels_last)


def bev_scatter_reference(
    features: Tensor, coords: Tensor, batch_size: int, ny: int, nx: int, channels_last: bool
) -> Tensor:
    """The same in tensor algebra."""
    _check_cells(coords, batch_size, ny, nx)
    batch, _, y, x = coords.long().unbind(1)
    canvas = features.new_zeros(batch_size * ny * nx, features.shape[1])
    canvas.index_add_(0, (batch * ny + y) * nx + x, features)
    canvas = canvas.view(batch_size, ny, nx, features.shape[1]).permute(0, 3, 1, 2)   # (B, C, ny, nx)
    return canvas if channels_last else canvas.clone(memory_format=torch.contiguous_format)


def bev_gather_reference(canvas: Tensor, coords: Tensor) -> Tensor:
    """The other way, bev_scatter's gradient: each row reads its cell, (B, C, ny, nx), (M, 4) -> (M, C)."""
    batch, _, y, x = coords.long().unbind(1)
    return canvas[batch, :, y, x]


def _check_cells(coords: Tensor, batch_size: int, ny: int, nx: int) -> None:
    if coords.device.type != "cpu":                # there the scatter's own assertion speaks, without a stall here
        return
    for name, column, size in (("batch", 0, batch_size), ("y", 2, ny), ("x", 3, nx)):
        check_range(f"coords {name}", coords[:, column], size)


def _bev_scatter_cpu(
    features: Tensor, coords: Tensor, batch_size: int, ny: int, nx: int, channels_last: bool
) -> Tensor:
    if channels_last or features.dtype not in NATIVE_FLOATING:             # torch copies whole rows as fast
        return bev_scatter_reference(features, coords, batch_size, ny, nx, channels_last)
    assert NATIVE is not None
    coords = coords.contiguous()
    _check_cells(coords, batch_size, ny, nx)
    rows = features.detach().float().contiguous()                          # sums of half precision run in float32
    canvas = rows.new_zeros(batch_size, rows.shape[1], ny, nx)
    NATIVE.bev_scatter(rows, coords, canvas, torch.get_num_threads())
    return canvas.to(features.dtype)


def _bev_gather_cpu(canvas: Tensor, coords: Tensor) -> Tensor:
    if canvas.stride(1) == 1 or canvas.dtype not in NATIVE_FLOATING:       # likewise
        return bev_gather_reference(canvas, coords)
    assert NATIVE is not None
    out = canvas.new_empty(coords.shape[0], canvas.shape[1])
    NATIVE.bev_gather(canvas.detach(), coords.contiguous(), out, torch.get_num_threads())
    return out


_op = torch.library.custom_op("perception::bev_scatter", bev_scatter_reference, mutates_args=())
_gather_op = torch.library.custom_op("perception::bev_gather", bev_gather_reference, mutates_args=())
attach_native("bev_scatter", _bev_scatter_cpu)
attach_native("bev_gather", _bev_gather_cpu)


@_op.register_fake
def _(features: Tensor, coords: Tensor, batch_size: int, ny: int, nx: int, channels_last: bool) -> Tensor:
    C = features.shape[1]
    if channels_last:
        return features.new_empty(batch_size, ny, nx, C).permute(0, 3, 1, 2)
    return features.new_empty(batch_size, C, ny, nx)


@_gather_op.register_fake
def _(canvas: Tensor, coords: Tensor) -> Tensor:
    return canvas.new_empty(coords.shape[0], canvas.shape[1])


def _save(ctx: Any, inputs: tuple, output: Tensor) -> None:
    ctx.save_for_backward(inputs[1])


def _backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None, None, None]:
    return _gather_op(grad, ctx.saved_tensors[0]), None, None, None, None, None


def _save_map(ctx: Any, inputs: tuple, output: Tensor) -> None:
    canvas, coords = inputs
    ctx.save_for_backward(coords)
    ctx.sizes = canvas.shape[0], canvas.shape[2], canvas.shape[3]


def _scatter(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
    return _op(grad, ctx.saved_tensors[0], *ctx.sizes, False), None


_op.register_autograd(_backward, setup_context=_save)
_gather_op.register_autograd(_scatter, setup_context=_save_map)
