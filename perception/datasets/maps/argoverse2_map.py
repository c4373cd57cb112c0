"""The map of an Argoverse 2 log: lanes, drivable areas and crossings near the drive, with heights."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import shapely
from shapely import LineString, Polygon

from ...errors import DataError
from .map_elements import MapLayers, geometry_array, lines_of, mended, parts_of, runs_along, united
from .world_map import WorldMap

if TYPE_CHECKING:
    from av2.map.map_api import ArgoverseStaticMap

UNPAINTED = ("NONE", "UNKNOWN")
LOGS_KEPT = 64                                       # a log's map takes a few hundred kilobytes


@lru_cache(maxsize=LOGS_KEPT)
def read_argoverse2_map(folder: Path) -> WorldMap:
    """The dividers, drivable areas and crossings of a log, with heights.

    The outline of the union of the drivable areas is the boundary. Dividers are the painted lane boundaries: those
    whose mark is neither NONE nor UNKNOWN. Neighbouring lanes, also of opposite directions, share the vertices of the
    line between them, which is taken once. A painted line along the edge of the drivable area is no divider: one with
    no lane beyond it, of which more than half is within 0.5 m of the edge. Lines that continue each other are joined.

    Args:
        folder: ``map`` of a log, with ``log_map_archive_*.json``.

    Raises:
        DataError: there is no such file, or several, or it is malformed.
    """
    files = sorted(folder.glob("log_map_archive_*.json"))
    if len(files) != 1:
        raise DataError(folder, "map", "one file log_map_archive_*.json", f"{len(files)} of them")
    try:
        layers = _layers(_open(files[0]))
    except (OSError, KeyError, ValueError, TypeError, AttributeError, shapely.errors.ShapelyError) as error:
        expected = "lane_segments, pedestrian_crossings and drivable_areas of an Argoverse 2 map"
        raise DataError(files[0], "layers", expected, repr(error)) from error
    return WorldMap(layers, files[0])


def painted_dividers(api: ArgoverseStaticMap, edge: shapely.Geometry) -> list[LineString]:
    """The lines between lanes by the rule of `read_argoverse2_map`; ``edge`` is that of the drivable area."""
    between: dict[bytes, bool] = {}                  # shape -> whether a lane lies beyond it
    shapes: dict[bytes, LineString] = {}
    for lane in api.vector_lane_segments.values():
        for bound, mark, neighbor in (
            (lane.left_lane_boundary, lane.left_mark_type, lane.left_neighbor_id),
            (lane.right_lane_boundary, lane.right_mark_type, lane.right_neighbor_id),
        ):
            if mark.value in UNPAINTED or len(bound.xyz) < 2:
                continue
            line = LineString(_finite(bound.xyz))
            key = shapely.to_wkb(shapely.normalize(shapely.force_2d(line)))
            between[key] = between.get(key, False) or neighbor is not None
            shapes.setdefault(key, line)
    lines = [line for key, line in shapes.items() if between[key] or not runs_along(line, edge)]
    return lines_of(shapely.line_merge(shapely.MultiLineString(lines))) if lines else []


def _open(path: Path) -> ArgoverseStaticMap:
    from av2.map.map_api import ArgoverseStaticMap

    return ArgoverseStaticMap.from_json(path)


def _layers(api: ArgoverseStaticMap) -> MapLayers:
    areas = geometry_array([Polygon(_finite(area.xyz)) for area in api.vector_drivable_areas.values()])
    road = parts_of(united(mended(areas)), shapely.GeometryType.POLYGON)
    crossings = [Polygon(_finite(crossing.polygon)) for crossing in api.vector_pedestrian_crossings.values()]
    dividers = painted_dividers(api, shapely.MultiPolygon(road).boundary)
    return MapLayers(geometry_array(dividers), areas, geometry_array(crossings))


def _finite(xyz: np.ndarray) -> np.ndarray:
    if not np.isfinite(xyz).all():
        raise ValueError(f"coordinates that are not finite: {xyz[~np.isfinite(xyz).all(axis=1)][0].tolist()}")
    return xyz
