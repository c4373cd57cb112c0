"""The map of a whole drive, fused from what was found in its frames, as files."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from types import TracebackType

import torch

from ...errors import DataError
from ...structures import Frame, FramePredictions, GlobalMap, MapPredictions
from ..map_files.geojson import write_geojson
from ..map_files.lanelet2_osm import can_write_lanelet2, write_lanelet2
from ..map_fusion import MapFusion

logger = logging.getLogger(__name__)


class GlobalMapSink:
    """Fuses map predictions and, when it is closed without an error, writes the map.

    The files are ``map.geojson``, ``map.png`` and, where the Lanelet2 library is installed, ``map.osm``. Other kinds of
    predictions are passed over.

    Args:
        folder: where to.
        fusion: how the maps are fused; default `MapFusion`.
        min_confidence: elements below it are left out of the files.

    Raises:
        ValueError: ``min_confidence`` lies outside [0, 1].
    """

    def __init__(self, folder: Path | str, fusion: MapFusion | None = None, min_confidence: float = 0.1) -> None:
        if not 0.0 <= min_confidence <= 1.0:
            raise ValueError(f"min_confidence must lie in [0, 1], got {min_confidence}")
        self.folder, self.min_confidence = Path(folder), min_confidence
        self.fusion = fusion or MapFusion()
        self.paths: list[Path] = []

    def write(self, frame: Frame, predictions: FramePredictions) -> None:
        """Take one frame. Raises DataError if neither the frame nor its predictions have a pose."""
        if not isinstance(predictions, MapPredictions):
            return
        pose = predictions.global_from_ego or frame.global_from_ego
        if pose is None:
            raise DataError(f"frame {frame.token}", "global_from_ego", "a pose to place the frame's map with", "none")
        self.fusion.add(replace(predictions, global_from_ego=pose), frame.wgs84)

    def close(self) -> GlobalMap:
        """Write the files; gives the map. Raises DataError if they cannot be written."""
        from ...visualization.frame_pictures import save_picture
        from ...visualization.map_picture import render_map

        fused = self.fusion.result()
        fused = fused[fused.confidence >= self.min_confidence]
        self.paths = [write_geojson(self.folder / "map.geojson", fused)]
        if can_write_lanelet2():
            self.paths.append(write_lanelet2(self.folder / "map.osm", fused))
        else:
            logger.info("no map.osm: that needs pip install 'perception[lanelet2]'")
        self.paths.append(save_picture(self.folder / "map.png", render_map(fused)))
        return fused

    def __enter__(self) -> GlobalMapSink:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.close()


def true_map_of(frame: Frame) -> MapPredictions | None:
    """The true map of a frame as if it had been predicted with certainty; None if it is unknown."""
    known = frame.vector_map
    if known is None:
        return None
    return MapPredictions(
        frame.token, frame.timestamp_ns, known.lines, torch.ones(len(known)), known.labels, known.classes,
        frame.global_from_ego,
    )
