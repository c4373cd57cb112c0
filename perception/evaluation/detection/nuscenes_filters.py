"""Which boxes the nuScenes detection benchmark looks at: near ones with points, and no cycles in a rack."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..nuscenes_results import DETECTION_NAMES
from .nuscenes_boxes import NuScenesBoxes, vector_column

PARKED = ("bicycle", "motorcycle")                         # classes that stand in racks
CLEAR_M = 1e-6                                             # further from a face than rounding can reach
PAIRS_AT_ONCE = 1 << 18


@dataclass(frozen=True, eq=False)
class Surroundings:
    """Where the vehicle and the bicycle racks are in F samples; R racks together.

    Args:
        tokens: (F,) the samples.
        ego_xy: (F, 2) float64 position of the vehicle at the LiDAR's time [m, global].
        rack_sample: (R,) the sample of each rack.
        rack_translation: (R, 3) float64 centre [m, global].
        rack_size: (R, 3) float64 width, length, height [m].
        rack_rotation: (R, 4) float64 quaternion w x y z, global from rack.
    """

    tokens: tuple[str, ...]
    ego_xy: np.ndarray
    rack_sample: np.ndarray
    rack_translation: np.ndarray
    rack_size: np.ndarray
    rack_rotation: np.ndarray

    @classmethod
    def from_rows(
        cls, ego_positions: Mapping[str, Sequence[float]], racks: Mapping[str, Sequence[Mapping[str, Any]]]
    ) -> Surroundings:
        """Of x, y, z by sample token, and of translation, size and rotation of the racks by sample token.

        Raises:
            ValueError: a position or a rack is malformed. Racks of other samples are left out.
        """
        tokens = tuple(ego_positions)
        rows = [row for token in tokens for row in racks.get(token, ())]
        counts = [len(racks.get(token, ())) for token in tokens]
        positions = [{"ego position": tuple(position)[:2]} for position in ego_positions.values()]
        try:
            return cls(
                tokens, vector_column(positions, "ego position", 2), np.repeat(np.arange(len(tokens)), counts),
                *(vector_column(rows, name, width) for name, width in RACK_COLUMNS.items()),
            )
        except (KeyError, TypeError) as error:
            raise ValueError(f"a rack must have {', '.join(RACK_COLUMNS)}: {error!r}") from error


RACK_COLUMNS = {"translation": 3, "size": 3, "rotation": 4}


def boxes_that_count(
    boxes: NuScenesBoxes, surroundings: Surroundings, class_range: Mapping[str, float]
) -> np.ndarray:
    """(N,) bool: nearer to the vehicle in xy than the range of the class [m], not without points, not in a rack.

    Raises:
        ValueError: a sample has no surroundings.
    """
    number = {token: f for f, token in enumerate(surroundings.tokens)}
    absent = [token for token in boxes.tokens if token not in number]
    if absent:
        raise ValueError(f"{len(absent)} samples have no ego position, e.g. {absent[0]!r}")
    sample = np.array([number[token] for token in boxes.tokens], np.int64)[boxes.sample]             # (N,)
    dx, dy = (boxes.translation[:, axis] - surroundings.ego_xy[sample, axis] for axis in range(2))
    dx *= dx
    dy *= dy
    dx += dy
    ranges = np.array([class_range[name] for name in DETECTION_NAMES], np.float64)
    counts = (np.sqrt(dx) < ranges[boxes.label]) & (boxes.num_pts != 0)
    if len(surroundings.rack_sample):
        parked = np.flatnonzero(counts & np.isin(boxes.label, [DETECTION_NAMES.index(name) for name in PARKED]))
        counts[parked[_in_a_rack(boxes.translation[parked], sample[parked], surroundings)]] = False
    return counts


def _in_a_rack(points: np.ndarray, sample: np.ndarray, surroundings: Surroundings) -> np.ndarray:
    """(P, 3) centres, (P,) their samples -> (P,) bool."""
    order = np.argsort(sample, kind="stable")
    bounds = np.searchsorted(sample[order], np.stack([surroundings.rack_sample, surroundings.rack_sample + 1]))
    inside = np.zeros(len(points), bool)
    counts = bounds[1] - bounds[0]                                                                   # (R,)
    ends = np.cumsum(counts)
    for first in range(0, int(counts.sum()), PAIRS_AT_ONCE):
        pair = np.arange(first, min(first + PAIRS_AT_ONCE, int(ends[-1])))
        rack = np.searchsorted(ends, pair, side="right")
        point = order[bounds[0][rack] + pair - (ends - counts)[rack]]
        inside[point[_are_inside(points[point], rack, surroundings)]] = True
    return inside


def _are_inside(points: np.ndarray, rack: np.ndarray, surroundings: Surroundings) -> np.ndarray:
    """(P, 3) points, (P,) a rack for each -> (P,) bool; a point on a face is inside, or not, as the devkit has it."""
    w, x, y, z = surroundings.rack_rotation[rack].T
    offset = points - surroundings.rack_translation[rack]                                            # (P, 3)
    axes = np.array([
        [w * w + x * x - y * y - z * z, 2 * (x * y + w * z), 2 * (x * z - w * y)],
        [2 * (x * y - w * z), w * w - x * x + y * y - z * z, 2 * (y * z + w * x)],
        [2 * (x * z + w * y), 2 * (y * z - w * x), w * w - x * x - y * y + z * z],
    ])                                                                                               # (3, 3, P)
    half = np.abs(surroundings.rack_size[rack][:, [1, 0, 2]]) / 2
    with np.errstate(invalid="ignore", divide="ignore"):                                  # a quaternion of zeros
        along = np.abs(np.einsum("acp,pc->pa", axes, offset) / (w * w + x * x + y * y + z * z)[:, None])
        inside = (along < half - CLEAR_M).all(axis=1)
        unclear = ~(inside | (along > half + CLEAR_M).any(axis=1))
    for pair in np.flatnonzero(unclear):
        inside[pair] = _devkit_says_inside(points[pair], int(rack[pair]), surroundings)
    return inside


def _devkit_says_inside(point: np.ndarray, rack: int, surroundings: Surroundings) -> bool:
    from nuscenes.utils.data_classes import Box
    from nuscenes.utils.geometry_utils import points_in_box
    from pyquaternion import Quaternion

    box = Box(
        surroundings.rack_translation[rack].tolist(), surroundings.rack_size[rack].tolist(),
        Quaternion(surroundings.rack_rotation[rack]),
    )
    return bool(points_in_box(box, point[:, None])[0])
