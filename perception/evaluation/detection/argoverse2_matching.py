"""Which Argoverse 2 boxes count, which detections are right and by how much they are off, for all sweeps at once.

A detection looks at the nearest label of its category and sweep alone, the first one on ties; of the detections that
look at one label the best scored is right if the centres are near enough, and no other has a second choice. Numbers are
those of av2's ``accumulate``, bit by bit: its operations in its order, on all rows instead of those of one sweep.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.spatial.transform import Rotation

from .argoverse2_columns import BoxColumns, BoxTables
from .argoverse2_settings import Argoverse2Settings

BLOCK_ROWS = 1 << 14                                       # detections whose distances are in the cache together
Inside = Callable[[BoxColumns, np.ndarray], np.ndarray]    # (boxes, (R,) rows) -> (R,) bool


def match_boxes(
    tables: BoxTables, settings: Argoverse2Settings, inside: Inside | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Flags of all boxes in the order of the columns.

    Args:
        tables: detections and labels.
        settings: thresholds and limits.
        inside: whether boxes touch the region of interest; None if all count.

    Returns:
        (N, T + 4) float64 of the detections and (M, T + 4) of the labels: a flag for each threshold, ATE [m], ASE and
        AOE [rad], and whether the box counts. A label has the flags if a detection looks at it, however far away. The
        errors of a box without a true positive are the worst ones where both kinds of boxes count, else 0.
    """
    detections, labels = tables.detections, tables.labels
    rows, label_rows = _counted_detections(detections, settings), _counted_labels(labels, settings)
    if inside is not None:
        rows, label_rows = rows[inside(detections, rows)], label_rows[inside(labels, label_rows)]
    limits = settings.affinity_thresholds_m
    flags, label_flags = (np.zeros((len(boxes), len(limits) + 4)) for boxes in (detections, labels))
    flags[rows, -1] = label_flags[label_rows, -1] = 1.0

    groups, label_groups = detections.groups[rows], labels.groups[label_rows]
    nearest, distances = nearest_labels(
        detections.boxes[rows, :3], groups, labels.boxes[label_rows, :3], label_groups
    )
    worst = slice(len(limits), -1)
    flags[rows[nearest >= 0], worst] = settings.worst_errors
    label_flags[label_rows[np.isin(label_groups, groups)], worst] = settings.worst_errors

    chosen, first = _first_of_each(nearest, len(label_rows))
    best, distances, chosen = rows[first], distances[first], label_rows[chosen]
    for column, limit in enumerate(limits):
        is_right = distances < limit
        flags[best[is_right], column] = label_flags[chosen, column] = 1.0
        if limit == settings.tp_threshold_m:
            flags[best[is_right], worst] = _errors(detections.boxes[best[is_right]], labels.boxes[chosen[is_right]])
    return flags, label_flags


def nearest_labels(
    centers: np.ndarray, groups: np.ndarray, label_centers: np.ndarray, label_groups: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The nearest label within each detection's group, by Euclidean distance; on ties the first.

    O(pairs) time and O(detections) memory: the k-th labels of the groups are compared with all detections at once.

    Args:
        centers: (P, 3) float64 [m].
        groups: (P,) int64.
        label_centers: (Q, 3) float64 [m].
        label_groups: (Q,) int64, rising.

    Returns:
        (P,) int64 row of the label, -1 where the group has none, and (P,) float64 its distance [m], inf there.
    """
    begins = np.searchsorted(label_groups, groups, side="left")
    counts = np.searchsorted(label_groups, groups, side="right") - begins                # (P,) labels of the group
    nearest, distances = np.full(len(groups), -1, np.int64), np.full(len(groups), np.inf)
    by_count = np.argsort(-counts, kind="stable")          # those with a k-th label come first, whatever k
    by_count = by_count[: np.count_nonzero(counts)]
    columns = np.ascontiguousarray(label_centers.T)                                      # (3, Q)
    for start in range(0, len(by_count), BLOCK_ROWS):
        some = by_count[start : start + BLOCK_ROWS]
        begin, own = begins[some], np.ascontiguousarray(centers[some].T)                 # (R,), (3, R)
        least, place = np.full(len(some), np.inf), np.zeros(len(some), np.int64)
        having = np.searchsorted(-counts[some], -np.arange(counts[some[0]]), side="left")    # (L,) with a k-th label
        for k, R in enumerate(having):
            offset = own[:, :R] - columns[:, begin[:R] + k]                              # (3, R)
            offset *= offset
            distance = np.sqrt(offset[0] + offset[1] + offset[2])  # compared as rounded: what av2 sees as a tie is one
            closer = distance < least[:R]
            np.copyto(least[:R], distance, where=closer)
            np.copyto(place[:R], k, where=closer)
        nearest[some], distances[some] = begin + place, least
    return nearest, distances


def _counted_detections(detections: BoxColumns, settings: Argoverse2Settings) -> np.ndarray:
    """(P,) rows of the detections within range and among the best of their group, best first within a group."""
    order = np.lexsort((-detections.last, detections.groups))
    order = order[_within_range(detections, settings)[order]]
    groups = detections.groups[order]
    place = np.arange(len(order)) - np.searchsorted(groups, groups, side="left")
    return order[place < settings.max_num_dts_per_category]


def _counted_labels(labels: BoxColumns, settings: Argoverse2Settings) -> np.ndarray:
    """(Q,) rows of the labels within range that have points."""
    return np.flatnonzero(_within_range(labels, settings) & (labels.last.astype(np.int64) > 0))


def _within_range(boxes: BoxColumns, settings: Argoverse2Settings) -> np.ndarray:
    return np.linalg.norm(boxes.boxes[:, :3], axis=1) < settings.max_range_m


def _first_of_each(nearest: np.ndarray, num_labels: int) -> tuple[np.ndarray, np.ndarray]:
    """The labels that a detection looks at, and the first detection that does."""
    looking = np.flatnonzero(nearest >= 0)[::-1]
    first = np.full(num_labels, -1, np.int64)
    first[nearest[looking]] = looking                      # of equal indices the last one stays: the first detection
    chosen = np.flatnonzero(first >= 0)
    return chosen, first[chosen]


def _errors(found: np.ndarray, true: np.ndarray) -> np.ndarray:
    """(R, 3) ATE [m], ASE and AOE [rad] of (R, 10) pairs of boxes."""
    errors = np.empty((len(found), 3))
    if not len(found):
        return errors
    errors[:, 0] = np.linalg.norm(found[:, :3] - true[:, :3], axis=1)
    sizes, true_sizes = found[:, 3:6], true[:, 3:6]
    with np.errstate(divide="ignore", invalid="ignore"):   # two boxes of no volume: NaN, as av2 gives
        errors[:, 1] = 1 - np.minimum(sizes, true_sizes).prod(axis=1) / np.maximum(sizes, true_sizes).prod(axis=1)
    errors[:, 2] = folded(_yaw(found[:, 6:]) - _yaw(true[:, 6:]))
    return errors


def folded(angles: np.ndarray) -> np.ndarray:
    """(R,) sizes of angles, beyond pi counted back from it [rad]."""
    turns, rest = np.divmod(np.abs(angles), np.pi)
    return np.where(turns > 0, np.pi - rest, np.abs(angles))


def _yaw(quaternions: np.ndarray) -> np.ndarray:
    """(R,) third extrinsic Euler angle [rad] of (R, 4) w x y z; 0 at a pitch of 90 degrees, as scipy resolves it."""
    turned = Rotation.from_matrix(Rotation.from_quat(quaternions[:, [1, 2, 3, 0]]).as_matrix())
    return turned.as_euler("xyz")[:, 2]
