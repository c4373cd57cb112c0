"""Things on the ground, found by the square that they lie in."""

from __future__ import annotations

import numpy as np

CELL = 25.0                                                # metres; side of a square


class GroundIndex:
    """Numbers of things by the squares of the ground that they touch; asking takes no longer when there are more."""

    def __init__(self) -> None:
        self._numbers: dict[tuple[int, int], set[int]] = {}
        self._cells: dict[int, set[tuple[int, int]]] = {}

    def insert(self, number: int, points: np.ndarray, pad: float) -> None:
        """Learn where a thing lies: within ``pad`` [m] < 25 of some of its points (N, 2 or 3) [m], at each place."""
        self._cells[number] = _squares(points, pad)
        for cell in self._cells[number]:
            self._numbers.setdefault(cell, set()).add(number)

    def remove(self, number: int) -> None:
        """Forget a thing."""
        for cell in self._cells.pop(number):
            self._numbers[cell].discard(number)

    def near(self, points: np.ndarray, pad: float) -> list[int]:
        """Ascending numbers of the things that share a square with what lies within ``pad`` of the points."""
        return sorted(set().union(*(self._numbers.get(cell, ()) for cell in _squares(points, pad))))


def _squares(points: np.ndarray, pad: float) -> set[tuple[int, int]]:
    corners = [points[:, :2] + (dx, dy) for dx in (-pad, pad) for dy in (-pad, pad)]
    return set(map(tuple, np.floor(np.concatenate(corners) / CELL).astype(np.int64).tolist()))
