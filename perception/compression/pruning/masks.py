"""Which parts of a stack of layers are left out, as plain values that a config can hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

BLOCKS = ("hard_attn", "ffn_prune", "attn_prune")
PARTS = ("ffn_approx", "attn_approx")


@dataclass(frozen=True)
class PruningMasks:
    """True where something is left out, or approximated.

    Args:
        hard_attn: of each layer, whether attention keeps only its largest weights.
        ffn_prune: of each layer, whether the feed-forward part is left out.
        attn_prune: of each layer, whether the attention is.
        ffn_approx: of each layer, for each group of hidden channels; empty if it has none to prune.
        attn_approx: of each layer, for each head; likewise.

    Raises:
        ValueError: the five are not of equally many layers.
    """

    hard_attn: tuple[bool, ...]
    ffn_prune: tuple[bool, ...]
    attn_prune: tuple[bool, ...]
    ffn_approx: tuple[tuple[bool, ...], ...]
    attn_approx: tuple[tuple[bool, ...], ...]

    def __post_init__(self) -> None:
        counts = {name: len(getattr(self, name)) for name in (*BLOCKS, *PARTS)}
        if len(set(counts.values())) != 1:
            raise ValueError(f"masks must be of equally many layers, got {counts}")

    @classmethod
    def none(cls, heads: Sequence[int], groups: Sequence[int]) -> PruningMasks:
        """Nothing left out of layers with so many heads and groups."""
        whole = (False,) * len(heads)
        ffn_approx, attn_approx = (tuple((False,) * size for size in sizes) for sizes in (groups, heads))
        return cls(whole, whole, whole, ffn_approx, attn_approx)

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> PruningMasks:
        """What `to_dict` gave, also after a way through JSON or a config."""
        hard, ffn, attn = (tuple(map(bool, content[name])) for name in BLOCKS)
        ffn_approx, attn_approx = (tuple(tuple(map(bool, row)) for row in content[name]) for name in PARTS)
        return cls(hard, ffn, attn, ffn_approx, attn_approx)

    def to_dict(self) -> dict[str, Any]:
        """Plain lists of 0 and 1 by name."""
        return {
            name: [[int(x) for x in row] if name in PARTS else int(row) for row in rows]
            for name, rows in asdict(self).items()
        }

    def flat(self) -> list[bool]:
        """All in one row: the five in their order, layer by layer."""
        return [*self.hard_attn, *self.ffn_prune, *self.attn_prune,
                *(x for name in PARTS for row in getattr(self, name) for x in row)]

    def with_block(self, name: str, layer: int) -> PruningMasks:
        """Also one of `BLOCKS` of a layer."""
        return replace(self, **{name: _set(getattr(self, name), layer, True)})

    def with_part(self, name: str, layer: int, part: int) -> PruningMasks:
        """Also one head or group, ``name`` out of `PARTS`, of a layer."""
        rows = getattr(self, name)
        return replace(self, **{name: _set(rows, layer, _set(rows[layer], part, True))})

    def remaining(self) -> list[tuple[str, int, int]]:
        """The heads and groups that are not left out, as the arguments of `with_part`."""
        return [
            (name, layer, part)
            for name, blocks in (("ffn_approx", self.ffn_prune), ("attn_approx", self.attn_prune))
            for layer, row in enumerate(getattr(self, name)) if not blocks[layer]
            for part, is_gone in enumerate(row) if not is_gone
        ]

    def share_pruned(self) -> float:
        """Share of the heads and groups that are left out, singly or with their block; 0 if there are none."""
        count = sum(len(row) for name in PARTS for row in getattr(self, name))
        return 1 - len(self.remaining()) / count if count else 0.0


def _set(values: tuple[Any, ...], position: int, value: Any) -> tuple[Any, ...]:
    return (*values[:position], value, *values[position + 1 :])
