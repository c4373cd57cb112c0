"""How decode attention is cut: equal tiles of keys of all sequences and heads on one line, shared out among workers.

"Lean Attention" (2024); the numbers of `plan` are those of the CUDA host code in onnxruntime.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import NamedTuple

from .checks import check_positive

BLOCK_M = 64                                         # query rows of a tile of the released kernels


class Segment(NamedTuple):
    """Tiles [first, end) of a group (batch * key heads + head), which one worker reads in one go."""

    worker: int
    group: int
    first: int
    end: int


@dataclass(frozen=True)
class Plan:
    """The schedule that the released host code chooses.

    Args:
        batch, kv_heads: sequences B and key heads of each; together the groups.
        block_m, block_n: query rows and keys of a tile.
        tiles_per_head: tiles of a group.
        total_tiles: of all groups.
        grid: workers, persistent thread blocks.
        max_tiles_per_worker: of the first ``high_load_workers`` workers; the others have one less.
        high_load_workers: see there.
        num_splits: upper bound of the pieces that the keys of a block of queries are cut into, for which accumulators
            are allocated.
    """

    batch: int
    kv_heads: int
    block_m: int
    block_n: int
    tiles_per_head: int
    total_tiles: int
    grid: int
    max_tiles_per_worker: int
    high_load_workers: int
    num_splits: int

    def segments(self) -> Iterator[Segment]:
        """Who reads what, along the line; every tile is read once."""
        return segments([self.tiles_per_head] * (self.batch * self.kv_heads), self.grid)


def plan(
    batch: int, heads: int, kv_heads: int, head_dim: int, kv_len: int, sms: int, q_len: int = 1, causal: bool = False
) -> Plan:
    """The released schedule for a device of ``sms`` multiprocessors; one query is never causal.

    Args:
        batch: sequences B.
        heads: query heads; a multiple of ``kv_heads``.
        kv_heads: key heads.
        head_dim: width d of a head, which sets the keys of a tile.
        kv_len: keys of a sequence.
        sms: multiprocessors of the device.
        q_len: queries of a sequence.
        causal: tiles behind the last query of a block are left out.

    Raises:
        ValueError: a size is below 1, or ``heads`` no multiple of ``kv_heads``.
    """
    check_positive(
        batch=batch, heads=heads, kv_heads=kv_heads, head_dim=head_dim, kv_len=kv_len, sms=sms, q_len=q_len
    )
    if heads % kv_heads:
        raise ValueError(f"heads must be a multiple of kv_heads ({kv_heads}), got {heads}")
    block_n = key_tile(head_dim)
    rows, columns = _ceil_div(q_len, BLOCK_M), _ceil_div(kv_len, block_n)
    tiles = rows * columns
    if causal and q_len > 1:
        tiles = sum(_ceil_div(i * BLOCK_M, block_n) for i in range(1, rows + 1))
    total = tiles * batch * kv_heads
    grid = max(1, min(_workers(total, columns, sms, 32 * kv_heads * batch * rows), total))
    most, high = share(total, grid)
    return Plan(
        batch, kv_heads, BLOCK_M, block_n, tiles, total, grid, most, high, _most_splits(total, grid, columns, most)
    )


def key_tile(head_dim: int) -> int:
    """Keys of a tile of the released kernels, by the width of a head."""
    return 256 if head_dim <= 64 else 128 if head_dim <= 128 else 64


def share(total: int, workers: int) -> tuple[int, int]:
    """The tiles of a worker at most, and how many workers have so many; the others have one less."""
    most = _ceil_div(total, workers)
    return most, total - (most - 1) * workers


def segments(tiles: Sequence[int], workers: int) -> Iterator[Segment]:
    """Cut the line of all groups' tiles among workers.

    Args:
        tiles: of each group, >= 0: a shorter sequence has fewer.
        workers: asked for, >= 1; no more than there are tiles take part.
    """
    check_positive(workers=workers)
    ends = list(accumulate(tiles, initial=0))
    total = ends[-1]
    workers = min(workers, total)
    most, high = share(total, max(workers, 1))
    group = 0
    for worker in range(workers):
        place = worker * most - max(worker - high, 0)
        end = place + most - (worker >= high)
        while place < end:
            while ends[group + 1] <= place:
                group += 1
            stop = min(end, ends[group + 1])
            yield Segment(worker, group, place - ends[group], stop - ends[group])
            place = stop


def _workers(total: int, columns: int, sms: int, most: int) -> int:
    if total <= 4 * sms:
        return min((total + 1) // 2, _ceil_div(32 * total, columns))       # at least two tiles each
    return min(2 * sms, most)


def _most_splits(total: int, grid: int, columns: int, most: int) -> int:
    if total % grid == 0:
        return 1 + (columns + most - 2) // most
    return 1 + (columns + most - 3) // (most - 1) if most > 1 else 1


def _ceil_div(count: int, by: int) -> int:
    return -(-count // by)
