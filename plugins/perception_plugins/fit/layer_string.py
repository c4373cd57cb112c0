"""The string by which FIT tells how local and global layers alternate."""

from __future__ import annotations

import re

_PAIR = re.compile(r"\((\d+)\)(\d*)")


def parse_layers(text: str) -> tuple[tuple[int, int], ...]:
    """Numbers of local and of global layers of each block: "(2)4(2)" is ((2, 4), (2, 0)).

    Raises:
        ValueError: it is no such string, or a block but the last has no global layer.
    """
    if not re.fullmatch(rf"(?:{_PAIR.pattern})+", text):
        raise ValueError(f'layers must be like "(2)4(2)" or "(1)2(1)1", got {text!r}')
    blocks = tuple((int(local), int(total or 0)) for local, total in _PAIR.findall(text))
    if any(total == 0 for _, total in blocks[:-1]):
        raise ValueError(f"layers: only the last block may go without global layers, got {text!r}")
    return blocks
