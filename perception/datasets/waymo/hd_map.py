"""The HD map of Waymo's perception segments and motion scenarios, in the global frame, metres.

The points of a feature are as many as the file has, of a damaged one none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import DataError
from ...structures import SE3


@dataclass(frozen=True)
class BoundarySegment:
    """A stretch of a lane with a road line or road edge beside it.

    Args:
        lane_start: first point of the lane's line.
        lane_end: last point of it, included.
        feature_id: the road line or edge.
        type: index into `names.ROAD_LINE_TYPES`; 0 for a road edge.
    """

    lane_start: int
    lane_end: int
    feature_id: int
    type: int


@dataclass(frozen=True)
class LaneNeighbor:
    """A lane beside another, along a stretch of both.

    Args:
        feature_id: the neighbour.
        self_start, self_end: first and last point of the lane's own line.
        neighbor_start, neighbor_end: of the neighbour's line.
        boundaries: what lies between them.
    """

    feature_id: int
    self_start: int
    self_end: int
    neighbor_start: int
    neighbor_end: int
    boundaries: tuple[BoundarySegment, ...]


@dataclass(frozen=True, eq=False)
class Lane:
    """A lane.

    Args:
        id: of the map feature.
        type: index into `names.LANE_TYPES`.
        speed_limit_mph: [miles an hour]; 0 if unknown.
        interpolating: whether it leads through an intersection between two lanes.
        points: (V, 3) float64 its middle in driving direction [m].
        entry_lanes, exit_lanes: lanes that lead into it, and out of it.
        left_neighbors, right_neighbors: lanes beside it.
        left_boundaries, right_boundaries: what bounds it.
    """

    id: int
    type: int
    speed_limit_mph: float
    interpolating: bool
    points: np.ndarray
    entry_lanes: tuple[int, ...]
    exit_lanes: tuple[int, ...]
    left_neighbors: tuple[LaneNeighbor, ...]
    right_neighbors: tuple[LaneNeighbor, ...]
    left_boundaries: tuple[BoundarySegment, ...]
    right_boundaries: tuple[BoundarySegment, ...]


@dataclass(frozen=True, eq=False)
class RoadLine:
    """A painted line.

    Args:
        id: of the map feature.
        type: index into `names.ROAD_LINE_TYPES`.
        points: (V, 3) float64 [m].
    """

    id: int
    type: int
    points: np.ndarray


@dataclass(frozen=True, eq=False)
class RoadEdge:
    """The edge of the road.

    Args:
        id: of the map feature.
        type: index into `names.ROAD_EDGE_TYPES`.
        points: (V, 3) float64 [m].
    """

    id: int
    type: int
    points: np.ndarray


@dataclass(frozen=True, eq=False)
class StopSign:
    """A stop sign.

    Args:
        id: of the map feature.
        lanes: those that have to stop.
        points: (1, 3) float64 where it stands [m].
    """

    id: int
    lanes: tuple[int, ...]
    points: np.ndarray


@dataclass(frozen=True, eq=False)
class Area:
    """A crosswalk, speed bump or driveway.

    Args:
        id: of the map feature.
        points: (V, 3) float64 outline, open: the first corner is not repeated at the end [m].
    """

    id: int
    points: np.ndarray


@dataclass(frozen=True, eq=False)
class HdMap:
    """What a map holds, each kind in the order of the file.

    Args:
        lanes, road_lines, road_edges, stop_signs, crosswalks, speed_bumps, driveways: the features by kind.
    """

    lanes: tuple[Lane, ...] = ()
    road_lines: tuple[RoadLine, ...] = ()
    road_edges: tuple[RoadEdge, ...] = ()
    stop_signs: tuple[StopSign, ...] = ()
    crosswalks: tuple[Area, ...] = ()
    speed_bumps: tuple[Area, ...] = ()
    driveways: tuple[Area, ...] = ()

    def __iter__(self) -> Iterator[Lane | RoadLine | RoadEdge | StopSign | Area]:
        """All features, kind by kind."""
        for kind in fields(self):
            yield from getattr(self, kind.name)

    def __len__(self) -> int:
        return sum(len(getattr(self, kind.name)) for kind in fields(self))

    def moved_by(self, transform: SE3) -> HdMap:
        """The map in another frame; ``transform`` is new_from_old."""
        rotation, shift = transform.rotation.numpy(), transform.translation.numpy()
        moved = {
            kind.name: tuple(
                replace(feature, points=feature.points @ rotation.T + shift) for feature in getattr(self, kind.name)
            )
            for kind in fields(self)
        }
        return HdMap(**moved)


def hd_map_of(features: Iterable[Any], place: Path | str, offset: Any = None) -> HdMap:
    """The map of ``MapFeature`` messages.

    Args:
        features: the messages.
        place: told by the error.
        offset: ``Vector3d`` message that is added to all points: ``map_pose_offset`` of a frame; None adds nothing.

    Raises:
        DataError: a feature is of no known kind, or two have the same number.
    """
    shift = np.zeros(3) if offset is None else np.array([offset.x, offset.y, offset.z])
    found: dict[str, list[Any]] = {kind: [] for kind in _READERS}
    known: set[int] = set()
    for message in features:
        kind, name = message.WhichOneof("feature_data"), f"map feature {message.id}"
        if kind is None:
            raise DataError(place, name, f"one of {', '.join(_READERS)}", "none")
        if message.id in known:
            raise DataError(place, name, "one", "two of that number")
        known.add(message.id)
        feature = _READERS[kind](message.id, getattr(message, kind))
        found[kind].append(replace(feature, points=feature.points + shift))
    return HdMap(**{f"{kind}s": tuple(listed) for kind, listed in found.items()})


def _lane(number: int, message: Any) -> Lane:
    return Lane(
        id=number,
        type=message.type,
        speed_limit_mph=message.speed_limit_mph,
        interpolating=message.interpolating,
        points=_points(message.polyline),
        entry_lanes=tuple(message.entry_lanes),
        exit_lanes=tuple(message.exit_lanes),
        left_neighbors=_neighbors(message.left_neighbors),
        right_neighbors=_neighbors(message.right_neighbors),
        left_boundaries=_boundaries(message.left_boundaries),
        right_boundaries=_boundaries(message.right_boundaries),
    )


def _neighbors(messages: Iterable[Any]) -> tuple[LaneNeighbor, ...]:
    return tuple(
        LaneNeighbor(
            feature_id=message.feature_id,
            self_start=message.self_start_index,
            self_end=message.self_end_index,
            neighbor_start=message.neighbor_start_index,
            neighbor_end=message.neighbor_end_index,
            boundaries=_boundaries(message.boundaries),
        )
        for message in messages
    )


def _boundaries(messages: Iterable[Any]) -> tuple[BoundarySegment, ...]:
    return tuple(
        BoundarySegment(part.lane_start_index, part.lane_end_index, part.boundary_feature_id, part.boundary_type)
        for part in messages
    )


def _points(points: Iterable[Any]) -> np.ndarray:
    """(V, 3) float64."""
    return np.array([(point.x, point.y, point.z) for point in points], np.float64).reshape(-1, 3)


_READERS: dict[str, Callable[[int, Any], Any]] = {
    "lane": _lane,
    "road_line": lambda number, message: RoadLine(number, message.type, _points(message.polyline)),
    "road_edge": lambda number, message: RoadEdge(number, message.type, _points(message.polyline)),
    "stop_sign": lambda number, message: StopSign(number, tuple(message.lane), _points([message.position])),
    "crosswalk": lambda number, message: Area(number, _points(message.polygon)),
    "speed_bump": lambda number, message: Area(number, _points(message.polygon)),
    "driveway": lambda number, message: Area(number, _points(message.polygon)),
}
