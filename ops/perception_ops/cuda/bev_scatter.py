"""bev_scatter and its gradient on a GPU."""

from __future__ import annotations

from types import ModuleType

from torch import Tensor

from ..bev_scatter import bev_gather_reference, bev_scatter_reference
from ..dispatch import CUDA_FLOATING, attach_cuda, workspace


def bev_scatter(
    kernels: ModuleType, stream: int, features: Tensor, coords: Tensor, batch_size: int, ny: int, nx: int,
    channels_last: bool,
) -> Tensor:
    """`bev_scatter_reference` without atomic additions, so the same in every run."""
    if features.dtype not in CUDA_FLOATING or batch_size * ny * nx >= 2**32 or len(coords) >= 2**31:
        return bev_scatter_reference(features, coords, batch_size, ny, nx, channels_last)
    C = features.shape[1]
    if channels_last:
        canvas = features.new_zeros(batch_size, ny, nx, C).permute(0, 3, 1, 2)             # (B, C, ny, nx)
    else:
        canvas = features.new_zeros(batch_size, C, ny, nx)
    space = workspace(kernels.bev_workspace(len(coords), batch_size, ny, nx), coords.device)
    kernels.bev_scatter(features.detach().contiguous(), coords.contiguous(), canvas, space, stream)
    return canvas


def bev_gather(kernels: ModuleType, stream: int, canvas: Tensor, coords: Tensor) -> Tensor:
    """`bev_gather_reference` of a map in any memory order."""
    if canvas.dtype not in CUDA_FLOATING:
        return bev_gather_reference(canvas, coords)
    out = canvas.new_empty(coords.shape[0], canvas.shape[1])
    kernels.bev_gather(canvas.detach(), coords.contiguous(), out, stream)
    return out


attach_cuda("bev_scatter", bev_scatter)
attach_cuda("bev_gather", bev_gather)
