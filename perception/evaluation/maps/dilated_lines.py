"""Lines widened to polygons: whether two of them meet, and how much they have in common."""

from __future__ import annotations

import numpy as np
import shapely

from .point_distances import PointSets

STRIP_SHARE = 0.95                                         # of the radius; GEOS simplifies a line by 1 % of it
PROBES = 9                                                 # points of a line that are tried before polygons are made


def dilated(lines: np.ndarray, radius: float) -> np.ndarray:
    """(P,) polygons of (P, S, 2 or 3) lines: flat ends, mitred joins, x and y only; empty for a line of no length."""
    return shapely.buffer(shapely.linestrings(lines[..., :2]), radius, cap_style="flat", join_style="mitre")


def dilations_meet(first: PointSets, second: PointSets, pairs: np.ndarray, radius: float) -> np.ndarray:
    """(K,) bool, whether lines of (K, 2) pairs intersect once both are `dilated`.

    Polygons are made only of lines that the cheap test leaves open: a point of one line beside a segment of the other.
    """
    meets = _runs_beside(first.points, second.points, pairs, radius)
    open_pairs = pairs[~meets]
    if len(open_pairs):
        polygons = []
        for column, side in enumerate((first, second)):
            rows, places = np.unique(open_pairs[:, column], return_inverse=True)
            polygons.append(dilated(side.points[rows], radius)[places])
        meets[~meets] = shapely.intersects(*polygons)
    return meets


def iou_pairs(first: PointSets, second: PointSets, pairs: np.ndarray, radius: float = 1.0) -> np.ndarray:
    """(K,) intersection over union of the `dilated` lines of (K, 2) pairs; 0 where both are empty."""
    polygons = [shapely.make_valid(dilated(side.points, radius)) for side in (first, second)]
    iou = np.zeros(len(pairs))
    a, b = pairs.T
    rows = np.flatnonzero(shapely.intersects(polygons[0][a], polygons[1][b]))
    a, b = a[rows], b[rows]
    common = shapely.area(shapely.intersection(polygons[0][a], polygons[1][b]))
    union = shapely.area(polygons[0])[a] + shapely.area(polygons[1])[b] - common
    iou[rows] = np.divide(common, union, out=np.zeros_like(common), where=union > 0)
    return iou


def _runs_beside(first: np.ndarray, second: np.ndarray, pairs: np.ndarray, radius: float) -> np.ndarray:
    """(K,) bool, True only if a point of the first line surely lies within the dilated second one."""
    probes = np.linspace(0, first.shape[1] - 1, PROBES + 2).astype(np.int64)[1:-1]
    begin, step = second[:, :-1, :2], np.diff(second[..., :2], axis=1)                   # (Q, T - 1, 2)
    length = np.linalg.norm(step, axis=2)
    along = np.divide(step, length[..., None], out=np.zeros_like(step), where=length[..., None] > 0)
    has_length = np.abs(np.diff(first[..., :2], axis=1)).max(axis=(1, 2), initial=0.0) > 0
    a, b = pairs.T
    beside = np.zeros(len(pairs), bool)
    for probe in probes:
        rows = np.flatnonzero(~beside & has_length[a])
        offset = first[a[rows], probe, None, :2] - begin[b[rows]]                        # (R, T - 1, 2)
        axis = along[b[rows]]
        forward = (offset * axis).sum(axis=2)
        sideways = np.abs(offset[..., 0] * axis[..., 1] - offset[..., 1] * axis[..., 0])
        within = (forward >= 0) & (forward <= length[b[rows]]) & (length[b[rows]] > 0)
        beside[rows] = (within & (sideways <= STRIP_SHARE * radius)).any(axis=1)
    return beside
