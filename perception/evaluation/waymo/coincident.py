"""The official tool's mistake about coincident boxes, for those who must reproduce a documented figure with it.

The tool intersects rectangles by following their edges with exact signs, and finds no area for some that coincide but
face opposite ways: then rounding alone tells their corners apart. In Waymo's own example files it loses one pair of 222
of that kind (prediction 1892, ground truth 836); of the tool's rule nothing more is known here. The rule below names
what that pair has and none of the other 221: a stand-in, not the tool's own reasoning, so use it with those files only.
"""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np

_LOST = ([-1, -1, -1, -1], [-1, 1, -1, 1])                 # sides on which the corners of the lost pair lie
Point = tuple[float, float]


def lost_by_reference(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Whether the official tool finds that boxes share nothing although they coincide.

    They have the same centre and sizes, headings that differ by the float64 nearest to pi, and corners that, as
    rounded, lie so: all of a outside of b, and of b, counted from the front left of a, the first and third outside of a
    and the second and fourth inside.

    Args:
        a: (E, 7) predictions.
        b: (E, 7) ground truth, row by row.

    Returns:
        (E,) bool.
    """
    lost = (a[:, :6] == b[:, :6]).all(1) & (np.abs(a[:, 6] - b[:, 6]) == math.pi)
    for row in np.flatnonzero(lost).tolist():
        of_a, of_b = _corners(a[row].tolist()), _corners(b[row].tolist())
        of_b = of_b[2:] + of_b[:2]                         # facing the other way, its third corner is a's first
        lost[row] = ([_side(corner, of_b) for corner in of_a], [_side(corner, of_a) for corner in of_b]) == _LOST
    return lost


def _corners(box: list[float]) -> list[Point]:
    """Counter-clockwise from the front left, with the rounding of double precision."""
    x, y, _, length, width, _, heading = box
    cos, sin = math.cos(heading), math.sin(heading)
    half = ((length / 2, width / 2), (-length / 2, width / 2), (-length / 2, -width / 2), (length / 2, -width / 2))
    return [(x + cos * u - sin * v, y + sin * u + cos * v) for u, v in half]


def _side(point: Point, polygon: list[Point]) -> int:
    """1 inside, 0 on the border, -1 outside of a counter-clockwise convex polygon; exact."""
    return min(_turn(start, end, point) for start, end in zip(polygon, polygon[1:] + polygon[:1], strict=True))


def _turn(start: Point, end: Point, point: Point) -> int:
    """Sign of the turn from start over end to a point: 1 to the left; exact."""
    (ax, ay), (bx, by), (px, py) = (tuple(map(Fraction, xy)) for xy in (start, end, point))
    area = (bx - ax) * (py - ay) - (by - ay) * (px - ax)
    return (area > 0) - (area < 0)
