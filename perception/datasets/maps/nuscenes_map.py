"""nuScenes' map expansion (version 1.3): four towns, without heights; also that of the synthetic city."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import shapely

from ...errors import DataError
from .drives import scene_locations
from .map_elements import MapLayers, geometry_array
from .world_map import WorldMap

if TYPE_CHECKING:
    from nuscenes.map_expansion.map_api import NuScenesMap

AREA_LAYERS = ("road_segment", "lane")
DIVIDER_LAYERS = ("road_divider", "lane_divider")
TOWNS_KEPT = 4                                       # as many as there are


@lru_cache(maxsize=TOWNS_KEPT)
def read_nuscenes_map(root: Path, location: str) -> WorldMap:
    """The dividers, road areas and crossings of a town, read once in a process.

    Dividers are the layers road_divider and lane_divider; the areas are road_segment and lane.

    Args:
        root: folder with ``maps/expansion``.
        location: name of the town, such as "boston-seaport".

    Raises:
        DataError: there is no file of it, or it is of an older version or malformed.
    """
    path = root / "maps/expansion" / f"{location}.json"
    if not path.is_file():
        raise DataError(path, "map expansion", "the vector map of a town (nuScenes map expansion v1.3)", "no such file")
    try:
        api = open_nuscenes_map(root, location)
        layers = MapLayers(
            dividers=_lines(api, DIVIDER_LAYERS),
            areas=_polygons(api, AREA_LAYERS),
            crossings=_polygons(api, ("ped_crossing",)),
        )
    except (KeyError, ValueError, TypeError, AssertionError, RuntimeError, shapely.errors.ShapelyError) as error:
        raise DataError(path, "layers", "a map of version 1.3 that nuscenes-devkit reads", repr(error)) from error
    return WorldMap(layers, path)


@lru_cache(maxsize=TOWNS_KEPT)
def _locations(root: Path, version: str) -> dict[str, str]:
    return scene_locations(root, version)


def scene_location(root: Path, version: str, scene: str) -> str:
    """The town of a scene, from the tables scene.json and log.json, read once in a process.

    Raises:
        DataError: a table is absent or malformed, or does not have the scene or its log.
    """
    towns = _locations(root, version)
    if scene not in towns:
        raise DataError(root / version / "scene.json", "name", f'the scene "{scene}"', f"{len(towns)} other scenes")
    return towns[scene]


def open_nuscenes_map(root: Path, location: str) -> NuScenesMap:
    """The devkit's map of a town; raises what the devkit raises, ValueError for another version."""
    import matplotlib

    with matplotlib.rc_context():                    # importing the devkit changes the style of all pictures
        from nuscenes.map_expansion.map_api import NuScenesMap
    try:
        return NuScenesMap(dataroot=str(root), map_name=location)
    except Exception as error:                       # an older version is refused with a bare Exception
        if type(error) is Exception:
            raise ValueError(str(error)) from error
        raise


def _polygons(api: NuScenesMap, layers: tuple[str, ...]) -> np.ndarray:
    records = [record for layer in layers for record in getattr(api, layer)]
    return geometry_array([api.extract_polygon(record["polygon_token"]) for record in records])


def _lines(api: NuScenesMap, layers: tuple[str, ...]) -> np.ndarray:
    records = [record for layer in layers for record in getattr(api, layer)]
    lines = [api.extract_line(record["line_token"]) for record in records]
    return geometry_array([line for line in lines if not line.is_empty])

