"""Lane graphs along the drives of a nuScenes root, from its map expansion; also those of the synthetic city."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely
from shapely.geometry.polygon import orient

from ...errors import ConfigError, DataError, suggestion
from ...structures import SE3, LaneGraph
from ...structures.line_geometry import polyline_length
from .drives import scene_locations
from .lane_map import LaneMap
from .lane_strips import crossing_strip, lane_strip
from .line_clipping import checked_region
from .nuscenes_map import open_nuscenes_map

if TYPE_CHECKING:
    from nuscenes.map_expansion.map_api import NuScenesMap

LOCATIONS_KEPT = 4                  # as many as nuScenes has
MIN_LANE_M = 0.1
CURVE_SPACING_M = 1.0               # of the vertices of a curved centre line


class NuScenesLaneGraphs:
    """Local lane graphs from ``maps/expansion/LOCATION.json`` of a root.

    Args:
        root: folder of the data set.
        version: folder of the tables, such as "v1.0-trainval".
        region: x0, y0, x1, y1 [m], ego frame.
        points: on every line of a lane.
        min_length_m: what the region cuts shorter is left out.

    Raises:
        DataError: a table is absent or malformed.
        ValueError: the region is empty, ``points`` is below 2 or ``min_length_m`` is negative.
    """

    def __init__(
        self,
        root: str | Path,
        version: str = "v1.0-trainval",
        region: Sequence[float] = (-50.0, -25.0, 50.0, 25.0),
        *,
        points: int = 10,
        min_length_m: float = 1.0,
    ) -> None:
        if points < 2:
            raise ValueError(f"points must be >= 2, got {points}")
        if not min_length_m >= 0.0:
            raise ValueError(f"min_length_m must be >= 0, got {min_length_m}")
        self.root, self.points, self.min_length_m = Path(root), points, min_length_m
        self.region = checked_region(region)
        self.locations = scene_locations(self.root, version)

    def local(self, scene: str, global_from_ego: SE3) -> LaneGraph:
        """The lane graph around a pose, in its ego frame; see `LaneMap.around`. Nothing there is one of no lanes.

        Raises:
            ConfigError: the root has no such drive.
            DataError: the map is absent, of another version or malformed.
        """
        if scene not in self.locations:
            raise ConfigError(f'no scene "{scene}" in {self.root}{suggestion(scene, self.locations)}')
        lanes = read_lane_map(self.root, self.locations[scene])
        return lanes.around(global_from_ego, self.region, self.points, self.min_length_m)


@lru_cache(maxsize=LOCATIONS_KEPT)
def read_lane_map(root: Path, location: str) -> LaneMap:
    """The lanes of a location, read once in a process.

    Lanes and lane connectors are lanes; their centre line is the arc-line path, their sides the outline between its two
    ends. A painted side takes the type that most of its segments have. Boundaries are the edges of the union of all
    drivable areas, with the road to their left.

    Args:
        root: folder with ``maps/expansion``.
        location: name of the map, such as "boston-seaport".

    Raises:
        DataError: there is no file of it, or it is of an older version or malformed.
    """
    path = root / f"maps/expansion/{location}.json"
    if not path.is_file():
        raise DataError(path, "file", "a map expansion (version 1.3) of nuScenes", "no such file")
    try:
        return _lane_map(open_nuscenes_map(root, location))
    except (KeyError, IndexError, ValueError, TypeError, AssertionError, shapely.errors.ShapelyError) as error:
        raise DataError(path, "layers", "a map of version 1.3 that nuscenes-devkit reads", repr(error)) from error


def _lane_map(api: NuScenesMap) -> LaneMap:
    """Lanes without a path of some length are left out, as nuScenes has a few."""
    centers = {token: center_line(pieces) for token, pieces in api.arcline_path_3.items()}
    lanes = [
        lane for lane in (*api.lane, *api.lane_connector)
        if lane["token"] in centers and polyline_length(centers[lane["token"]]) > MIN_LANE_M
    ]
    rows = {lane["token"]: row for row, lane in enumerate(lanes)}
    outgoing = [api.connectivity.get(lane["token"], {}).get("outgoing", []) for lane in lanes]
    crossings = [api.extract_polygon(record["polygon_token"]) for record in api.ped_crossing]
    return LaneMap(
        strips=[lane_strip(centers[lane["token"]], _outline(api, lane)) for lane in lanes],
        left_types=[line_type(lane.get("left_lane_divider_segments", ())) for lane in lanes],
        right_types=[line_type(lane.get("right_lane_divider_segments", ())) for lane in lanes],
        successors=[[rows[token] for token in tokens if token in rows] for tokens in outgoing],
        crossings=[crossing_strip(polygon) for polygon in crossings if polygon.area > 0.0],
        boundaries=_boundaries(api),
    )


def _outline(api: NuScenesMap, lane: Mapping[str, Any]) -> np.ndarray:
    return np.array(api.extract_polygon(lane["polygon_token"]).exterior.coords)[:-1]


def center_line(pieces: Sequence[Mapping[str, Any]]) -> np.ndarray:
    """(V, 2) vertices of an arc-line path: the ends of straight pieces, and every metre of curved ones."""
    from nuscenes.map_expansion.arcline_path_utils import discretize

    poses: list[Sequence[float]] = []
    for piece in pieces:
        first, _, last = piece["segment_length"]
        if first == last == 0.0:
            poses += [piece["start_pose"], piece["end_pose"]]
        else:
            poses += discretize(piece, CURVE_SPACING_M)
    return np.array(poses, dtype=np.float64).reshape(-1, 3)[:, :2]


def line_type(segments: Sequence[Mapping[str, Any]]) -> str:
    """The name in `LINE_TYPES` of nuScenes' divider segments; the commonest counts."""
    kinds = Counter(segment["segment_type"] for segment in segments)
    kind = kinds.most_common(1)[0][0] if kinds else "NIL"
    return "none" if kind == "NIL" else "dashed" if "DASHED" in kind else "solid"


def _boundaries(api: NuScenesMap) -> list[np.ndarray]:
    tokens = [token for record in api.drivable_area for token in record["polygon_tokens"]]
    whole = shapely.union_all(shapely.make_valid(np.array([api.extract_polygon(token) for token in tokens])))
    polygons = [part for part in shapely.get_parts(whole) if part.geom_type == "Polygon"]
    return [
        np.array(ring.coords) for polygon in map(orient, polygons) for ring in (polygon.exterior, *polygon.interiors)
    ]
