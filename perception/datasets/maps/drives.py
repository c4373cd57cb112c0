"""Where the drives of a nuScenes root take place, read from its tables."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ...errors import DataError
from ...structures import SE3
from .sd_lines import read_json


def scene_locations(root: Path, version: str) -> dict[str, str]:
    """Name of the map of every drive, by scene name. Raises DataError if a table is absent or malformed."""
    folder = root / version
    logs = {row["token"]: row["location"] for row in _rows(folder, "log", "token", "location")}
    found = {}
    for row in _rows(folder, "scene", "name", "log_token"):
        if row["log_token"] not in logs:
            raise DataError(folder / "scene.json", "log_token", "a token of log.json", row["log_token"])
        found[row["name"]] = logs[row["log_token"]]
    return found


def scene_starts(root: Path, version: str, channel: str = "LIDAR_TOP") -> dict[str, SE3]:
    """Pose of the vehicle at the first keyframe of every drive, by scene name, sorted.

    Raises:
        DataError: a table is absent or malformed, or a drive has no keyframe of the channel.
    """
    folder = root / version
    scenes = {row["first_sample_token"]: row["name"] for row in _rows(folder, "scene", "name", "first_sample_token")}
    sensors = {row["token"] for row in _rows(folder, "sensor", "token", "channel") if row["channel"] == channel}
    mounted = {
        row["token"] for row in _rows(folder, "calibrated_sensor", "token", "sensor_token")
        if row["sensor_token"] in sensors
    }
    needed = ("sample_token", "calibrated_sensor_token", "ego_pose_token", "is_key_frame")
    pose_of = {
        row["ego_pose_token"]: scenes[row["sample_token"]] for row in _rows(folder, "sample_data", *needed)
        if row["is_key_frame"] and row["sample_token"] in scenes and row["calibrated_sensor_token"] in mounted
    }
    starts = {
        pose_of[row["token"]]: SE3.from_quaternion(row["rotation"], row["translation"])
        for row in _rows(folder, "ego_pose", "token", "rotation", "translation") if row["token"] in pose_of
    }
    for name in scenes.values():
        if name not in starts:
            raise DataError(folder / "sample_data.json", "ego_pose_token", f"a {channel} keyframe of {name}", "none")
    return dict(sorted(starts.items()))


def _rows(folder: Path, table: str, *fields: str) -> list[dict[str, Any]]:
    path = folder / f"{table}.json"
    rows = read_json(path)
    for name in fields:
        if not isinstance(rows, list) or not all(isinstance(row, dict) and name in row for row in rows):
            raise DataError(path, name, "a field of every row", "rows without it")
    return rows
