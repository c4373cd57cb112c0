"""A drive's map as Lanelet2 OSM XML, written by the Lanelet2 library (Poggenhans et al., ITSC 2018).

Dividers are ``line_thin``, boundaries ``road_border``. A crossing becomes a ``crosswalk`` lanelet between the long
sides of the smallest rectangle around it, which are ``pedestrian_marking``. Lanes of a graph become ``road`` lanelets.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import shapely

from ...atomic_write import atomic_path
from ...errors import DataError, MissingExtraError
from ...structures import GeoReference, GlobalMap, LaneGraph
from ...structures.vector_map import LINE_TYPES

LINE_TAGS = {"divider": {"type": "line_thin"}, "boundary": {"type": "road_border"}}
TAGS_OF_TYPE = {
    "none": {"type": "virtual"},
    "solid": {"type": "line_thin", "subtype": "solid"},
    "dashed": {"type": "line_thin", "subtype": "dashed"},
}
NOWHERE = GeoReference(0.0, 0.0, 0.0)                      # where a map of an unknown place is put


def can_write_lanelet2() -> bool:
    """Whether the Lanelet2 library is installed."""
    return importlib.util.find_spec("lanelet2") is not None


def write_lanelet2(path: Path | str, drive_map: GlobalMap, lanes: LaneGraph | None = None) -> Path:
    """Write a map for Lanelet2, whole or not at all; returns the path.

    Nodes carry latitude and longitude of WGS84, and ``local_x``, ``local_y``, ``ele`` [m] of the recording's global
    frame. If it is not known where on Earth the drive was, the origin of the global frame is put at latitude 0 and
    longitude 0, so that distances are right and places are not; load it with a local projector about there.

    Args:
        path: an ``.osm`` file.
        drive_map: its elements become lines and crosswalks, with their confidence.
        lanes: lanes in the global frame of the map as well.

    Raises:
        MissingExtraError: the Lanelet2 library is not installed.
        DataError: the file cannot be written.
    """
    if not can_write_lanelet2():
        raise MissingExtraError("lanelet2", "writing Lanelet2 maps")
    builder = _Builder(drive_map.geo_reference or NOWHERE)
    elements = zip(drive_map.lines, drive_map.names(), drive_map.confidence.tolist(), strict=True)
    for line, name, confidence in elements:
        tags = {"confidence": f"{confidence:.4f}"}
        if name == "ped_crossing":
            builder.add_crossing(line.numpy(), tags)
        else:
            builder.add_line(line.numpy(), {**LINE_TAGS.get(name, {"type": "unknown", "class": name}), **tags})
    if lanes is not None:
        builder.add_lanes(lanes)
    try:
        with atomic_path(path) as temporary:
            builder.write(temporary)
    except OSError as error:
        raise DataError(path, "map", "a file that can be written", error.strerror or error) from error
    return Path(path)


class _Builder:
    """Collects Lanelet2 primitives, numbered in the order of their making."""

    def __init__(self, reference: GeoReference) -> None:
        from lanelet2 import core, io, projection

        self.core, self.io, self.reference = core, io, reference
        self.projector = projection.LocalCartesianProjector(
            io.Origin(reference.latitude, reference.longitude, reference.altitude)
        )
        self.map = core.LaneletMap()
        self._count = 0

    def add_crossing(self, outline: np.ndarray, tags: dict[str, str]) -> None:
        sides = long_sides(outline)
        if sides is None:
            return
        left, right = (self._line(side, {"type": "pedestrian_marking"}) for side in sides)
        self._add_lanelet(left, right, {"subtype": "crosswalk", "participant:pedestrian": "yes", **tags})

    def add_line(self, points: np.ndarray, tags: dict[str, str]) -> None:
        self.map.add(self._line(points, tags))

    def add_lanes(self, lanes: LaneGraph) -> None:
        for index in range(len(lanes)):
            left, right = (
                self._line(points[index].double().numpy(), TAGS_OF_TYPE[LINE_TYPES[int(types[index])]])
                for points, types in ((lanes.lefts, lanes.left_types), (lanes.rights, lanes.right_types))
            )
            sure = {} if lanes.scores is None else {"confidence": f"{float(lanes.scores[index]):.4f}"}
            self._add_lanelet(left, right, {"subtype": "road", "location": "urban", "one_way": "yes", **sure})

    def write(self, path: Path) -> None:
        self.io.write(str(path), self.map, self.projector)

    def _add_lanelet(self, left: Any, right: Any, tags: dict[str, str]) -> None:
        self.map.add(self.core.Lanelet(self._number(), left, right, self._attributes({"type": "lanelet", **tags})))

    def _line(self, points: np.ndarray, tags: dict[str, str]) -> Any:
        places = self.reference.to_wgs84(points)                                          # longitude, latitude, height
        nodes = []
        for (x, y, z), (longitude, latitude, height) in zip(points.tolist(), places.tolist(), strict=True):
            local = self.projector.forward(self.core.GPSPoint(latitude, longitude, height))
            attributes = self._attributes({"local_x": f"{x:.3f}", "local_y": f"{y:.3f}", "ele": f"{z:.3f}"})
            nodes.append(self.core.Point3d(self._number(), local.x, local.y, local.z, attributes))
        return self.core.LineString3d(self._number(), nodes, self._attributes(tags))

    def _attributes(self, tags: dict[str, str]) -> Any:
        attributes = self.core.AttributeMap()
        for key, value in tags.items():
            attributes[key] = value
        return attributes

    def _number(self) -> int:
        self._count += 1
        return self._count


def long_sides(outline: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """The long sides, left and right in the same direction, of the smallest rectangle around an outline.

    Args:
        outline: (V, 3) vertices [m].

    Returns:
        Two lines (2, 3) at the mean height of the outline; None if it spans no area.
    """
    rectangle = shapely.minimum_rotated_rectangle(shapely.MultiPoint(outline[:, :2]))
    if rectangle.geom_type != "Polygon" or rectangle.area <= 0.0:
        return None
    corners = shapely.get_coordinates(shapely.geometry.polygon.orient(rectangle))[:4]     # counter-clockwise
    if np.linalg.norm(corners[1] - corners[0]) < np.linalg.norm(corners[2] - corners[1]):
        corners = np.roll(corners, -1, axis=0)
    corners = np.column_stack([corners, np.full(4, outline[:, 2].mean())])
    return corners[[3, 2]], corners[[0, 1]]
