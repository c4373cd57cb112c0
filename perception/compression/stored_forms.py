"""The forms in which weights are stored: integers of 8 or 4 bits, blocks, thin factors."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .block_quantize import BlockFormat, Blocks, block_dequantize, block_quantize
from .fake_quantize import fake_quantize_rows
from .int4_groups import Groups, dequantize_groups, quantize_groups
from .int8 import Rows, dequantize_rows, quantize_rows
from .low_rank import low_rank_factors
from .nibbles import pack_nibbles, unpack_nibbles
from .stored_tensor import Slot, StoredTensor


class _RowWise(StoredTensor):
    """A tensor that is stored as the matrix (outputs, all else)."""

    def __init__(self, slot: Slot) -> None:
        super().__init__(slot.parameter.shape)
        self.row_dim = slot.row_dim

    def matrix(self, values: Tensor) -> Tensor:
        """The tensor as (N, K)."""
        return values.detach().movedim(self.row_dim, 0).flatten(1)

    def shaped(self, matrix: Tensor) -> Tensor:
        """(N, K) in the tensor's shape."""
        rows = self.shape[self.row_dim]
        others = [length for dim, length in enumerate(self.shape) if dim != self.row_dim]
        return matrix.view(rows, *others).movedim(0, self.row_dim)


class Int8Tensor(_RowWise):
    """Symmetric codes of 8 bits with a scale for each output (`quantize_rows`)."""

    codes: Tensor
    scale: Tensor

    def __init__(self, slot: Slot) -> None:
        super().__init__(slot)
        rows = quantize_rows(self.matrix(slot.parameter))
        self.register_buffer("codes", rows.codes)
        self.register_buffer("scale", rows.scale)

    @property
    def rows(self) -> Rows:
        """Codes and scales of the matrix."""
        return Rows(self.codes, self.scale)

    def forward(self) -> Tensor:
        """The tensor."""
        return self.shaped(dequantize_rows(self.rows))


class Int4Tensor(_RowWise):
    """Asymmetric codes of 4 bits in groups of inputs (`quantize_groups`), two a byte."""

    codes: Tensor
    scale: Tensor
    zero: Tensor

    def __init__(self, slot: Slot, group: int) -> None:
        super().__init__(slot)
        groups = quantize_groups(self.matrix(slot.parameter), group)
        self.group, self.columns = group, groups.codes.shape[1]
        self.register_buffer("codes", pack_nibbles(groups.codes))
        self.register_buffer("scale", groups.scale)
        self.register_buffer("zero", groups.zero)

    def forward(self) -> Tensor:
        """The tensor."""
        codes = unpack_nibbles(self.codes, self.columns, signed=False)
        return self.shaped(dequantize_groups(Groups(codes, self.scale, self.zero, self.group)))


class BlockTensor(_RowWise):
    """Blocks (`block_quantize`) as ``codes``, ``shift``, ``block`` and ``bits``; codes of 4 bits lie two in a byte.

    A tensor of one dimension is one row.
    """

    codes: Tensor
    block: Tensor
    bits: Tensor

    def __init__(self, slot: Slot, how: BlockFormat) -> None:
        super().__init__(slot)
        self.how = how
        blocks = block_quantize(self.matrix(slot.parameter), how)
        self.columns = blocks.codes.shape[-1]
        self.register_buffer("codes", pack_nibbles(blocks.codes) if self.is_packed else blocks.codes)
        self.register_buffer(how.mode, blocks.meta)
        self.register_buffer("block", torch.tensor(how.block, dtype=torch.int32))
        self.register_buffer("bits", torch.tensor(how.bits, dtype=torch.uint8))

    @property
    def is_packed(self) -> bool:
        """Whether two codes share a byte."""
        return self.how.bits <= 4

    def matrix(self, values: Tensor) -> Tensor:
        """The tensor as (N, K), of one dimension as (1, K)."""
        return values.detach().unsqueeze(0) if values.dim() == 1 else super().matrix(values)

    @property
    def blocks(self) -> Blocks:
        """The matrix in blocks."""
        codes = unpack_nibbles(self.codes, self.columns, signed=True) if self.is_packed else self.codes
        return Blocks(codes, getattr(self, self.how.mode), self.how)

    def forward(self) -> Tensor:
        """The tensor."""
        matrix = block_dequantize(self.blocks)
        return matrix.view(self.shape) if len(self.shape) == 1 else self.shaped(matrix)


class LowRankTensor(_RowWise):
    """The product of two thin factors, which training may change."""

    def __init__(self, slot: Slot, rank: int) -> None:
        super().__init__(slot)
        factors = low_rank_factors(self.matrix(slot.parameter), rank)
        self.left, self.right = (nn.Parameter(factor.contiguous()) for factor in factors)

    def numel(self) -> int:
        """Numbers of both factors."""
        return self.left.numel() + self.right.numel()

    def forward(self) -> Tensor:
        """The tensor."""
        return self.shaped(self.left @ self.right)


class FakeInt8Tensor(_RowWise):
    """A parameter that is read as its 8-bit codes would give it, with a straight-through gradient, for training."""

    def __init__(self, slot: Slot) -> None:
        super().__init__(slot)
        self.value = nn.Parameter(slot.parameter.detach().clone(), slot.parameter.requires_grad)

    def forward(self) -> Tensor:
        """The tensor."""
        matrix = self.value.movedim(self.row_dim, 0).flatten(1)
        return self.shaped(fake_quantize_rows(matrix))
