"""Outlines of S2 cells as GeoJSON (RFC 7946)."""

from __future__ import annotations

from typing import Any

import numpy as np

from .s2_cells import cell_squares, center_latlng, face_points, latlng_of, tokens_of, warped

DEGREE_DIGITS = 9                                    # a tenth of a millimetre
POLE = 90.0 - 1e-9                                   # a corner this near to a pole is the pole


def cell_polygon(cell: int) -> dict[str, Any]:
    """The GeoJSON Polygon of a cell: one ring of longitudes and latitudes [deg], counter-clockwise.

    Edges of cells are parts of great circles, those of GeoJSON are straight in longitude and latitude; edges of large
    cells get vertices between their ends, so that away from the poles the two differ by less than a hundredth of an
    edge. A corner at a pole is drawn as the line along which maps show the pole.

    Args:
        cell: id of a cell of level 1 or deeper; the faces themselves go across the 180th meridian or round a pole.

    Raises:
        ValueError: it is a face.
    """
    ids = np.array([cell], np.uint64)
    (face,), (level,), (i,), (j,) = cell_squares(ids)
    if level < 1:
        raise ValueError(f"cell must be of level 1 or deeper to have an outline, got the face {tokens_of(ids)[0]}")
    pieces = max(1, 16 >> int(level) // 2)
    u0, u1, v0, v1 = warped(np.array([i, i + 1, j, j + 1]) / 2.0**level)
    share = np.arange(pieces) / pieces
    u = np.concatenate([u0 + (u1 - u0) * share, np.full(pieces, u1), u1 + (u0 - u1) * share, np.full(pieces, u0)])
    v = np.concatenate([np.full(pieces, v0), v0 + (v1 - v0) * share, np.full(pieces, v1), v1 + (v0 - v1) * share])
    ring = latlng_of(face_points(np.full(len(u), face), u, v))                     # (4 * pieces, 2)
    ring = _with_poles(_on_one_side(ring, float(center_latlng(ids)[0, 1])))
    points = np.round(ring[:, ::-1], DEGREE_DIGITS).tolist()
    return {"type": "Polygon", "coordinates": [[*points, points[0]]]}


def _on_one_side(ring: np.ndarray, longitude: float) -> np.ndarray:
    """Vertices on the 180th meridian, which has two longitudes, get the one on the side of the cell's middle."""
    seam = np.abs(ring[:, 1]) > 180.0 - 1e-9
    return np.stack([ring[:, 0], np.where(seam, np.copysign(180.0, longitude), ring[:, 1])], axis=1)


def _with_poles(ring: np.ndarray) -> np.ndarray:
    """A pole, which has no longitude, becomes two vertices with those of its neighbours."""
    (poles,) = np.nonzero(np.abs(ring[:, 0]) >= POLE)
    if not len(poles):
        return ring
    at = int(poles[0])                                                             # a cell has one pole at most
    latitude = np.copysign(90.0, ring[at, 0])
    before, after = ring[at - 1, 1], ring[(at + 1) % len(ring), 1]
    return np.concatenate([ring[:at], [[latitude, before], [latitude, after]], ring[at + 1 :]])
