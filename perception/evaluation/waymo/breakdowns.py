"""Waymo's breakdowns: how the objects of a frame are split into shards, each with scores of its own.

Predictions and ground truth are sharded by their own attributes and matched within a shard only, so a prediction at
49.9 m and its truth at 50.1 m are two errors. Except for VELOCITY, which splits by the truth: there, all objects of a
type are matched together and then counted by the shard of the truth.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from perception.errors import suggestion

from .objects import TYPES, WaymoObjects

RANGES_M = (30.0, 50.0)
LARGE_M = 7.0
SPEEDS_MPS = (0.2, 1.0, 3.0, 10.0)
SIGN = TYPES.index("SIGN")


@dataclass(frozen=True)
class Breakdown:
    """One way to split.

    Args:
        shards: names of the shards, as the official tool prints them without the level.
        shard_of: (N,) int64 shard of each object.
        groups: for a split by the truth: the group within which each object is matched, a group being the shards
            ``group * size`` to ``(group + 1) * size``; None where objects are matched within shards.
    """

    shards: tuple[str, ...]
    shard_of: Callable[[WaymoObjects], np.ndarray]
    group_of: Callable[[WaymoObjects], np.ndarray] | None = None

    @property
    def group_size(self) -> int:
        """Shards that are matched together."""
        return 1 if self.group_of is None else len(self.shards) // len(TYPES)

    def matched_in(self, objects: WaymoObjects) -> np.ndarray:
        """(N,) int64 number of the part within which each object is matched."""
        return (self.group_of or self.shard_of)(objects)


def breakdown_named(name: str) -> Breakdown:
    """The breakdown of an official name, in capitals or not.

    Raises:
        ValueError: there is none of that name.
    """
    if name.upper() not in BREAKDOWNS:
        raise ValueError(
            f"breakdowns must be of {', '.join(BREAKDOWNS)}, got {name!r}{suggestion(name.upper(), BREAKDOWNS)}"
        )
    return BREAKDOWNS[name.upper()]


def _types(objects: WaymoObjects) -> np.ndarray:
    return objects.types.astype(np.int64) - 1


def _ranges(objects: WaymoObjects) -> np.ndarray:
    distance = np.sqrt(np.square(objects.boxes[:, :3]).sum(1))
    return _types(objects) * (len(RANGES_M) + 1) + np.searchsorted(RANGES_M, distance, "right")


def _sizes(objects: WaymoObjects) -> np.ndarray:
    return _types(objects) * 2 + (objects.boxes[:, 3:6].max(1, initial=0.0) >= LARGE_M)


def _speeds(objects: WaymoObjects) -> np.ndarray:
    speed = np.sqrt(np.square(objects.speed).sum(1))
    return _types(objects) * (len(SPEEDS_MPS) + 1) + np.searchsorted(SPEEDS_MPS, speed, "right")


def _by_type(breakdown: str, parts: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(f"{breakdown}_TYPE_{name}_{part}" for name in TYPES for part in parts)


BREAKDOWNS: dict[str, Breakdown] = {
    "OBJECT_TYPE": Breakdown(tuple(f"OBJECT_TYPE_TYPE_{name}" for name in TYPES), _types),
    "RANGE": Breakdown(_by_type("RANGE", ("[0, 30)", "[30, 50)", "[50, +inf)")), _ranges),
    "ONE_SHARD": Breakdown(("ONE_SHARD",), lambda objects: np.zeros(len(objects), np.int64)),
    "ALL_BUT_SIGN": Breakdown(("ALL_BUT_SIGN", "SIGN"), lambda objects: (_types(objects) == SIGN).astype(np.int64)),
    "SIZE": Breakdown(_by_type("SIZE", ("small", "large")), _sizes),
    "VELOCITY": Breakdown(
        _by_type("VELOCITY", ("STATIONARY", "SLOW", "MEDIUM", "FAST", "VERY_FAST")), _speeds, _types
    ),
}
