"""Lines cut at the borders of a rectangle, so that all parts keep their direction and know where they were cut.

Beside a geometry library's intersection this neither splits a line where it crosses itself nor merges its parts, and
lines that run along each other (a lane's middle and sides) can be cut at the same places.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...structures import SE3

Region = tuple[float, float, float, float]


def checked_region(region: Sequence[float]) -> Region:
    """x0, y0, x1, y1 [m] as floats. Raises ValueError unless x0 < x1 and y0 < y1, all finite."""
    values = tuple(float(value) for value in region)
    if len(values) != 4 or not np.isfinite(values).all() or values[0] >= values[2] or values[1] >= values[3]:
        raise ValueError(f"region must be x0, y0, x1, y1 [m] with x0 < x1 and y0 < y1, got {tuple(region)}")
    return values[0], values[1], values[2], values[3]


def region_corners(region: Region, global_from_ego: SE3) -> np.ndarray:
    """(4, 2) float64 corners of a region around a pose, in the global frame."""
    x0, y0, x1, y1 = region
    corners = np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]])
    rotation, translation = _planar(global_from_ego)
    return corners @ rotation.T + translation


def into_ego(points: np.ndarray, global_from_ego: SE3) -> np.ndarray:
    """(..., 2) global points in the ego frame: (p - t_xy) R_xy, R_xy the upper-left block of the pose's rotation."""
    rotation, translation = _planar(global_from_ego)
    return (points - translation) @ rotation


def _planar(pose: SE3) -> tuple[np.ndarray, np.ndarray]:
    return pose.rotation[:2, :2].numpy(), pose.translation[:2].numpy()


def stretches_inside(points: np.ndarray, region: Region) -> np.ndarray:
    """Where a line runs inside a rectangle, borders included.

    Args:
        points: (V, 2) vertices, V >= 1.
        region: x0, y0, x1, y1.

    Returns:
        (R, 2) float64 first and last place of every stretch in order; place 1.25 is a quarter of the way from vertex 1
        to vertex 2. A stretch that only touches the border in a point is left out.
    """
    low, high = np.array(region[:2]), np.array(region[2:])
    if len(points) > 1 and (points >= low).all() and (points <= high).all():   # as most are
        return np.array([[0.0, len(points) - 1.0]])
    start, step = points[:-1], points[1:] - points[:-1]                            # (V - 1, 2)
    with np.errstate(divide="ignore", invalid="ignore"):
        first, second = (low - start) / step, (high - start) / step
    still = step == 0.0
    outside = (start < low) | (start > high)
    enter = np.where(still, np.where(outside, np.inf, 0.0), np.minimum(first, second)).max(axis=1, initial=0.0)
    leave = np.where(still, np.where(outside, -np.inf, 1.0), np.maximum(first, second)).min(axis=1, initial=1.0)
    rows = np.flatnonzero(enter < leave)
    if not len(rows):
        return np.zeros((0, 2))
    begins, ends = rows + enter[rows], rows + leave[rows]
    breaks = np.flatnonzero(begins[1:] > ends[:-1]) + 1
    return np.stack([begins[[0, *breaks]], ends[[*(breaks - 1), -1]]], axis=1)


def cut_line(points: np.ndarray, first: float, last: float) -> np.ndarray:
    """The part of a line (V, C) between two places, in its direction: (W, C), W >= 2 for first < last."""
    inner = np.arange(np.floor(first) + 1, np.ceil(last))
    return at_places(points, np.concatenate([[first], inner, [last]]))


def at_places(points: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Points of a line (V, C) at places (W,) in [0, V - 1]: (W, C)."""
    below = np.minimum(places.astype(np.int64), len(points) - 2)
    share = (places - below)[:, None]
    return points[below] * (1.0 - share) + points[below + 1] * share


def clip_line(points: np.ndarray, region: Region) -> list[np.ndarray]:
    """The parts (W, C) of a line (V, C), x y ..., inside a rectangle, in the order and direction of the line.

    A closed line (its last vertex equal to its first) that lies inside as a whole stays closed; of one that is cut, no
    part ends at its first vertex unless the border does.
    """
    stretches = stretches_inside(points[:, :2], region)
    parts = [cut_line(points, *stretch) for stretch in stretches.tolist()]
    for part in parts:
        part[:, :2] = np.clip(part[:, :2], region[:2], region[2:])
    closed = len(parts) > 1 and len(points) > 3 and bool((points[0] == points[-1]).all())
    if closed and stretches[0, 0] == 0.0 and stretches[-1, 1] == len(points) - 1:
        parts[0] = np.concatenate([parts.pop(), parts[0][1:]])
    return parts
