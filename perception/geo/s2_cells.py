"""S2 cells: the sphere cut into six faces of a cube, each into four again and again, numbered along a Hilbert curve.

A cell's id is an unsigned 64-bit number: three bits of the face, two bits a level of the way down, a one, and zeros.
Cells of any level that lie in each other or apart do so as ranges of ids. The ids equal those of Google's S2 library;
here they are made of whole arrays at once, since a data set has millions of places.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

MAX_LEVEL = 30
FACES = 6
_BITS = 4                                            # bits of i and of j that one look-up turns into a piece of the way
_CURVE = ((0, 1, 3, 2), (0, 3, 1, 2), (2, 3, 1, 0), (2, 1, 3, 0))                  # place by quadrant 2i + j
_TURN = (1, 0, 0, 3)                                 # change of the orientation by place
_U_AXIS, _U_SIGN = np.array((1, 0, 0, 2, 2, 1)), np.array((1.0, -1.0, -1.0, 1.0, 1.0, -1.0))
_V_AXIS, _V_SIGN = np.array((2, 2, 1, 1, 0, 0)), np.array((1.0, 1.0, -1.0, 1.0, -1.0, -1.0))
_ONE = np.uint64(1)


def leaf_ids(latlng: np.ndarray) -> np.ndarray:
    """The smallest cells, about a centimetre wide, that places lie in.

    Args:
        latlng: (N, 2) float64 latitudes and longitudes [deg], which are places on Earth (see `checked_latlng`).

    Returns:
        (N,) uint64 ids of level 30.
    """
    latitude, longitude = np.radians(latlng).T
    flat = np.cos(latitude)
    xyz = np.stack([flat * np.cos(longitude), flat * np.sin(longitude), np.sin(latitude)])          # (3, N)
    face = _faces(xyz)
    rows = np.arange(xyz.shape[1])
    depth = xyz[face % 3, rows]
    i = _steps(_U_SIGN[face] * xyz[_U_AXIS[face], rows] / depth)
    j = _steps(_V_SIGN[face] * xyz[_V_AXIS[face], rows] / depth)
    place, orientation = np.zeros(len(rows), np.uint64), face & 1
    for shift in range(MAX_LEVEL + 2 - _BITS, -1, -_BITS):                # 32 bits: two zeros turn nothing
        key = orientation << 2 * _BITS | (i >> shift & 15) << _BITS | j >> shift & 15
        place = place << np.uint64(2 * _BITS) | _PLACES[key]
        orientation = _ORIENTATIONS[key]
    return face.astype(np.uint64) << np.uint64(61) | place << _ONE | _ONE


def parent_ids(ids: np.ndarray, level: int) -> np.ndarray:
    """(N,) uint64 cells of a level that hold the given ones.

    Raises:
        ValueError: the level lies outside [0, 30], or a cell is larger than those of it.
    """
    if not 0 <= level <= MAX_LEVEL:
        raise ValueError(f"level must lie in [0, {MAX_LEVEL}], got {level}")
    bit = np.uint64(1 << 2 * (MAX_LEVEL - level))
    if (_lowest_bits(ids) > bit).any():
        raise ValueError(f"ids must be of level {level} or deeper, got one of level {int(levels_of(ids).min())}")
    return ids & (~bit + _ONE) | bit


def levels_of(ids: np.ndarray) -> np.ndarray:
    """(N,) uint64 -> (N,) int64 levels, from 0 (a face) to 30."""
    return MAX_LEVEL - np.log2(_lowest_bits(ids).astype(np.float64)).astype(np.int64) // 2


def faces_of(ids: np.ndarray) -> np.ndarray:
    """(N,) uint64 -> (N,) int64 faces, from 0 to 5."""
    return (ids >> np.uint64(61)).astype(np.int64)


def id_ranges(ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(N,) uint64 each: the lowest and the highest id of what lies in a cell, the cell itself included."""
    half = _lowest_bits(ids) - _ONE
    return ids - half, ids + half


def is_valid(ids: np.ndarray) -> np.ndarray:
    """(N,) uint64 -> (N,) bool: whether there is such a cell."""
    even = np.uint64(0x1555555555555555)             # where the lowest one of an id may stand
    return (faces_of(ids) < FACES) & (_lowest_bits(ids) & even != 0)


def tokens_of(ids: np.ndarray) -> list[str]:
    """Ids in short: their 16 hexadecimal digits without the zeros at the end."""
    return [f"{number:016x}".rstrip("0") or "X" for number in ids.tolist()]


