"""SD maps cut into tiles, of which a coarse place on Earth tells the one to load."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from shapely.geometry import shape

from ...errors import DataError
from ...geo import EARTH_RADIUS_KM, checked_latlng, great_circle_km
from .sd_lines import SDLines, SDMapErrors, read_json, read_sd_geojson


@dataclass(frozen=True, eq=False)
class MapTile:
    """A part of the Earth and the file of its SD map.

    Args:
        name: of the tile.
        outline: Polygon or MultiPolygon in longitude and latitude [deg]; it may go beyond the 180th meridian.
        file: SD map in the metric frame of the drives there.
    """

    name: str
    outline: shapely.Polygon | shapely.MultiPolygon
    file: Path

    def distance_km(self, latitude: float, longitude: float) -> float:
        """How far a place [deg] lies from the outline [km], 0 within it.

        It is exact near the tile; from afar, where only the order matters, it is the distance of the nearest vertex.
        """
        degrees = shapely.get_coordinates(self.outline)[:, ::-1]                             # (V, 2)
        places = np.stack([degrees[:, 0], (degrees[:, 1] + 180.0) % 360.0 - 180.0], axis=1)
        here = np.broadcast_to((latitude, longitude), places.shape)
        nearest = float(great_circle_km(places, here).min())
        span = float(great_circle_km(places, np.broadcast_to(places[0], places.shape)).max())
        return nearest if nearest > 2.0 * span + 1.0 else self._plane_distance(latitude, longitude)

    def _plane_distance(self, latitude: float, longitude: float) -> float:
        """The same in a plane about the place."""

        def to_plane(points: np.ndarray) -> np.ndarray:
            first = (points[0, 0] - longitude + 180.0) % 360.0 - 180.0                       # the shorter way round
            along = (first + points[:, 0] - points[0, 0]) * np.cos(np.radians(latitude))
            return np.radians(np.stack([along, points[:, 1] - latitude], axis=1)) * EARTH_RADIUS_KM

        return float(shapely.distance(shapely.transform(self.outline, to_plane), shapely.Point(0.0, 0.0)))


class MapTiles:
    """The tiles of an index; their SD maps are read when asked for, once each.

    Args:
        path: GeoJSON FeatureCollection of polygons (RFC 7946: longitude, latitude) with the properties ``file``, an SD
            map as `read_sd_geojson` takes it, relative to the index, and maybe ``name``; the synthetic towns have it as
            ``maps/sd_tiles/tiles.geojson``.
        errors: of the maps; None gives them exact.

    Raises:
        DataError: the index is absent or malformed, or has no tile.
    """

    def __init__(self, path: Path | str, errors: SDMapErrors | None = None) -> None:
        self.path, self.errors = Path(path), errors
        self.tiles = _read_tiles(self.path)
        self._lines: dict[str, SDLines] = {}

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_lines": {}}                    # a worker reads its own

    def find(self, latitude: float, longitude: float, max_distance_m: float) -> MapTile:
        """The tile that holds a place [deg], or else the nearest one.

        Raises:
            ValueError: the place is none on Earth.
            DataError: none lies within ``max_distance_m``.
        """
        checked_latlng([(latitude, longitude)])
        distances = [tile.distance_km(latitude, longitude) for tile in self.tiles]
        best = int(np.argmin(distances))
        if distances[best] * 1000.0 > max_distance_m:
            raise DataError(
                self.path, "tiles", f"one within {max_distance_m:g} m of {latitude:.5f}, {longitude:.5f}",
                f"{self.tiles[best].name} as the nearest, {distances[best]:.3g} km away",
            )
        return self.tiles[best]

    def lines(self, tile: MapTile) -> SDLines:
        """The SD map of a tile, errors included. Raises DataError if it is absent or malformed."""
        if tile.name not in self._lines:
            lines = read_sd_geojson(tile.file)
            self._lines[tile.name] = lines if self.errors is None else self.errors.applied_to(lines)
        return self._lines[tile.name]


def _read_tiles(path: Path) -> tuple[MapTile, ...]:
    content = read_json(path)
    features = content.get("features") if isinstance(content, Mapping) else None
    if not isinstance(features, list) or not features:
        raise DataError(path, "features", "a GeoJSON FeatureCollection of one tile or more", type(features).__name__)
    tiles: list[MapTile] = []
    for number, feature in enumerate(features):
        try:
            properties, outline = feature["properties"], shape(feature["geometry"])
            tile = MapTile(str(properties.get("name", number)), outline, path.parent / properties["file"])
        except (KeyError, TypeError, AttributeError, ValueError, shapely.errors.ShapelyError) as error:
            raise DataError(path, f"features[{number}]", "a polygon with a file", repr(error)) from error
        if outline.geom_type not in ("Polygon", "MultiPolygon") or outline.is_empty or not outline.is_valid:
            raise DataError(path, f"features[{number}]", "a valid polygon", outline.geom_type)
        if tile.name in {other.name for other in tiles}:
            raise DataError(path, f"features[{number}]", "tiles of different names", tile.name)
        tiles.append(tile)
    return tuple(tiles)
