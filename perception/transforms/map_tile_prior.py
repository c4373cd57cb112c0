"""Take the SD map of the tile in which a frame is believed to be."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ..datasets.maps.line_clipping import checked_region
from ..datasets.maps.map_tiles import MapTile, MapTiles
from ..datasets.maps.sd_lines import SDMapErrors
from ..datasets.maps.sd_maps import OLV2_REGION
from ..errors import DataError
from ..geo.s2_cells import center_latlng
from ..registry import TRANSFORMS
from ..structures import Frame, FramePredictions, GeoPrediction
from ..structures.prediction_lines import read_prediction_lines


@TRANSFORMS.register_module()
class MapTilePrior:
    """Fill `Frame.sd_map` from the tile that a coarse place on Earth lies in: a predicted place, or the true one.

    It is how geo-localization serves a map generator where GNSS is missing: the place chooses the tile, the frame's
    pose, which is metric and in the frame of the drives there, the part of it. From a wrong tile comes an empty map, or
    one of other streets, as from a map loaded for the wrong town.

    Args:
        tiles: index of the tiles, see `MapTiles`.
        predictions: file of `GeoPrediction` lines as tools/test.py and tools/replay.py write them, or predictions by
            token. Those of the pictures of a frame, "TOKEN/CAMERA", serve the frame TOKEN; of several the surest does.
            None takes the true place: ``wgs84``, or else the finest known cell of ``geo_label``.
        max_distance_m: how far outside of the nearest tile a place may lie [m].
        region: x0, y0, x1, y1 of the map [m], ego frame.
        errors: arguments of `SDMapErrors` (an empty mapping takes its defaults); None gives the exact map.

    Raises:
        DataError: the index, the predictions or an SD map is absent or malformed; a frame has no prediction; or no tile
            lies within ``max_distance_m`` of its place.
        ValueError: the region is empty, ``max_distance_m`` is negative, an argument of the errors is out of range, or a
            frame has no pose or no place.
    """

    def __init__(
        self,
        tiles: Path | str,
        *,
        predictions: Path | str | Mapping[str, FramePredictions] | None = None,
        max_distance_m: float = 500.0,
        region: Sequence[float] = OLV2_REGION,
        errors: Mapping[str, Any] | None = None,
    ) -> None:
        if not max_distance_m >= 0.0:
            raise ValueError(f"max_distance_m must be >= 0, got {max_distance_m}")
        self.tiles = MapTiles(tiles, None if errors is None else SDMapErrors(**errors))
        self.source = str(predictions) if isinstance(predictions, (Path, str)) else "given"
        self.predictions = None if predictions is None else _surest(
            (read_prediction_lines(predictions) if isinstance(predictions, (Path, str)) else predictions).values()
        )
        self.max_distance_m, self.region = float(max_distance_m), checked_region(region)

    def __call__(self, frame: Frame, rng: np.random.Generator) -> Frame:
        """The frame with the SD map around it."""
        if frame.global_from_ego is None:
            raise ValueError(f"frame {frame.token} has no pose in the frame of the map's tile")
        lines = self.tiles.lines(self.tile_of(frame))
        return replace(frame, sd_map=lines.around(frame.global_from_ego, self.region))

    def tile_of(self, frame: Frame) -> MapTile:
        """The tile that a frame is believed to be in; errors as for the whole."""
        return self.tiles.find(*self._place_of(frame), self.max_distance_m)

    def _place_of(self, frame: Frame) -> tuple[float, float]:
        """Latitude and longitude [deg]."""
        if self.predictions is not None:
            if frame.token not in self.predictions:
                raise DataError(self.source, "token", f"a place for frame {frame.token}", "none")
            found = self.predictions[frame.token]
            return found.latitude, found.longitude
        if frame.wgs84 is not None:
            return frame.wgs84[0], frame.wgs84[1]
        cells = [] if frame.geo_label is None else [cell for cell in frame.geo_label.cells if cell]
        if not cells:
            raise ValueError(f"frame {frame.token} has neither wgs84 nor cells to tell its map tile by")
        latitude, longitude = center_latlng(np.array(cells[-1:], np.uint64))[0].tolist()
        return latitude, longitude

    def __repr__(self) -> str:
        source = "true places" if self.predictions is None else self.source
        return f"MapTilePrior(tiles={str(self.tiles.path)!r}, predictions={source!r}, region={self.region})"


def _surest(predictions: Iterable[FramePredictions]) -> dict[str, GeoPrediction]:
    """Places by the tokens of their pictures, and the surest one by the token of each frame of pictures."""
    found: dict[str, GeoPrediction] = {}
    for one in predictions:
        if not isinstance(one, GeoPrediction):
            continue
        for token in {one.token, one.token.rpartition("/")[0] or one.token}:
            if token not in found or found[token].probability < one.probability:
                found[token] = one
    return found
