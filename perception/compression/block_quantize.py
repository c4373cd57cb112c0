"""Blocks of a tensor as low-bit integers, each block with a scale of its own.

"Blockwise Compression of Transformer-based Models without Retraining" (BCT, 2023). Certain is that blocks are shifted,
which parts are compressed, and that nothing is retrained; every formula here is our reading.

``mode="shift"`` scales a block by 2^s with s the largest whole number for which its largest magnitude stays a code;
``mode="scale"``, for comparison, divides by the largest magnitude over q. Codes are symmetric, -q to q with
q = 2^(bits - 1) - 1. Blocks begin at row and column 0; those at the far edges are smaller.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional as F

MODES = ("shift", "scale")
SHIFTS = (-128, 127)                               # what a signed byte holds


@dataclass(frozen=True)
class BlockFormat:
    """How a tensor is cut and rounded.

    Args:
        bits: of a code, 2 to 8.
        block: rows and columns of a block.
        mode: "shift" or "scale".

    Raises:
        ValueError: an argument lies outside.
    """

    bits: int = 8
    block: tuple[int, int] = (1, 64)
    mode: str = "shift"

    def __post_init__(self) -> None:
        if not 2 <= self.bits <= 8:
            raise ValueError(f"bits must lie in [2, 8], got {self.bits}")
        if len(self.block) != 2 or min(self.block) < 1:
            raise ValueError(f"a block has rows and columns >= 1, got {self.block}")
        if self.mode not in MODES:
            raise ValueError(f'mode must be "shift" or "scale", got {self.mode!r}')

    @property
    def largest(self) -> int:
        """q, the largest code."""
        return 2 ** (self.bits - 1) - 1

    def of_rows(self) -> BlockFormat:
        """The same with blocks of one row, as tensors of one dimension have them."""
        return replace(self, block=(1, self.block[1]))


@dataclass(frozen=True)
class Blocks:
    """A tensor in blocks.

    Args:
        codes: (..., R, C) int8.
        meta: (..., ceil(R / rows), ceil(C / columns)): int8 shifts, or float32 steps.
        format: how it was made.
    """

    codes: Tensor
    meta: Tensor
    format: BlockFormat


def block_quantize(x: Tensor, how: BlockFormat) -> Blocks:
    """Cut and round.

    Args:
        x: (..., R, C) or (C,) floats; the latter is one row.
        how: format.

    Returns:
        Codes of the shape of ``x`` ((1, C) for one row). An edge block's empty places count as zeros.
    """
    rows = x.detach().unsqueeze(0) if x.dim() == 1 else x.detach()
    wide = rows if rows.dtype.itemsize > 4 else rows.float()
    cut = _cut(wide, how.block)                                                     # (..., R', br, C', bc)
    peak = cut.abs().amax(dim=(-3, -1))                                             # (..., R', C')
    meta = _shift(peak, how) if how.mode == "shift" else _step(peak, how)
    scaled = _scaled(wide, meta, how)
    return Blocks(scaled.round().clamp(-how.largest, how.largest).to(torch.int8), meta, how)


def block_dequantize(blocks: Blocks) -> Tensor:
    """(..., R, C) float32 values of codes."""
    spread = _spread(blocks.meta, blocks.codes.shape, blocks.format.block)
    codes = blocks.codes.float()
    return torch.ldexp(codes, -spread.int()) if blocks.format.mode == "shift" else codes * spread


def block_rounded(x: Tensor, how: BlockFormat) -> Tensor:
    """``x`` as blocks hold it, in its own shape and dtype."""
    return block_dequantize(block_quantize(x, how)).view(x.shape).to(x.dtype)


def num_blocks(rows: int, columns: int, block: Sequence[int]) -> int:
    """Blocks of a matrix."""
    return -(-rows // block[0]) * -(-columns // block[1])


def _shift(peak: Tensor, how: BlockFormat) -> Tensor:
    """Largest s with peak * 2^s <= q, by the mantissa and the exponent, so that no logarithm rounds."""
    mantissa, exponent = torch.frexp(peak)
    shift = how.bits - 1 - exponent - (mantissa > 1 - 2.0 ** (1 - how.bits)).int()
    return shift.clamp(*SHIFTS).where(peak > 0, 0).to(torch.int8)


def _step(peak: Tensor, how: BlockFormat) -> Tensor:
    return (peak / how.largest).float().where(peak > 0, 1.0)


def _scaled(x: Tensor, meta: Tensor, how: BlockFormat) -> Tensor:
    spread = _spread(meta, x.shape, how.block)
    return torch.ldexp(x, spread.int()) if how.mode == "shift" else x / spread


def _cut(x: Tensor, block: tuple[int, int]) -> Tensor:
    """(..., R, C) -> (..., R', br, C', bc), zeros at the far edges."""
    padded = F.pad(x, (0, -x.shape[-1] % block[1], 0, -x.shape[-2] % block[0]))
    return padded.unflatten(-1, (-1, block[1])).unflatten(-3, (-1, block[0]))


def _spread(meta: Tensor, shape: Sequence[int], block: tuple[int, int]) -> Tensor:
    """(..., R', C') -> (..., R, C), each block's entry at all of its places."""
    rows = meta.repeat_interleave(block[0], dim=-2)[..., : shape[-2], :]
    return rows.repeat_interleave(block[1], dim=-1)[..., : shape[-1]]
