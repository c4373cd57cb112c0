"""Procedural street plans: where the junctions are and how the streets between them run.

A plan is a planar graph in its own metres around the origin. Every junction has at least two streets, so that nobody
ever drives into a dead end.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np


@dataclass(frozen=True, eq=False)
class Street:
    """One street between two junctions, with the same lanes in both directions.

    Args:
        key: name, unique in the plan.
        start, end: rows of the plan's nodes.
        line: (V, 2) float64 centre line from start to end, metres.
        lanes: lanes per direction.
        lane_width: metres.
        median: width of the raised strip between the directions [m], 0 without one.
        parking: width of the kerb-side parking strip on each side [m], 0 without one.
        walkway: width of the walkway on each side [m].
    """

    key: str
    start: int
    end: int
    line: np.ndarray
    lanes: int = 1
    lane_width: float = 3.4
    median: float = 0.0
    parking: float = 2.4
    walkway: float = 3.0

    @property
    def half_width(self) -> float:
        """Distance from the centre line to the kerb [m]."""
        return self.median / 2 + self.lanes * self.lane_width + self.parking + 0.2


@dataclass(frozen=True)
class Style:
    """What stands along the streets.

    Args:
        heights: lowest and highest building [m].
        setback: smallest and largest distance between the walkway and a building [m].
        plot: smallest and largest width of a building's front [m].
        gables: share of buildings with a pitched roof.
        trees: trees per 100 m of street side.
        hedges: share of gaps between walkway and building that have a hedge, wall or fence.
    """

    heights: tuple[float, float] = (6.0, 22.0)
    setback: tuple[float, float] = (1.0, 5.0)
    plot: tuple[float, float] = (11.0, 24.0)
    gables: float = 0.3
    trees: float = 5.0
    hedges: float = 0.3


@dataclass(frozen=True, eq=False)
class Plan:
    """A town's streets.

    Args:
        layout: name of the layout.
        nodes: (J, 2) float64 junctions, metres.
        streets: all streets.
        style: what stands along them.
    """

    layout: str
    nodes: np.ndarray
    streets: tuple[Street, ...]
    style: Style

    def moved(self, yaw: float, offset: np.ndarray) -> Plan:
        """The plan turned about its origin [rad] and then shifted [m]."""
        cos, sin = np.cos(yaw), np.sin(yaw)
        turn = np.array([[cos, sin], [-sin, cos]])                                 # row vectors
        streets = tuple(replace(street, line=street.line @ turn + offset) for street in self.streets)
        return Plan(self.layout, self.nodes @ turn + offset, streets, self.style)


def make_plan(layout: str, rng: np.random.Generator) -> Plan:
    """Draw a plan of a named layout.

    Raises:
        ValueError: the layout is unknown.
    """
    if layout not in LAYOUTS:
        raise ValueError(f"unknown layout {layout!r}, choose from {sorted(LAYOUTS)}")
    return LAYOUTS[layout](rng)


def _grid(rng: np.random.Generator) -> Plan:
    """Rectangular blocks with a few streets left out."""
    xs, ys = _spaced(rng, 5, 62.0, 92.0), _spaced(rng, 5, 62.0, 92.0)
    nodes = _lattice(xs, ys)
    edges = _thinned(rng, _lattice_edges(5, 5), len(nodes), share=0.12)
    wide = {int(rng.integers(1, 4))}                          # one street of two lanes a direction
    streets = []
    for first, second in edges:
        is_wide = first % 5 == second % 5 and first % 5 in wide
        streets.append(
            _street(nodes, first, second, lanes=2 if is_wide else 1, parking=0.0 if is_wide else 2.4)
        )
    return Plan("grid", nodes, tuple(streets), Style())


def _ring(rng: np.random.Generator) -> Plan:
    """Two rings joined by spokes, and a star in the middle."""
    spokes, inner, outer = 6, float(rng.uniform(66, 80)), float(rng.uniform(145, 162))
    angles = np.arange(spokes) * 2 * np.pi / spokes + rng.uniform(-0.12, 0.12, spokes)
    radii = np.concatenate([inner * rng.uniform(0.93, 1.07, spokes), outer * rng.uniform(0.95, 1.03, spokes)])
    both = np.concatenate([angles, angles])
    nodes = np.concatenate([np.stack([np.cos(both), np.sin(both)], axis=-1) * radii[:, None], np.zeros((1, 2))])
    streets = []
    for ring in range(2):
        for spoke in range(spokes):
            first, second = ring * spokes + spoke, ring * spokes + (spoke + 1) % spokes
            line = _arc(both[first], both[second], radii[first], radii[second])
            streets.append(Street(f"{first}-{second}", first, second, line, parking=2.4 if ring == 0 else 0.0))
    skipped = int(rng.integers(spokes))
    for spoke in range(spokes):
        if spoke != skipped:
            streets.append(_street(nodes, spoke, spoke + spokes, bend=float(rng.uniform(-7, 7))))
    for spoke in range(int(rng.integers(2)), spokes, 2):
        streets.append(_street(nodes, spokes * 2, spoke, bend=float(rng.uniform(-4, 4))))
    return Plan("ring", nodes, tuple(streets), Style(setback=(1.5, 7.0), trees=7.0, gables=0.5))


def _boulevard(rng: np.random.Generator) -> Plan:
    """A wide street with a planted median, side streets along it and across it."""
    xs = _spaced(rng, 5, 72.0, 92.0)
    ys = np.array([-rng.uniform(78, 98), 0.0, rng.uniform(78, 98)])
    nodes = _lattice(xs, ys) + np.concatenate([rng.uniform(-5, 5, (15, 1)), np.zeros((15, 1))], axis=1)
    lanes, sway = int(rng.integers(2, 4)), float(rng.uniform(-5, 5))
    streets = []
    for first, second in _thinned(rng, _lattice_edges(5, 3), 15, share=0.08, keep=lambda a, b: a // 5 == b // 5 == 1):
        if first // 5 == second // 5 == 1:
            streets.append(
                _street(nodes, first, second, lanes=lanes, median=4.0, parking=2.4, walkway=4.0, bend=sway)
            )
            sway = -sway
        else:
            streets.append(_street(nodes, first, second, bend=float(rng.uniform(-3, 3))))
    return Plan("boulevard", nodes, tuple(streets), Style(heights=(12.0, 40.0), setback=(0.5, 3.0), gables=0.0))


def _old_town(rng: np.random.Generator) -> Plan:
    """Narrow, bent streets between close fronts."""
    count = 6
    axis = (np.arange(count) - (count - 1) / 2) * 60.0
    nodes = _lattice(axis, axis) + rng.uniform(-9, 9, (count * count, 2))
    streets = []
    for first, second in _thinned(rng, _lattice_edges(count, count), len(nodes), share=0.15):
        parking = 2.2 if rng.random() < 0.65 else 0.0
        bend, wave = float(rng.uniform(-4, 4)), float(rng.uniform(-1.5, 1.5))
        streets.append(
            _street(nodes, first, second, lane_width=3.0, parking=parking, walkway=2.4, bend=bend, wave=wave)
        )
    style = Style(heights=(6.0, 14.0), setback=(0.0, 0.8), plot=(7.0, 13.0), gables=0.85, trees=1.5, hedges=0.0)
    return Plan("old_town", nodes, tuple(streets), style)


def _suburb(rng: np.random.Generator) -> Plan:
    """Long swinging streets with houses in gardens."""
    xs, ys = _spaced(rng, 4, 85.0, 115.0), _spaced(rng, 5, 62.0, 82.0)
    nodes = _lattice(xs, ys) + rng.uniform(-6, 6, (20, 2))
    streets = []
    for first, second in _thinned(rng, _lattice_edges(4, 5), 20, share=0.12):
        along = first // 4 == second // 4
        bend, wave = (float(rng.uniform(-9, 9)), float(rng.uniform(-3, 3))) if along else (0.0, 0.0)
        streets.append(
            _street(nodes, first, second, lane_width=3.2, parking=2.3, walkway=2.4, bend=bend, wave=wave)
        )
    style = Style(heights=(5.0, 8.5), setback=(4.0, 8.0), plot=(10.0, 16.0), gables=0.95, trees=7.0, hedges=0.8)
    return Plan("suburb", nodes, tuple(streets), style)


LAYOUTS: dict[str, Callable[[np.random.Generator], Plan]] = {
    "grid": _grid, "ring": _ring, "boulevard": _boulevard, "old_town": _old_town, "suburb": _suburb,
}


def _street(
    nodes: np.ndarray, first: int, second: int, *, bend: float = 0.0, wave: float = 0.0, lanes: int = 1,
    lane_width: float = 3.4, median: float = 0.0, parking: float = 2.4, walkway: float = 3.0,
) -> Street:
    """A street that swings ``bend`` metres to its left half-way and ``wave`` metres to and fro."""
    start, end = nodes[first], nodes[second]
    t = np.linspace(0.0, 1.0, 41)[:, None]
    along = end - start
    normal = np.array([-along[1], along[0]]) / np.linalg.norm(along)
    line = start + along * t + normal * (bend * np.sin(np.pi * t) + wave * np.sin(2 * np.pi * t))
    line[0], line[-1] = start, end
    return Street(f"{first}-{second}", first, second, line, lanes, lane_width, median, parking, walkway)


def _arc(start: float, end: float, start_radius: float, end_radius: float) -> np.ndarray:
    """(V, 2) counter-clockwise arc about the origin whose radius changes smoothly."""
    sweep = (end - start) % (2 * np.pi)
    t = np.linspace(0.0, 1.0, 41)
    radius = start_radius + (end_radius - start_radius) * (3 * t**2 - 2 * t**3)
    angle = start + sweep * t
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=-1)


def _spaced(rng: np.random.Generator, count: int, least: float, most: float) -> np.ndarray:
    """(count,) positions around 0 with random gaps [m]."""
    positions = np.concatenate([[0.0], np.cumsum(rng.uniform(least, most, count - 1))])
    return positions - positions[-1] / 2


def _lattice(xs: np.ndarray, ys: np.ndarray) -> np.ndarray:
    """(len(ys) * len(xs), 2) nodes, x running fastest."""
    return np.stack([grid.ravel() for grid in np.meshgrid(xs, ys)], axis=-1)


def _lattice_edges(columns: int, rows: int) -> list[tuple[int, int]]:
    edges = []
    for node in range(columns * rows):
        if (node + 1) % columns:
            edges.append((node, node + 1))
        if node + columns < columns * rows:
            edges.append((node, node + columns))
    return edges


def _thinned(
    rng: np.random.Generator, edges: list[tuple[int, int]], num_nodes: int, share: float,
    keep: Callable[[int, int], bool] | None = None,
) -> list[tuple[int, int]]:
    """Edges with about ``share`` of them taken out, while every node keeps two and the graph stays in one piece."""
    left = list(edges)
    for index in rng.permutation(len(edges)):
        edge = edges[index]
        if len(edges) - len(left) >= share * len(edges):
            break
        if keep is not None and keep(*edge):
            continue
        rest = [other for other in left if other != edge]
        if all(sum(node in other for other in rest) >= 2 for node in edge) and _connected(rest, num_nodes):
            left = rest
    return left


def _connected(edges: list[tuple[int, int]], num_nodes: int) -> bool:
    neighbours: dict[int, list[int]] = {}
    for first, second in edges:
        neighbours.setdefault(first, []).append(second)
        neighbours.setdefault(second, []).append(first)
    seen, queue = {0}, [0]
    while queue:
        for node in neighbours.get(queue.pop(), []):
            if node not in seen:
                seen.add(node)
                queue.append(node)
    return len(seen) == num_nodes
