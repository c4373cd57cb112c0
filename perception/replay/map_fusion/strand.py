"""A line of a map that grows: its vertices, and what has been seen of each of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np

from ...structures.line_geometry import stations

TANGENT_REACH = 2                                          # vertices to each side that a direction is taken over


@dataclass(frozen=True, eq=False)
class Strand:
    """V vertices, about equally spaced in the xy plane, in the global frame [m].

    Args:
        points: (V, 3) float64.
        weight: (V,) what each position counts for in an average.
        evidence: (V,) sum of the scores of the frames that saw it, a frame counted once.
        hits: (V,) int64 number of those frames.
        last_frame: (V,) int64 number of the last of them.
        last_score: (V,) the score it had there.
    """

    points: np.ndarray
    weight: np.ndarray
    evidence: np.ndarray
    hits: np.ndarray
    last_frame: np.ndarray
    last_score: np.ndarray

    @classmethod
    def observed(cls, points: np.ndarray, weight: np.ndarray, score: float, frame: int) -> Strand:
        """What one frame shows: (V, 3) points with (V,) weights."""
        scores = np.full(len(points), score)
        ones = np.ones(len(points), dtype=np.int64)
        return cls(points, weight, scores, ones, ones * frame, scores)

    @classmethod
    def joined(cls, parts: Sequence[Strand]) -> Strand:
        """One after the other."""
        return cls(*(np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(cls)))

    def __len__(self) -> int:
        return len(self.points)

    def __getitem__(self, index: slice | np.ndarray) -> Strand:
        return Strand(*(getattr(self, field.name)[index] for field in fields(self)))

    @property
    def arcs(self) -> np.ndarray:
        """(V,) way from the first vertex to each [m]."""
        return stations(self.points)

    @property
    def length(self) -> float:
        """Its length in the xy plane [m]."""
        return float(self.arcs[-1])

    @property
    def tangents(self) -> np.ndarray:
        """(V, 2) unit directions, taken over some vertices to each side; zero for a single vertex."""
        index = np.arange(len(self))
        ahead = self.points[np.minimum(index + TANGENT_REACH, len(self) - 1), :2]
        behind = self.points[np.maximum(index - TANGENT_REACH, 0), :2]
        step = ahead - behind
        return step / np.maximum(np.linalg.norm(step, axis=1, keepdims=True), 1e-12)

    def updated(self, rows: np.ndarray, positions: np.ndarray, other: Strand) -> Strand:
        """With more seen of some vertices.

        Args:
            rows: (K,) indices of the vertices.
            positions: (K, 3) where ``other`` has them.
            other: K vertices with what is known of them there.
        """
        mine, points, result = self[rows], self.points.copy(), {}
        share = (other.weight / np.maximum(mine.weight + other.weight, 1e-12))[:, None]
        points[rows] = mine.points + share * (positions - mine.points)
        same = mine.last_frame == other.last_frame         # both are of the same frame: it counts once
        newer = np.where(same, other.last_score > mine.last_score, other.last_frame > mine.last_frame)
        news = {
            "weight": mine.weight + other.weight,
            "evidence": mine.evidence + other.evidence - same * np.minimum(mine.last_score, other.last_score),
            "hits": mine.hits + other.hits - same,
            "last_frame": np.maximum(mine.last_frame, other.last_frame),
            "last_score": np.where(newer, other.last_score, mine.last_score),
        }
        for name, values in news.items():
            result[name] = getattr(self, name).copy()
            result[name][rows] = values
        return Strand(points, **result)


@dataclass(frozen=True, eq=False)
class Feet:
    """Where points come to lie on a line.

    Args:
        segment: (W,) int64 nearest segment of the line.
        share: (W,) where on it, in [0, 1].
        distance: (W,) distance from the line [m]; from its prolongation for points beyond its ends.
        overhang: (W,) how far beyond an end of the line [m]; 0 beside it.
    """

    segment: np.ndarray
    share: np.ndarray
    distance: np.ndarray
    overhang: np.ndarray

    def on(self, values: np.ndarray) -> np.ndarray:
        """(V, ...) values of the line's vertices -> (W, ...) at the feet."""
        share = self.share.reshape(-1, *[1] * (values.ndim - 1))
        return values[self.segment] * (1.0 - share) + values[self.segment + 1] * share

    @property
    def vertex(self) -> np.ndarray:
        """(W,) int64 nearer vertex of the line."""
        return self.segment + (self.share > 0.5)


def feet_on(points: np.ndarray, line: np.ndarray, near: float = np.inf) -> Feet | None:
    """Nearest places on a line, in the xy plane.

    Args:
        points: (W, 2 or 3).
        line: (V, 2 or 3) vertices.
        near: segments whose bounding box is further than this [m] from that of the points are not looked at.

    Returns:
        The feet; None if the line has no segment there.
    """
    points, line = points[:, :2], line[:, :2]
    low, high = points.min(axis=0) - near, points.max(axis=0) + near
    start, end = line[:-1], line[1:]
    candidates = np.flatnonzero(((np.minimum(start, end) <= high) & (np.maximum(start, end) >= low)).all(axis=1))
    if not len(candidates):
        return None
    start, step = start[candidates], (end - start)[candidates]                           # (S, 2)
    size = np.maximum((step**2).sum(axis=1), 1e-18)                                      # (S,)
    raw = ((points[:, None] - start) * step).sum(axis=2) / size                          # (W, S)
    clamped = np.clip(raw, 0.0, 1.0)
    gap = np.linalg.norm(points[:, None] - start - clamped[..., None] * step, axis=2)    # (W, S)
    best = gap.argmin(axis=1)
    rows = np.arange(len(points))
    segment, share, beyond = candidates[best], clamped[rows, best], raw[rows, best] - clamped[rows, best]
    at_end = ((segment == 0) & (beyond < 0)) | ((segment == len(line) - 2) & (beyond > 0))
    overhang = np.where(at_end, np.abs(beyond) * np.sqrt(size[best]), 0.0)
    distance = np.sqrt(np.maximum(gap[rows, best] ** 2 - overhang**2, 0.0))
    return Feet(segment, share, distance, overhang)
