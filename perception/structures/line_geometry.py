"""Polylines as plain arrays, seen from above: length, even stations, normals.

Lines are (V, C) float64 with x and y [m] in the first two columns; the others, such as z, are carried along.
"""

from __future__ import annotations

import numpy as np


def polyline_length(line: np.ndarray) -> float:
    """Length of a (V, C) polyline."""
    return float(np.linalg.norm(np.diff(line[:, :2], axis=0), axis=1).sum())


def resample(line: np.ndarray, spacing: float) -> np.ndarray:
    """A (V, C) polyline at even stations at most ``spacing`` apart; both ends are kept exactly."""
    return resample_to(line, max(int(np.ceil(polyline_length(line) / spacing)), 1) + 1)


def resample_to(line: np.ndarray, count: int) -> np.ndarray:
    """A (V, C) polyline at ``count`` >= 2 even stations: (count, C); both ends are kept exactly."""
    way = stations(line)
    wanted = np.linspace(0.0, way[-1], count)
    points = np.stack([np.interp(wanted, way, line[:, axis]) for axis in range(line.shape[1])], axis=-1)
    points[0], points[-1] = line[0], line[-1]
    return points


def left_normals(line: np.ndarray) -> np.ndarray:
    """(V, 2) unit normals to the left of a polyline's direction."""
    tangent = np.gradient(line, axis=0)
    tangent /= np.maximum(np.linalg.norm(tangent, axis=1, keepdims=True), 1e-12)
    return np.stack([-tangent[:, 1], tangent[:, 0]], axis=-1)


def stations(line: np.ndarray) -> np.ndarray:
    """(V,) way from the first vertex of a (V, C) polyline to each."""
    return np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(line[:, :2], axis=0), axis=1))])
