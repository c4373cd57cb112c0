"""The static map of a synthetic town, in the terms of nuScenes' map expansion and of a navigation map."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class Lane:
    """A lane or a connector through an intersection.

    Args:
        key: name, unique in the town.
        centerline: (V, 2) float64 in driving direction, global metres.
        width: metres.
        is_connector: True inside an intersection.
        road: key of the road segment (or intersection) it lies in.
        successors: keys of the lanes that follow.
        left_divider, right_divider: segment type of nuScenes, such as "SINGLE_SOLID_WHITE" or "NIL".
    """

    key: str
    centerline: np.ndarray
    width: float
    is_connector: bool
    road: str
    successors: tuple[str, ...] = ()
    left_divider: str = "NIL"
    right_divider: str = "NIL"


@dataclass(frozen=True, eq=False)
class Area:
    """A polygon of the map: (V, 2) float64 exterior, counter-clockwise, not closed; and holes likewise."""

    key: str
    exterior: np.ndarray
    holes: tuple[np.ndarray, ...] = ()
    road: str = ""                     # road segment it belongs to, where the layer has one
    is_intersection: bool = False      # road segments only
    kind: str = ""                     # stop lines: nuScenes' stop_line_type


@dataclass(frozen=True, eq=False)
class Divider:
    """A painted line between lanes or driving directions: (V, 2) float64."""

    key: str
    line: np.ndarray
    segment_type: str
    road: str = ""


@dataclass(frozen=True, eq=False)
class SDLine:
    """A line of a navigation (SD) map.

    Args:
        key: name, unique in the town.
        line: (V, 2) float64, global metres; of a road the middle of its lanes, from junction to junction.
        category: "road", "cross_walk" or "side_walk".
        lanes: of a road, both directions together; 0 of anything else.
    """

    key: str
    line: np.ndarray
    category: str
    lanes: int = 0


@dataclass(frozen=True, eq=False)
class Town:
    """Everything of the map that is written down; global metres, all coordinates in [0, edge].

    Args:
        location: nuScenes map name that the town is written under.
        edge: width and height of the canvas [m].
        lanes: lanes and connectors by key.
        roads: road segments, intersections included.
        drivable, crossings, walkways, stop_lines, carparks: polygon layers.
        road_dividers: between driving directions.
        lane_dividers: between lanes of one direction.
        sd_lines: what a navigation map knows, without error.
    """

    location: str
    edge: tuple[float, float]
    lanes: dict[str, Lane]
    roads: tuple[Area, ...]
    drivable: tuple[Area, ...]
    crossings: tuple[Area, ...]
    walkways: tuple[Area, ...]
    stop_lines: tuple[Area, ...] = ()
    carparks: tuple[Area, ...] = ()
    road_dividers: tuple[Divider, ...] = ()
    lane_dividers: tuple[Divider, ...] = ()
    sd_lines: tuple[SDLine, ...] = ()
