"""Areas of one class, such as crossings, seen again and again, fused by a vote over small cells of the ground."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import shapely
from shapely.geometry.base import BaseGeometry

from .ground_index import GroundIndex
from .views import Views

CELL = 0.2                                                 # metres
MIN_OVERLAP = 0.3                                          # of the smaller of two areas that are the same
MAJORITY = 0.5                                             # of the weight of the frames that could see a cell
MIN_AREA = 0.1                                             # square metres
LOOK_AROUND = 20.0                                         # metres; no crossing reaches further from its vertices


@dataclass
class _Area:
    """One area: its cells with the weight that each was seen with, and the frames that saw it."""

    hull: BaseGeometry
    votes: dict[str, np.ndarray]                           # "cells" (C, 2) int64, "weight" (C,)
    weights: dict[int, float] = field(default_factory=dict)              # by frame
    scores: dict[int, float] = field(default_factory=dict)               # by frame
    heights: list[tuple[float, float]] = field(default_factory=list)     # weight, z [m]


class AreaFusion:
    """Keeps the areas found so far; see `add` for what is taken for the same, `outlines` for what becomes of it.

    Areas count by the convex hull of their vertices, so an outline that crosses itself is as good as any other.
    """

    def __init__(self) -> None:
        self._areas: dict[int, _Area] = {}
        self._index = GroundIndex()
        self._next_id = 0

    def add(self, outline: np.ndarray, weight: float, score: float, frame: int) -> None:
        """Take an area that a frame shows; areas of which the smaller lies in the other by 30 % are the same.

        Args:
            outline: (V, 3) float64 vertices in the global frame [m]; one that spans no area is ignored.
            weight: what its shape counts for, > 0.
            score: its confidence.
            frame: number of the frame.
        """
        hull = shapely.convex_hull(shapely.MultiPoint(outline[:, :2]))
        if hull.area < MIN_AREA:
            return
        heights = [(weight, float(outline[:, 2].mean()))]
        area = _Area(hull, _votes(hull, weight), {frame: weight}, {frame: score}, heights)
        for number in self._index.near(_ring(hull), LOOK_AROUND):
            known = self._areas[number]
            shared = known.hull.intersection(area.hull).area
            if shared >= MIN_OVERLAP * min(known.hull.area, area.hull.area):
                self._index.remove(number)
                area = _united(self._areas.pop(number), area)
        number, self._next_id = self._next_id, self._next_id + 1
        self._areas[number] = area
        self._index.insert(number, _ring(area.hull), LOOK_AROUND)

    def outlines(self, views: Views) -> list[tuple[np.ndarray, float]]:
        """The closed outline (V, 3) and the confidence of every area, oldest first.

        An area covers the ground that at least half of the weight of those frames saw it cover which had that ground in
        view, made convex. Outlines are exact to about the size of a cell, 0.2 m.
        """
        return [_outline(self._areas[number], views) for number in sorted(self._areas)]


def _ring(hull: BaseGeometry) -> np.ndarray:
    return shapely.get_coordinates(hull)


def _votes(hull: BaseGeometry, weight: float) -> dict[str, np.ndarray]:
    """The cells whose centres lie in an area; the one below its middle if there is none."""
    low, high = np.floor(np.array(hull.bounds).reshape(2, 2) / CELL).astype(np.int64)
    columns, rows = np.meshgrid(np.arange(low[0], high[0] + 1), np.arange(low[1], high[1] + 1))
    cells = np.stack([columns.ravel(), rows.ravel()], axis=1)                             # (C, 2)
    centers = (cells + 0.5) * CELL
    inside = shapely.contains_xy(hull, centers[:, 0], centers[:, 1])
    if not inside.any():
        inside[np.linalg.norm(centers - _ring(hull.centroid), axis=1).argmin()] = True
    return {"cells": cells[inside], "weight": np.full(int(inside.sum()), weight)}


def _united(known: _Area, other: _Area) -> _Area:
    cells = np.concatenate([known.votes["cells"], other.votes["cells"]])
    unique, inverse = np.unique(cells, axis=0, return_inverse=True)
    weight = np.bincount(inverse.ravel(), np.concatenate([known.votes["weight"], other.votes["weight"]]))
    hull = shapely.convex_hull(known.hull.union(other.hull))
    votes = {"cells": unique, "weight": weight}
    weights, scores = dict(known.weights), dict(known.scores)
    for frame, value in other.weights.items():
        weights[frame] = weights.get(frame, 0.0) + value
        scores[frame] = max(scores.get(frame, 0.0), other.scores[frame])
    return _Area(hull, votes, weights, scores, known.heights + other.heights)


def _outline(area: _Area, views: Views) -> tuple[np.ndarray, float]:
    heights = np.array(area.heights)                                                      # (F, 2)
    height = float(np.average(heights[:, 1], weights=heights[:, 0]))
    centers = np.column_stack([(area.votes["cells"] + 0.5) * CELL, np.full(len(area.votes["cells"]), height)])
    possible = np.zeros(len(centers))
    for frame, weight in area.weights.items():
        possible += weight * views.sees(frame, centers)
    share = area.votes["weight"] / np.maximum(possible, area.votes["weight"])
    kept = centers[share >= min(MAJORITY, share.max())]
    hull = shapely.convex_hull(shapely.MultiPoint(kept[:, :2])).buffer(CELL / 4, join_style="mitre")
    ring = _ring(hull.simplify(CELL / 2))                                                 # (V, 2), closed
    middle = np.array([[*_ring(hull.centroid)[0], height]])
    seen = max(int(views.count(middle)[0]), len(area.scores))
    return np.column_stack([ring, np.full(len(ring), height)]), sum(area.scores.values()) / seen