def ids_of_tokens(tokens: Sequence[str]) -> np.ndarray:
    """(N,) uint64 ids of what `tokens_of` gave. Raises ValueError that names a token of no cell."""
    numbers = [int(token.ljust(16, "0"), 16) if re.fullmatch(r"[0-9a-f]{1,16}", token) else 0 for token in tokens]
    ids = np.array(numbers, np.uint64)
    wrong = np.flatnonzero(~is_valid(ids))
    if len(wrong):
        raise ValueError(f"tokens must be of S2 cells, got {tokens[wrong[0]]!r}")
    return ids


def cell_squares(ids: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Faces, and levels with the column and row of a cell among the 2^level x 2^level of its face; (N,) int64 each."""
    orientation, levels = faces_of(ids) & 1, levels_of(ids)
    place = ids >> _ONE & np.uint64((1 << 60) - 1)                                # what is below the level is cut off
    i, j = np.zeros(len(ids), np.int64), np.zeros(len(ids), np.int64)
    for shift in range(2 * MAX_LEVEL + 4 - 2 * _BITS, -1, -2 * _BITS):
        key = orientation << 2 * _BITS | (place >> np.uint64(shift) & np.uint64(255)).astype(np.int64)
        quadrants = _QUADRANTS[key]
        i, j = i << _BITS | quadrants >> _BITS, j << _BITS | quadrants & 15
        orientation = _INVERSE_ORIENTATIONS[key]
    below = MAX_LEVEL - levels
    return faces_of(ids), levels, i >> below, j >> below


def center_latlng(ids: np.ndarray) -> np.ndarray:
    """(N, 2) float64 latitudes and longitudes [deg] of the middles of cells."""
    face, level, i, j = cell_squares(ids)
    side = 2.0**level
    return latlng_of(face_points(face, warped((i + 0.5) / side), warped((j + 0.5) / side)))


def warped(s: np.ndarray) -> np.ndarray:
    """Places in [0, 1] along a side of a face -> tangents in [-1, 1]; it makes cells of a level about equally large."""
    return np.where(s >= 0.5, 4 * s**2 - 1, 1 - 4 * (1 - s) ** 2) / 3


def face_points(face: np.ndarray, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Points of the cube: (N,) faces and tangents -> (N, 3) float64 x, y, z."""
    one = np.ones_like(u)
    corners = np.stack([
        np.stack(parts, axis=-1)
        for parts in ((one, u, v), (-u, one, v), (-u, -v, one), (-one, -v, -u), (v, -one, -u), (v, u, -one))
    ])                                                                            # (6, N, 3)
    return corners[face, np.arange(len(u))]


def latlng_of(points: np.ndarray) -> np.ndarray:
    """(..., 3) directions x, y, z -> (..., 2) float64 latitudes and longitudes [deg]."""
    x, y, z = np.moveaxis(points, -1, 0)
    return np.degrees(np.stack([np.arctan2(z, np.hypot(x, y)), np.arctan2(y, x)], axis=-1))


def _faces(xyz: np.ndarray) -> np.ndarray:
    """(3, N) -> (N,) int64 face: the axis of the largest part, and three more where that part is negative."""
    x, y, z = np.abs(xyz)
    axis = np.where(x > y, np.where(x > z, 0, 2), np.where(y > z, 1, 2))
    return axis + 3 * (xyz[axis, np.arange(xyz.shape[1])] < 0)


def _steps(tangent: np.ndarray) -> np.ndarray:
    """(N,) tangents in [-1, 1] -> (N,) int64 columns or rows of leaf cells."""
    root = 0.5 * np.sqrt(1 + 3 * np.abs(tangent))
    side = np.floor(2.0**MAX_LEVEL * np.where(tangent >= 0, root, 1 - root))
    return np.clip(side, 0, 2**MAX_LEVEL - 1).astype(np.int64)


def _lowest_bits(ids: np.ndarray) -> np.ndarray:
    return ids & (~ids + _ONE)


def _look_ups() -> tuple[np.ndarray, ...]:
    """By orientation and four bits of i and j, their eight bits of the way and the orientation after it; and back."""
    size = 4 << 2 * _BITS
    places, orientations = np.zeros(size, np.uint64), np.zeros(size, np.int64)
    quadrants, inverse = np.zeros(size, np.int64), np.zeros(size, np.int64)
    for key in range(size):
        begin = orientation = key >> 2 * _BITS
        place = 0
        for bit in reversed(range(_BITS)):
            step = _CURVE[orientation][2 * (key >> _BITS + bit & 1) + (key >> bit & 1)]
            place, orientation = place << 2 | step, orientation ^ _TURN[step]
        places[key], orientations[key] = place, orientation
        back = begin << 2 * _BITS | place
        quadrants[back], inverse[back] = key & 255, orientation
    return places, orientations, quadrants, inverse


_PLACES, _ORIENTATIONS, _QUADRANTS, _INVERSE_ORIENTATIONS = _look_ups()
