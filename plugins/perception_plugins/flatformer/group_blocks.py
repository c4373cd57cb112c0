"""Whole groups at a time: what a layer reads and writes of them stays in a CPU's cache.

Groups do not look at one another within a layer, so that a layer may run through them block by block. Written out for
all tokens at once, each of its steps would send every token to memory and back.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from .attention import TokenGroups

_SLOTS_IN_CACHE = 2048                               # rows of some hundred channels

Layer = Callable[[Tensor, Tensor, TokenGroups], Tensor]


class GroupBlock(NamedTuple):
    """Some whole groups of an order.

    Args:
        slots: (P,) int64 token of each slot of the block.
        tokens: (n,) int64 tokens whose results the block gives.
        places: (n,) int64 their slots, counted from the block's first; None if they are all slots in turn.
        groups: the groups of the gathered rows, in which every slot is a token of its own.
    """

    slots: Tensor
    tokens: Tensor
    places: Tensor | None
    groups: TokenGroups


def cut_into_blocks(groups: TokenGroups) -> list[GroupBlock]:
    """All groups of an order, some at a time."""
    P, device = len(groups.slots), groups.slots.device
    length = max(_SLOTS_IN_CACHE // groups.size, 1) * groups.size                        # slots of a block
    own = (groups.back[groups.slots] == torch.arange(P, device=device)).nonzero()[:, 0]  # (N,) slots that give results
    starts = range(0, P, length)
    cuts = torch.searchsorted(own, torch.tensor([*starts, P], device=device)).tolist()
    blocks = []
    for start, first, last in zip(starts, cuts[:-1], cuts[1:], strict=True):
        slots, giving = groups.slots[start : start + length], own[first:last]
        local = torch.arange(len(slots), device=device)
        valid = None if groups.valid is None else groups.valid[start : start + length]
        places = None if len(giving) == len(slots) else giving - start
        blocks.append(
            GroupBlock(slots, groups.slots[giving], places, TokenGroups(local, local, valid, groups.size))
        )
    return blocks


def run_block_by_block(
    layers: Sequence[Layer], tokens: Tensor, position: Tensor, orders: Sequence[list[GroupBlock]]
) -> Tensor:
    """Tokens (N, C) with position code (N, C) through ``layers``, which take the orders in turn: -> (N, C).

    A layer reads one table and writes another, since the copies that fill a group up are tokens of a group before. Two
    tables serve all layers: new memory costs as much as the arithmetic on it.
    """
    tables = torch.empty_like(tokens), torch.empty_like(tokens)
    for number, layer in enumerate(layers):
        written = tables[number % 2]
        for block in orders[number % len(orders)]:
            rows, code = tokens.index_select(0, block.slots), position.index_select(0, block.slots)
            result = layer(rows, code, block.groups)
            written[block.tokens] = result if block.places is None else result.index_select(0, block.places)
        tokens = written
    return tokens
