"""The map of a Waymo segment: painted lines, edges of the road and crosswalks near the drive, with heights."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
import shapely
from shapely import LineString, Polygon, STRtree

from ...errors import DataError
from ..waymo.frames import frame_of
from ..waymo.hd_map import HdMap
from ..waymo.records import read_record_at
from .map_elements import EDGE_DISTANCE, MapLayers, geometry_array, lines_of, runs_along
from .world_map import WorldMap

SEGMENTS_KEPT = 64                                   # a segment's map takes a few hundred kilobytes


@lru_cache(maxsize=SEGMENTS_KEPT)
def read_waymo_map(path: Path, offset: int) -> WorldMap:
    """The map of a segment, which its first frame carries; see `waymo_layers`.

    Args:
        path: TFRecord file.
        offset: byte at which the record of the frame begins.

    Raises:
        DataError: there is no frame at that place, it has no map, or the map is malformed.
    """
    place = f"{path}: record at byte {offset}"
    hd_map = frame_of(read_record_at(path, offset), place).hd_map
    if hd_map is None:
        raise DataError(place, "map_features", "the map of the segment, which its first frame has", "none")
    return WorldMap(waymo_layers(hd_map), Path(place))


def waymo_layers(hd_map: HdMap) -> MapLayers:
    """Painted lines as dividers, edges of the road (also those of medians) and crosswalks.

    Waymo runs the edges with the road to their left, here it lies to their right. A painted line of which more than
    half is within 0.5 m of an edge is no divider. Lines that continue each other are joined. Lines of fewer than two
    points and areas of fewer than three are left out, as is what is no line between lanes: lanes' centres, driveways,
    speed bumps and stop signs.
    """
    edges = [LineString(edge.points[::-1]) for edge in hd_map.road_edges if len(edge.points) > 1]
    paint = [LineString(line.points) for line in hd_map.road_lines if len(line.points) > 1]
    crossings = [Polygon(area.points) for area in hd_map.crosswalks if len(area.points) > 2]
    return MapLayers(
        dividers=_joined(_inside(paint, edges)),
        areas=geometry_array([]),
        crossings=geometry_array(crossings),
        edges=_joined(edges, directed=True),
    )


def _inside(lines: Sequence[LineString], edges: Sequence[LineString]) -> list[LineString]:
    """The lines that don't run along an edge."""
    tree = STRtree(edges)
    kept: list[LineString] = []
    for line in lines:
        near = tree.query(line, predicate="dwithin", distance=EDGE_DISTANCE)
        if not len(near) or not runs_along(line, shapely.MultiLineString([edges[place] for place in near])):
            kept.append(line)
    return kept


def _joined(lines: Sequence[LineString], directed: bool = False) -> np.ndarray:
    """(N,) object array; ``directed`` lines are joined only where one ends and another begins."""
    if not lines:
        return geometry_array([])
    return geometry_array(lines_of(shapely.line_merge(shapely.MultiLineString(lines), directed=directed)))
