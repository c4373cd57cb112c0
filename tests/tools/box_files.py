"""Small files of boxes for the tests of the tools that score and convert them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from perception.evaluation.waymo.objects import WaymoObjects
from perception.evaluation.waymo.objects_file import write_waymo_objects

CATEGORIES = {"car": "vehicle.car", "pedestrian": "human.pedestrian.adult", "bicycle": "vehicle.bicycle"}


def box(token: str, x: float, name: str = "car", **fields: Any) -> dict[str, Any]:
    """A box on the x axis, as a row of the results format."""
    standard = {
        "sample_token": token, "translation": [x, 0.0, 1.0], "size": [2.0, 4.0, 1.5], "rotation": [1.0, 0.0, 0.0, 0.0],
        "velocity": [0.0, 0.0], "detection_name": name, "attribute_name": "",
    }
    return {**standard, **fields}


TRUTH = {
    "a": [box("a", 10.0), box("a", 30.0, visibility="1"), box("a", 12.0, "pedestrian", visibility="2")],
    "b": [box("b", 20.0), box("b", 8.0, "bicycle")],
}
GUESSES = {
    "a": [box("a", 10.2, detection_score=0.9), box("a", 12.6, "pedestrian", detection_score=0.4)],
    "b": [box("b", 21.2, detection_score=0.8), box("b", 8.0, "bicycle", detection_score=0.5)],
}


def write_results(path: Path, boxes: Mapping[str, Any]) -> Path:
    """A results file."""
    path.write_text(json.dumps({"meta": {"use_lidar": True}, "results": boxes}))
    return path


def write_root(root: Path, boxes: Mapping[str, Sequence[Mapping[str, Any]]], scene: str = "scene-0003") -> Path:
    """A data root with annotations alone: one scene of the split val; boxes may have ``visibility``."""
    tokens = list(boxes)
    annotations = [
        {"token": f"{token}-{i}", "sample_token": token, "instance_token": own["detection_name"],
         "visibility_token": own.get("visibility", "4"), "attribute_tokens": [], "num_lidar_pts": 5,
         "num_radar_pts": 0, "prev": "", "next": "",
         **{field: own[field] for field in ("translation", "size", "rotation")}}
        for token in tokens for i, own in enumerate(boxes[token])
    ]
    tables: dict[str, list[dict[str, Any]]] = {
        "category": [{"token": name, "name": category} for name, category in CATEGORIES.items()],
        "instance": [{"token": name, "category_token": name} for name in CATEGORIES],
        "sensor": [{"token": "top", "channel": "LIDAR_TOP", "modality": "lidar"}],
        "calibrated_sensor": [{"token": "top", "sensor_token": "top"}],
        "ego_pose": [{"token": "origin", "translation": [0.0, 0.0, 0.0], "rotation": [1.0, 0.0, 0.0, 0.0]}],
        "scene": [{"token": scene, "name": scene}],
        "sample": [{"token": token, "scene_token": scene, "timestamp": 0, "prev": "", "next": ""} for token in tokens],
        "sample_data": [{"token": f"{token}-top", "sample_token": token, "ego_pose_token": "origin",
                         "calibrated_sensor_token": "top", "is_key_frame": True, "timestamp": 100} for token in tokens],
        "sample_annotation": annotations,
        "log": [{"token": "log", "location": "boston-seaport"}],
        "map": [{"token": "map", "log_tokens": ["log"], "filename": "mask.png"}],
    }
    (root / "v1.0-trainval").mkdir(parents=True)
    (root / "mask.png").touch()
    for name in (*tables, "attribute", "visibility"):
        (root / "v1.0-trainval" / f"{name}.json").write_text(json.dumps(tables.get(name, [])))
    return root


def argoverse2_table(last: str, *rows: tuple[float, float], **changes: Any) -> pd.DataFrame:
    """Buses on the x axis: rows of (x, score or number of points)."""
    columns = {
        "log_id": "log", "timestamp_ns": 1, "category": "BUS", "tx_m": [x for x, _ in rows], "ty_m": 0.0, "tz_m": 0.0,
        "length_m": 10.0, "width_m": 3.0, "height_m": 3.0, "qw": 1.0, "qx": 0.0, "qy": 0.0, "qz": 0.0,
        last: [float(value) if last == "score" else int(value) for _, value in rows],
    }
    return pd.DataFrame({**columns, **changes})


def waymo_file(path: Path, *places: float, **columns: Any) -> Path:
    """Vehicles on the x axis, all in one frame unless told otherwise."""
    boxes = [[x, 0.0, 1.0, 4.0, 2.0, 1.5, 0.0] for x in places]
    times = columns.pop("times", [1] * len(places))
    count = len(places)
    return write_waymo_objects(path, WaymoObjects.from_columns(["drive"] * count, times, boxes, [1] * count, **columns))
