"""A nuScenes root that is nothing but maps and the poses of drives: what local maps need can be written in no time."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from perception.structures import SE3
from perception.synthetic.lane_graph import build_network
from perception.synthetic.layout import make_plan
from perception.synthetic.map_writer import MapExpansion
from perception.synthetic.sd_map_writer import SDMapWriter
from perception.synthetic.town import Area, Lane, SDLine, Town
from perception.synthetic.town_areas import build_town, make_surfaces

VERSION = "v1.0-trainval"
EDGE = (1000.0, 1000.0)


@dataclass(frozen=True)
class Drive:
    """A drive that stands where it starts."""

    name: str
    location: str
    start: SE3


def write_drives(root: Path, drives: Sequence[Drive]) -> None:
    """The tables that tell where the drives are."""
    tables: dict[str, list[dict[str, Any]]] = {
        "sensor": [{"token": "lidar", "channel": "LIDAR_TOP"}, {"token": "camera", "channel": "CAM_FRONT"}],
        "calibrated_sensor": [{"token": f"{name}_cs", "sensor_token": name} for name in ("lidar", "camera")],
        **{name: [] for name in ("log", "scene", "sample_data", "ego_pose")},
    }
    for drive in drives:
        tables["log"].append({"token": f"{drive.name}-log", "location": drive.location})
        tables["scene"].append({
            "token": drive.name, "name": drive.name, "log_token": f"{drive.name}-log",
            "first_sample_token": f"{drive.name}-0"})
        for sensor, key, lead in (("camera", True, 9.0), ("lidar", False, 5.0), ("lidar", True, 0.0)):
            token = f"{drive.name}-{sensor}-{key}"
            tables["sample_data"].append({
                "token": token, "sample_token": f"{drive.name}-0", "calibrated_sensor_token": f"{sensor}_cs",
                "ego_pose_token": token, "is_key_frame": key})
            tables["ego_pose"].append({
                "token": token, "rotation": drive.start.quaternion().tolist(),
                "translation": (drive.start.translation + lead).tolist()})
    (root / VERSION).mkdir(parents=True)
    for name, rows in tables.items():
        (root / VERSION / f"{name}.json").write_text(json.dumps(rows))


def write_maps(root: Path, towns: Mapping[str, Town], right_hand: bool = True) -> None:
    """Map expansion and SD map of one town a location."""
    for folder in ("expansion", "sd_map"):
        (root / "maps" / folder).mkdir(parents=True, exist_ok=True)
    for location, town in towns.items():
        expansion, sd_map = MapExpansion(location, EDGE), SDMapWriter(right_hand)
        expansion.add(town, "test")
        sd_map.add(town, "test")
        (root / f"maps/expansion/{location}.json").write_text(expansion.to_json())
        (root / f"maps/sd_map/{location}.json").write_text(sd_map.to_json())


def street_town(location: str = "boston-seaport") -> Town:
    """Two lanes along x between x = 20 and 180: east (y = 98), west (y = 102), each followed by a connector north.

    A crossing from y = 96 to y = 104 at x = 130 to 134.
    """
    def rectangle(key: str, x0: float, y0: float, x1: float, y1: float) -> Area:
        return Area(key, np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]]))

    bend = np.array([[180.0, 98.0], [185.0, 99.0], [188.0, 103.0], [189.0, 108.0]])
    lanes = (
        Lane("east", np.array([[20.0, 98.0], [180.0, 98.0]]), 4.0, False, "road", ("bend",), "SINGLE_SOLID_YELLOW",
             "DOUBLE_DASHED_WHITE"),
        Lane("west", np.array([[180.0, 102.0], [20.0, 102.0]]), 4.0, False, "road"),
        Lane("bend", bend, 4.0, True, "node"),
    )
    sd_lines = (
        SDLine("road", np.array([[20.0, 100.0], [180.0, 100.0]]), "road", 2),
        SDLine("crossing", np.array([[132.0, 96.0], [132.0, 104.0]]), "cross_walk"),
        SDLine("path", np.array([[20.0, 94.0], [180.0, 94.0]]), "side_walk"),
    )
    road = rectangle("road", 20, 96, 180, 104)
    return Town(location, EDGE, {lane.key: lane for lane in lanes}, (road,), (road,),
                (rectangle("crossing", 130, 96, 134, 104),), (), sd_lines=sd_lines)


def drawn_town(layout: str, seed: int = 3, side: int = 1, location: str = "boston-seaport") -> Town:
    """A procedural town in the middle of the canvas, with a crossing half-way along every third street."""
    network = build_network(make_plan(layout, np.random.default_rng(seed)).moved(0.4, np.array([500.0, 500.0])), side)
    mid_block = np.array([sum(cut) / 2 if row % 3 == 0 else np.nan for row, cut in enumerate(network.cuts)])
    return build_town(network, make_surfaces(network), location, EDGE, (), mid_block)
