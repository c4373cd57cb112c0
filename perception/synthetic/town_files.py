"""Where the shared towns of a city lie on the globe, and the SD map of each as a tile of its own."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..geo.local_frames import nuscenes_latlng
from .city_plan import ScenePlan, drives_on_the_right
from .sd_map_writer import SDMapWriter
from .town import Town
from .world import CELL, slot_corner

TOWNS = "maps/towns.json"                  # read by `perception.datasets.town_places`
TILES = "maps/sd_tiles/tiles.geojson"      # read by `perception.datasets.maps.map_tiles`


def write_town_files(root: Path, drives: Sequence[tuple[ScenePlan, Town]]) -> None:
    """Write `TOWNS` and `TILES` with the SD maps beside, of drives through shared towns, below ``root``.

    Args:
        root: folder of the data root.
        drives: plan and map of every scene.
    """
    by_town: dict[str, list[tuple[ScenePlan, Town]]] = {}
    for plan, town in drives:
        by_town.setdefault(plan.town_name, []).append((plan, town))
    places, tiles = [], []
    (root / TILES).parent.mkdir(parents=True, exist_ok=True)
    for name, here in by_town.items():
        plan, town = here[0]
        shift = (plan.page * town.edge[0], 0.0)
        corner = slot_corner(plan.location, plan.slot) + np.array(shift)
        places.append(_place(plan, corner, [each.name for each, _ in here]))
        tiles.append(_tile(plan))
        writer = SDMapWriter(right_hand=drives_on_the_right(plan.location))
        writer.add(town, name, shift)
        (root / TILES).with_name(f"{name}.json").write_text(writer.to_json())
    (root / TOWNS).write_text(json.dumps({"format": 1, "towns": places}, indent=1) + "\n")
    (root / TILES).write_text(json.dumps({"type": "FeatureCollection", "features": tiles}, indent=1) + "\n")


def _place(plan: ScenePlan, corner: np.ndarray, drives: list[str]) -> dict[str, Any]:
    assert plan.drive is not None
    latitude, longitude = plan.drive.town.latlng
    x, y = corner.tolist()
    return {"name": plan.town_name, "latitude": latitude, "longitude": longitude, "x": x, "y": y, "drives": drives}


def _tile(plan: ScenePlan) -> dict[str, Any]:
    """The square of a town, closed and counter-clockwise."""
    assert plan.drive is not None
    square = CELL * np.array([[0, 0], [1, 0], [1, 1], [0, 1], [0, 0]])
    ring = nuscenes_latlng(square, plan.town_name, {plan.town_name: plan.drive.town.latlng})
    return {
        "type": "Feature", "properties": {"name": plan.town_name, "file": f"{plan.town_name}.json"},
        "geometry": {"type": "Polygon", "coordinates": [np.round(ring[:, ::-1], 9).tolist()]},
    }
