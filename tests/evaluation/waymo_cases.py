"""Small sets of Waymo objects that the tests of its metrics share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from perception.evaluation.waymo import WaymoObjects

VEHICLE, PEDESTRIAN, SIGN, CYCLIST = 1, 2, 3, 4
SIZE = (4.0, 2.0, 1.5)


def box(x: float, y: float = 0.0, heading: float = 0.0, size: Sequence[float] = SIZE, z: float = 0.0) -> list[float]:
    """A car unless said otherwise."""
    return [x, y, z, *size, heading]


def objects(*boxes: list[float], types: Any = VEHICLE, frames: Any = 0, **columns: Any) -> WaymoObjects:
    """Boxes of one drive, a frame a microsecond; with points in them unless said otherwise."""
    count = len(boxes)
    return WaymoObjects.from_columns(
        ["drive"] * count, np.broadcast_to(frames, count), np.reshape(boxes, (-1, 7)), np.broadcast_to(types, count),
        **{"num_points": 10, **columns},
    )


def crowd(seed: int, frames: int = 6) -> tuple[WaymoObjects, WaymoObjects]:
    """Truth and predictions in heaps: all types, some without points, in zones without labels, of any level."""
    rng = np.random.default_rng(seed)
    count = frames * 64
    centre = rng.integers(0, 2, (count, 1)) * 30.0 + 5.0 + rng.normal(0.0, 0.4, (count, 2))
    rows = np.concatenate([
        centre, rng.normal(0.0, 0.1, (count, 1)), np.array(SIZE) * rng.uniform(0.9, 1.1, (count, 3)),
        rng.normal(0.0, 0.1, (count, 1)) + np.pi * (rng.random((count, 1)) < 0.2),
    ], axis=1)
    frame, types = rng.integers(0, frames, count), rng.integers(1, 5, count)
    in_truth = rng.random(count) < 0.5
    columns = {
        "difficulty": rng.integers(0, 3, count), "num_points": rng.integers(0, 12, count),
        "speed": rng.normal(0.0, 3.0, (count, 2)), "overlap_with_nlz": rng.random(count) < 0.1,
        "scores": rng.permutation(count) / count,
    }
    parts = []
    for chosen in (in_truth, ~in_truth):
        own = {name: column[chosen] for name, column in columns.items()}
        parts.append(objects(*rows[chosen].tolist(), types=types[chosen], frames=frame[chosen], **own))
    return parts[0], parts[1]
