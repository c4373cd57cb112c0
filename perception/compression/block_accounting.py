"""How many bits tensors take in blocks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from .block_quantize import num_blocks

FLOAT_BITS = 32


@dataclass(frozen=True)
class StoredBits:
    """Elements and blocks of tensors, and what they take.

    Args:
        elements: numbers.
        blocks: blocks of them.
        bits: of an element's code.
        meta_bits: of a block's shift or scale.
    """

    elements: int
    blocks: int
    bits: int
    meta_bits: int = 8

    @property
    def stored(self) -> int:
        """Bits of all codes and of what the blocks keep."""
        return self.elements * self.bits + self.blocks * self.meta_bits

    @property
    def ratio(self) -> float:
        """How much smaller than float32."""
        return FLOAT_BITS * self.elements / self.stored


def stored_bits(
    shapes: Iterable[Sequence[int]], bits: int, block: tuple[int, int], meta_bits: int = 8
) -> StoredBits:
    """What matrices take in blocks.

    Args:
        shapes: (rows, columns) or (rows, columns, how many of them).
        bits: of a code.
        block: rows and columns of a block.
        meta_bits: of a block's shift (8) or scale (32).
    """
    elements = blocks = 0
    for rows, columns, *times in shapes:
        count = times[0] if times else 1
        elements += rows * columns * count
        blocks += num_blocks(rows, columns, block) * count
    return StoredBits(elements, blocks, bits, meta_bits)
