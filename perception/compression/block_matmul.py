"""Products of tensors in blocks: integers inside a block, one rescale for each block of the summed dimension."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from .block_quantize import Blocks


def block_matmul(a: Blocks, w: Blocks) -> Tensor:
    """Product of a (..., M, K) and w (N, K) -> (..., M, N) float32.

    The sum inside a block is at most columns * q^2, below 2^24 for all blocks of up to 1,040 columns, so the float unit
    gives the integer exactly; factors of shifts are powers of two, exact as well. Blocks are added in float64.

    Raises:
        ValueError: K, the columns of a block or the modes differ, or a block's sum could be rounded.
    """
    if a.codes.shape[-1] != w.codes.shape[-1] or a.format.block[1] != w.format.block[1]:
        raise ValueError(
            f"both must be cut alike along K, got {a.codes.shape[-1]} in {a.format.block[1]} "
            f"and {w.codes.shape[-1]} in {w.format.block[1]}"
        )
    if a.format.mode != w.format.mode:
        raise ValueError(f"both must be of one mode, got {a.format.mode!r} and {w.format.mode!r}")
    columns = a.format.block[1]
    if columns * a.format.largest * w.format.largest >= 2**24:
        raise ValueError(f"sums of {columns} products of such codes are not exact in float32: take smaller blocks")
    cut_a, cut_w = (_by_block(x.codes, columns) for x in (a, w))                    # (K', ..., M, bc), (K', N, bc)
    scale_a, scale_w = (_row_scales(x) for x in (a, w))                             # (K', ..., M), (K', N)
    y = a.codes.new_zeros(*a.codes.shape[:-1], w.codes.shape[-2], dtype=torch.float64)
    with torch.autocast(a.codes.device.type, enabled=False):
        for block in range(len(cut_a)):
            sums = F.linear(cut_a[block], cut_w[block])                             # (..., M, N), whole numbers
            y += sums * scale_a[block].unsqueeze(-1) * scale_w[block]
    return y.float()


def _by_block(codes: Tensor, columns: int) -> Tensor:
    padded = F.pad(codes, (0, -codes.shape[-1] % columns)).float()
    return padded.unflatten(-1, (-1, columns)).movedim(-2, 0)


def _row_scales(x: Blocks) -> Tensor:
    """Factor of every row in each block of columns, float64."""
    rows = x.meta.repeat_interleave(x.format.block[0], dim=-2)[..., : x.codes.shape[-2], :].movedim(-1, 0)
    ones = torch.ones_like(rows, dtype=torch.float64)
    return torch.ldexp(ones, -rows.int()) if x.format.mode == "shift" else rows.double()
