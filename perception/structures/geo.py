"""Which part of the Earth a picture shows: what is known of it, and what a model says."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from ..geo.s2_cells import levels_of, tokens_of
from ..geo.s2_outline import cell_polygon

UNKNOWN_SCENE = -1


@dataclass(frozen=True)
class GeoLabel:
    """The cells that a frame's place lies in, and what kind of scene its pictures show.

    Args:
        cells: S2 id of the cell in each hierarchy of a partition, coarse to fine, 0 where the place lies in none; empty
            if no partition was asked.
        scene: label of the scene's kind, `UNKNOWN_SCENE` if it is not known.
    """

    cells: tuple[int, ...] = ()
    scene: int = UNKNOWN_SCENE


@dataclass(frozen=True)
class GeoCell:
    """A predicted cell of one hierarchy.

    Args:
        id: S2 id.
        probability: in [0, 1], of the cell and of all coarser ones that hold it.
        latitude, longitude: mean place [deg] of the pictures that the cell was made from.
    """

    id: int
    probability: float
    latitude: float
    longitude: float

    @property
    def token(self) -> str:
        """The id in short."""
        return tokens_of(np.array([self.id], np.uint64))[0]

    @property
    def level(self) -> int:
        """S2 level: 10 is about 10 km wide, 13 about 1 km, 17 about 70 m."""
        return int(levels_of(np.array([self.id], np.uint64))[0])

    def polygon(self) -> dict[str, Any]:
        """Outline as a GeoJSON Polygon, see `cell_polygon`."""
        return cell_polygon(self.id)


@dataclass(frozen=True)
class GeoPrediction:
    """Where on Earth a model says that a frame is: a coarse place for a map tile or a check of GNSS, no pose.

    Args:
        token: the frame's name, as in `Frame.token`.
        timestamp_ns: the frame's time.
        cells: the cell of each hierarchy, coarse to fine; each lies in the one before.
        entropy: of the distribution over the finest cells [nat]: 0 for a sure one.
        scene: label of the kind of scene; `UNKNOWN_SCENE` if the model tells none.
        scene_names: of the kinds, in the order of the labels; empty if they have none.

    Raises:
        ValueError: there is no cell.
    """

    token: str
    timestamp_ns: int
    cells: tuple[GeoCell, ...]
    entropy: float = math.nan
    scene: int = UNKNOWN_SCENE
    scene_names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.cells:
            raise ValueError("cells must be one or more, coarse to fine, got none")

    @property
    def latitude(self) -> float:
        """Of the place [deg]: the mean of the finest cell."""
        return self.cells[-1].latitude

    @property
    def longitude(self) -> float:
        """Of the place [deg]: the mean of the finest cell."""
        return self.cells[-1].longitude

    @property
    def probability(self) -> float:
        """In [0, 1]: product of the finest cell's and of those that hold it."""
        return self.cells[-1].probability

    @property
    def scene_name(self) -> str:
        """Name of the kind of scene, "" if it has none."""
        return self.scene_names[self.scene] if 0 <= self.scene < len(self.scene_names) else ""

    def to(self, device: torch.device | str) -> GeoPrediction:
        """Itself: it has no tensors."""
        return self

    def to_geojson(self) -> dict[str, Any]:
        """A FeatureCollection (RFC 7946): the polygon of each cell, coarse to fine, then the point of the place."""
        features = [
            _feature(cell.polygon(), {
                "hierarchy": number, "cell": cell.token, "level": cell.level,
                "probability": round(cell.probability, 6),
            })
            for number, cell in enumerate(self.cells)
        ]
        point = {"type": "Point", "coordinates": [self.longitude, self.latitude]}
        features.append(_feature(point, {"token": self.token, "timestamp_ns": self.timestamp_ns}))
        return {"type": "FeatureCollection", "features": features}


def _feature(geometry: dict[str, Any], properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "Feature", "geometry": geometry, "properties": properties}
