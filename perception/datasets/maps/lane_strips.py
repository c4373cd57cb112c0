"""Strips: a lane or a crossing as its middle and its two sides, each given at the same places along the way."""

from __future__ import annotations

import numpy as np
import shapely

from ...structures.line_geometry import left_normals, polyline_length, resample_to
from .line_clipping import Region, at_places, stretches_inside

SPACING_M = 1.0                     # of the places of a strip
LEFT, CENTER, RIGHT = range(3)      # second axis of a strip


def lane_strip(center: np.ndarray, outline: np.ndarray) -> np.ndarray:
    """The strip of a lane.

    The outline is parted where the centre line enters and where it leaves; what lies between is the two sides. If it
    enters and leaves through one edge, the sides run beside the centre line so that they enclose the outline's area.

    Args:
        center: (V, 2) centre line in driving direction, of some length.
        outline: (W, 2) corners in either order, W >= 3, not closed.

    Returns:
        (M, 3, 2) left, centre and right; every side runs in driving direction, evenly spaced by its own length.
    """
    edges = np.stack([outline, np.roll(outline, -1, axis=0)], axis=1)              # (W, 2, 2)
    ends = shapely.points(center[[0, -1]])
    first, last = shapely.distance(shapely.linestrings(edges)[:, None], ends).argmin(axis=0).tolist()
    if first == last:
        half = shapely.Polygon(outline).area / polyline_length(center) / 2
        offset = half * left_normals(center)
        return _strip(center + offset, center, center - offset)
    size = len(outline)
    along = outline[[(first + 1 + step) % size for step in range((last - first - 1) % size + 1)]]
    back = outline[[(last + 1 + step) % size for step in range((first - last - 1) % size + 1)]][::-1]
    sides = (along, back) if _lies_left(along, center) else (back, along)
    return _strip(sides[0], center, sides[1])


def crossing_strip(outline: shapely.Polygon) -> np.ndarray:
    """(M, 3, 2) strip of a pedestrian crossing along its longer sides, which is the way people walk.

    An outline of other than four corners (bends of less than 10 cm do not count) is taken for its smallest rectangle.
    """
    ring = np.array(outline.simplify(0.1).exterior.coords)[:-1]
    if len(ring) != 4:
        ring = np.array(shapely.minimum_rotated_rectangle(outline).exterior.coords)[:-1]
    if _length_of_pair(ring) < _length_of_pair(np.roll(ring, -1, axis=0)):
        ring = np.roll(ring, -1, axis=0)
    one, other = ring[[0, 1]], ring[[3, 2]]
    left, right = (one, other) if _lies_left(one, (one + other) / 2) else (other, one)
    return _strip(left, (left + right) / 2, right)


def strips_inside(
    strip: np.ndarray, region: Region, points: int, min_length: float
) -> list[tuple[np.ndarray, bool, bool]]:
    """The parts of a strip whose middle lies in a rectangle; their sides may reach out of it.

    Args:
        strip: (M, 3, 2), ego frame.
        region: x0, y0, x1, y1 [m].
        points: places of each part, evenly spaced along each of its three lines.
        min_length: parts with a shorter middle are left out [m].

    Returns:
        Strips (points, 3, 2), each with whether it has the beginning and whether it has the end of the given one.
    """
    parts = []
    for first, last in stretches_inside(strip[:, CENTER], region).tolist():
        part = at_places(strip.reshape(len(strip), -1), np.linspace(first, last, points)).reshape(-1, 3, 2)
        if polyline_length(part[:, CENTER]) >= min_length:
            part[:, CENTER] = part[:, CENTER].clip(region[:2], region[2:])
            parts.append((part, first == 0.0, last == len(strip) - 1.0))
    return parts


def _strip(left: np.ndarray, center: np.ndarray, right: np.ndarray) -> np.ndarray:
    count = max(int(np.ceil(polyline_length(center) / SPACING_M)), 1) + 1
    return np.stack([resample_to(line, count) for line in (left, center, right)], axis=1)


def _lies_left(side: np.ndarray, center: np.ndarray) -> bool:
    """Whether a side in driving direction lies to the left of a centre line, judged at both ends."""
    heading = np.stack([center[1] - center[0], center[-1] - center[-2]])
    across = side[[0, -1]] - center[[0, -1]]
    return bool((heading[:, 0] * across[:, 1] - heading[:, 1] * across[:, 0]).sum() > 0)


def _length_of_pair(ring: np.ndarray) -> float:
    """Length of the first and the third side of a quadrilateral together."""
    return float(np.linalg.norm(ring[1] - ring[0]) + np.linalg.norm(ring[3] - ring[2]))
