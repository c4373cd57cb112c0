"""What a navigation (SD) map knows of a location, as GeoJSON: one line a road, without lane geometry."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from .town import Town


class SDMapWriter:
    """The SD map of one location, to which towns are added at places of their own.

    The file is a FeatureCollection in the location's metric frame (not longitude and latitude), with the foreign member
    ``driving_side`` as OpenStreetMap has it. Every feature is a LineString with an ``id`` unique in the file and the
    properties ``category`` (road, cross_walk, side_walk) and, of a road, ``lanes`` (both directions together).

    Args:
        right_hand: whether traffic keeps to the right at the location.
    """

    def __init__(self, right_hand: bool) -> None:
        self.right_hand = right_hand
        self.features: list[dict[str, Any]] = []

    def add(self, town: Town, name: str, shift: tuple[float, float] = (0.0, 0.0)) -> None:
        """Add a town.

        Args:
            town: its SD lines are written.
            name: prefix of their ids, unique in the location.
            shift: x, y [m] added to all coordinates.
        """
        for line in town.sd_lines:
            properties = {"category": line.category} | ({"lanes": line.lanes} if line.lanes else {})
            points = np.round(line.line + np.array(shift), 4).tolist()
            self.features.append({
                "type": "Feature", "id": f"{name}/{line.key}", "properties": properties,
                "geometry": {"type": "LineString", "coordinates": points}})

    def to_json(self) -> str:
        """The file's text; the same for the same towns in the same order."""
        content = {"type": "FeatureCollection", "driving_side": "right" if self.right_hand else "left",
                   "features": self.features}
        return json.dumps(content, separators=(",", ":"), allow_nan=False)
