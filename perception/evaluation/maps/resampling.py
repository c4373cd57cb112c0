"""Lines of any number of vertices as equally many points each."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

CHUNK_ELEMENTS = 1 << 20                                   # numbers of a temporary array: 8 MiB


def resample_lines(vertices: np.ndarray, counts: np.ndarray, num_points: int) -> np.ndarray:
    """Points equally spaced along each line, both ends included; the way is measured in the xy plane.

    Args:
        vertices: (V, D) float64, x y (z) [m], line after line.
        counts: (P,) int64 number of vertices of each line, >= 1.
        num_points: points of each line, >= 2.

    Returns:
        (P, num_points, D) float64. A line of no length in the xy plane repeats its first vertex.

    Raises:
        ValueError: ``num_points`` is below 2.
    """
    if num_points < 2:
        raise ValueError(f"num_points must be >= 2, got {num_points}")
    starts = np.cumsum(counts) - counts
    points = np.empty((len(counts), num_points, vertices.shape[1]))
    for count in np.unique(counts):
        for rows in chunks(np.flatnonzero(counts == count), int(num_points * count)):
            points[rows] = _resample(vertices[starts[rows, None] + np.arange(count)], num_points)
    return points


def chunks(rows: np.ndarray, elements: int) -> Iterator[np.ndarray]:
    """Parts of (K,) rows, such that an array with so many elements for each row stays in the cache."""
    step = max(1, CHUNK_ELEMENTS // max(elements, 1))
    for start in range(0, len(rows), step):
        yield rows[start : start + step]


def _resample(lines: np.ndarray, num_points: int) -> np.ndarray:
    """(P, V, D) lines of equally many vertices -> (P, num_points, D)."""
    if lines.shape[1] == 1:
        return np.repeat(lines, num_points, axis=1)
    P, V, D = lines.shape
    moves = np.diff(lines, axis=1)                                                       # (P, V - 1, D)
    steps = np.hypot(moves[..., 0], moves[..., 1])
    way = np.concatenate([np.zeros((P, 1)), np.cumsum(steps, axis=1)], axis=1)           # (P, V)
    length = way[:, -1:]
    spacing = length / (num_points - 1)
    has_length = length[:, 0] > 0
    firsts = np.ceil(np.divide(way[:, 1:-1], spacing, out=np.zeros_like(way[:, 1:-1]), where=spacing > 0))
    firsts = np.minimum(firsts.astype(np.int64), num_points - 1)                         # first point past a vertex
    cells = (firsts + num_points * np.arange(P)[:, None]).reshape(-1)
    passed = np.bincount(cells, minlength=P * num_points).reshape(P, num_points).cumsum(axis=1)
    segment = passed + (V - 1) * np.arange(P)[:, None]                                   # (P, num_points) of all lines
    gone = np.arange(num_points) * spacing - way[:, :-1].reshape(-1)[segment]
    step = steps.reshape(-1)[segment]
    share = np.divide(gone, step, out=np.zeros_like(gone), where=step > 0).clip(0.0, 1.0)
    points = lines[:, :-1].reshape(-1, D)[segment] + share[..., None] * moves.reshape(-1, D)[segment]
    points[:, -1] = lines[:, -1]
    points[~has_length] = lines[~has_length, :1]
    return points
