"""Coordinate frames of a recording as a tree of timed transforms."""

from __future__ import annotations

from bisect import bisect_left, insort
from dataclasses import dataclass, field

from ..errors import DataError
from ..structures import SE3

MAX_TIMES = 4096                                           # transforms kept for a frame; older ones are forgotten


@dataclass
class _Edge:
    parent: str
    times: list[int] = field(default_factory=list)
    poses: dict[int, SE3] = field(default_factory=dict)

    def add(self, timestamp_ns: int, pose: SE3) -> None:
        if timestamp_ns not in self.poses:
            insort(self.times, timestamp_ns)
        self.poses[timestamp_ns] = pose
        if len(self.times) > MAX_TIMES:
            del self.poses[self.times.pop(0)]

    def nearest(self, timestamp_ns: int) -> SE3:
        at = bisect_left(self.times, timestamp_ns)
        around = self.times[max(0, at - 1) : at + 1]
        return self.poses[min(around, key=lambda time: abs(time - timestamp_ns))]


class TransformTree:
    """Where frames lie in each other at a time; of several transforms the nearest in time is taken.

    Args:
        place: name of the recording, for errors.
    """

    def __init__(self, place: str) -> None:
        self.place = place
        self._edges: dict[str, _Edge] = {}

    def add(self, parent: str, child: str, timestamp_ns: int, parent_from_child: SE3) -> None:
        """Learn one transform.

        Raises:
            DataError: the child would be above its parent.
        """
        if child == parent or child in self._upwards(parent):
            raise DataError(self.place, "frame transform", "a tree of frames", f"a circle through {child!r}")
        if child not in self._edges or self._edges[child].parent != parent:
            self._edges[child] = _Edge(parent)
        self._edges[child].add(timestamp_ns, parent_from_child)

    @property
    def frames(self) -> set[str]:
        """Names of all frames heard of."""
        return set(self._edges) | {edge.parent for edge in self._edges.values()}

    def root_of(self, frame: str) -> str:
        """The frame at the top of the tree that holds ``frame``."""
        return self._upwards(frame)[-1]

    def lookup(self, target: str, source: str, timestamp_ns: int) -> SE3 | None:
        """``target_from_source`` at a time, or None if the two are not connected."""
        above_target, above_source = self._upwards(target), self._upwards(source)
        common = next((frame for frame in above_source if frame in above_target), None)
        if common is None:
            return None
        common_from_source = self._up_to(common, source, timestamp_ns)
        return self._up_to(common, target, timestamp_ns).inverse() @ common_from_source

    def _upwards(self, frame: str) -> list[str]:
        names = [frame]
        while names[-1] in self._edges:
            names.append(self._edges[names[-1]].parent)
        return names

    def _up_to(self, ancestor: str, frame: str, timestamp_ns: int) -> SE3:
        pose = SE3.identity()
        while frame != ancestor:
            edge = self._edges[frame]
            pose = edge.nearest(timestamp_ns) @ pose
            frame = edge.parent
        return pose
