"""Multiply-adds of MemoryFormer's blocks beside those of ordinary ones, as the paper counts them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class BlockCost:
    """Multiply-adds of one block over a sequence.

    Args:
        reads: rows of tables, scaled and added.
        hashes: for the scores of the addresses, which the paper leaves out.
        linear: of a transformer's linear layers, 12 C^2 a token, which the reads take the place of.
        attention: products of queries with keys and of weights with values, the same for both.
    """

    reads: int
    hashes: int
    linear: int
    attention: int


def block_cost(channels: int, tables: int, bits: int, tokens: int, *, extra_bits: int = 2) -> BlockCost:
    """The cost of a block that widens by bits, of a causal sequence or a picture alike.

    Args:
        channels: width C.
        tables: K.
        bits: of an address.
        tokens: T of the sequence.
        extra_bits: of the second feed-forward layer's addresses.
    """
    hidden = tables * (bits + extra_bits)
    return BlockCost(
        reads=tokens * tables * (3 * channels + hidden + channels),
        hashes=tokens * tables * (2 * bits + bits + extra_bits),           # shared by q, k, v; two of the feed-forward
        linear=tokens * 12 * channels**2,
        attention=2 * tokens**2 * channels,
    )


def read_share(in_channels: int, out_channels: int, tables: int) -> float:
    """Multiply-adds of a read over those of the linear layer: K / in, which is 1 / bits where all channels are read."""
    return tables * out_channels / (in_channels * out_channels)
