"""Small maps that the tests of the map metrics share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from perception.evaluation.maps.elements import MapElements
from perception.structures import LaneGraph, Polylines

DIVIDER = 1


def straight(y: float, length: float = 10.0, x: float = 0.0) -> list[list[float]]:
    """Two vertices of a line along x."""
    return [[x, y], [x + length, y]]


def dividers(*lines: Any, scores: Sequence[float] | None = None) -> MapElements:
    """Elements of the class divider."""
    return MapElements.from_lines(lines, [DIVIDER] * len(lines), scores)


def random_map(rng: np.random.Generator, count: int, *, scored: bool, dim: int = 2) -> MapElements:
    """Bent lines of 2 to 8 vertices within 20 m; all scores differ."""
    lines = [
        np.cumsum(rng.normal(0.0, 2.0, (rng.integers(2, 9), dim)), axis=0) + rng.uniform(-10, 10, dim)
        for _ in range(count)
    ]
    return MapElements.from_lines(lines, rng.integers(0, 3, count), rng.random(count) if scored else None, dim)


def moved(elements: MapElements, rng: np.random.Generator, sigma: float = 0.5) -> MapElements:
    """The elements a little beside, scored at random: predictions that are partly right."""
    shift = np.repeat(rng.normal(0.0, sigma, (len(elements), elements.vertices.shape[1])), elements.counts, axis=0)
    return MapElements(elements.vertices + shift, elements.counts, elements.labels, rng.random(len(elements)))


def lanes(*offsets: float, connections: Any = None, areas: Sequence[Any] = (), length: float = 9.0) -> LaneGraph:
    """Lanes of 4 m width along x, at lateral offsets [m], with crossings of the given outlines; all scored by rank."""
    along = torch.linspace(0.0, length, 10, dtype=torch.float64)
    centers = torch.stack([
        torch.stack([along, torch.full_like(along, y), torch.zeros_like(along)], dim=1) for y in offsets
    ]) if offsets else torch.zeros(0, 10, 3, dtype=torch.float64)
    side = torch.tensor([0.0, 2.0, 0.0], dtype=torch.float64)
    N, A = len(offsets), len(areas)
    scores = torch.linspace(0.9, 0.1, 9)                   # of the first nine of each
    return LaneGraph(
        centers, centers + side, centers - side, torch.zeros(N, dtype=torch.int64), torch.zeros(N, dtype=torch.int64),
        torch.zeros(N, N) if connections is None else torch.tensor(connections, dtype=torch.float64),
        Polylines.from_lines([torch.tensor(area, dtype=torch.float64) for area in areas], dim=3),
        torch.zeros(A, dtype=torch.int64), scores[:N], scores[:A],
    )
