"""A small nuScenes root with sweeps between keyframes: what needs a sequence can be tested without a download."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

SCENE = "scene-0061"                                  # of the official split mini_train
SWEEP_GAP_US, CAMERA_LEAD_US = 250_000, 20_000
START_US = 1_532_402_927_000_000
SWEEPS = 5                                            # every second one is a keyframe
LIDAR_QUATERNION = (math.sqrt(0.5), 0.0, 0.0, -math.sqrt(0.5))          # x right, y forward
CAMERA_QUATERNION = (0.5, -0.5, 0.5, -0.5)                              # z forward, x right, y down


def ego_pose(time_us: int) -> dict[str, Any]:
    """A vehicle at 8 m/s to the east and 1 m/s to the north that turns, pitched by one degree, far from the origin."""
    seconds = (time_us - START_US) * 1e-6
    yaw, pitch = 0.7 + 0.2 * seconds, math.radians(1.0)
    cy, sy, cp, sp = math.cos(yaw / 2), math.sin(yaw / 2), math.cos(pitch / 2), math.sin(pitch / 2)
    rotation = [cy * cp, -sy * sp, cy * sp, sy * cp]
    return {"translation": [1200.0 + 8.0 * seconds, 900.0 + seconds, 0.0], "rotation": rotation}


class MiniNuScenes:
    """Writes the root; the tables can be changed before `write`."""

    def __init__(self, root: Path) -> None:
        self.root, self.version = root, "v1.0-mini"
        self.tables: dict[str, list[dict[str, Any]]] = {name: [] for name in ("ego_pose", "sample_data", "sample")}
        self.tables |= {
            "scene": [{"token": "scene", "name": SCENE, "description": "", "log_token": "log", "nbr_samples": 3,
                       "first_sample_token": "sample0", "last_sample_token": "sample2"}],
            "log": [{"token": "log", "logfile": "", "vehicle": "", "date_captured": "", "location": "boston-seaport"}],
            "map": [{"token": "map", "log_tokens": ["log"], "category": "semantic_prior", "filename": "maps/map.png"}],
            "sensor": [{"token": "lidar", "channel": "LIDAR_TOP", "modality": "lidar"},
                       {"token": "camera", "channel": "CAM_FRONT", "modality": "camera"}],
            "calibrated_sensor": [
                {"token": "lidar_cs", "sensor_token": "lidar", "translation": [0.9, 0.0, 1.8],
                 "rotation": list(LIDAR_QUATERNION), "camera_intrinsic": []},
                {"token": "camera_cs", "sensor_token": "camera", "translation": [1.7, 0.0, 1.5],
                 "rotation": list(CAMERA_QUATERNION),
                 "camera_intrinsic": [[20.0, 0.0, 16.0], [0.0, 20.0, 12.0], [0.0, 0.0, 1.0]]},
            ],
            "category": [{"token": name, "name": name, "description": ""} for name in ("vehicle.car", "animal")],
            "attribute": [{"token": "moving", "name": "vehicle.moving", "description": ""}],
            "visibility": [{"token": "4", "level": "v80-100", "description": ""}],
            "instance": [
                {"token": "car", "category_token": "vehicle.car", "nbr_annotations": 3,
                 "first_annotation_token": "car0", "last_annotation_token": "car2"},
                {"token": "dog", "category_token": "animal", "nbr_annotations": 1,
                 "first_annotation_token": "dog1", "last_annotation_token": "dog1"},
            ],
            "sample_annotation": [annotation("car", place) for place in range(3)] + [annotation("dog", 1)],
        }
        self.tables["sample_annotation"][3] |= {"prev": "", "next": "", "attribute_tokens": [], "visibility_token": ""}
        self._add_sensors()

    def _add_sensors(self) -> None:
        for place in range(3):
            self.tables["sample"].append({
                "token": f"sample{place}", "timestamp": time_of(2 * place), "scene_token": "scene",
                "prev": f"sample{place - 1}" if place else "", "next": f"sample{place + 1}" if place < 2 else "",
            })
        for place in range(SWEEPS):
            folder = "samples" if place % 2 == 0 else "sweeps"
            filename = f"{folder}/LIDAR_TOP/{place}.pcd.bin"
            self._add_data("lidar", place, time_of(place), filename, place % 2 == 0, SWEEPS)
        for place in range(3):
            time = time_of(2 * place) - CAMERA_LEAD_US
            self._add_data("camera", place, time, f"samples/CAM_FRONT/{place}.jpg", True, 3)

    def _add_data(self, sensor: str, place: int, time: int, filename: str, key: bool, count: int) -> None:
        pose, size = f"{sensor}_pose{place}", (0, 0) if sensor == "lidar" else (32, 24)
        self.tables["ego_pose"].append({"token": pose, "timestamp": time, **ego_pose(time)})
        self.tables["sample_data"].append({
            "token": f"{sensor}{place}", "sample_token": f"sample{place if sensor == 'camera' else (place + 1) // 2}",
            "ego_pose_token": pose, "calibrated_sensor_token": f"{sensor}_cs", "timestamp": time,
            "fileformat": "pcd" if sensor == "lidar" else "jpg", "is_key_frame": key, "width": size[0],
            "height": size[1], "filename": filename, "prev": f"{sensor}{place - 1}" if place else "",
            "next": f"{sensor}{place + 1}" if place < count - 1 else "",
        })

    def write(self) -> Path:
        for entry in self.tables["sample_data"]:
            path = self.root / entry["filename"]
            path.parent.mkdir(parents=True, exist_ok=True)
            if entry["fileformat"] == "pcd":
                sweep_points(entry["timestamp"]).tofile(path)
            else:
                Image.fromarray(np.full((24, 32, 3), 128, np.uint8)).save(path)
        (self.root / "maps").mkdir()
        Image.fromarray(np.zeros((8, 8), np.uint8)).save(self.root / "maps/map.png")
        (self.root / self.version).mkdir()
        for name, rows in self.tables.items():
            (self.root / f"{self.version}/{name}.json").write_text(json.dumps(rows))
        return self.root


def time_of(sweep: int) -> int:
    """Time of a sweep [us]."""
    return START_US + SWEEP_GAP_US * sweep


def sweep_points(seed: int) -> np.ndarray:
    """(200, 5) float32 x y z intensity ring; every tenth point lies on the vehicle."""
    rng = np.random.default_rng(seed)
    columns = [rng.uniform(-40, 40, (200, 3)), rng.integers(0, 256, (200, 1)), rng.integers(0, 32, (200, 1))]
    points = np.concatenate(columns, axis=1)
    points[::10, :2] = rng.uniform(-0.9, 0.9, (20, 2))
    return points.astype(np.float32)


def annotation(name: str, place: int) -> dict[str, Any]:
    """A car that drives 2.5 m east and 1 m south between keyframes."""
    return {
        "token": f"{name}{place}", "sample_token": f"sample{place}", "instance_token": name, "visibility_token": "4",
        "attribute_tokens": ["moving"], "translation": [1220.0 + 2.5 * place, 905.0 - 1.0 * place, 0.9],
        "size": [1.9, 4.5, 1.6], "rotation": [math.cos(-0.2), 0.0, 0.0, math.sin(-0.2)], "num_lidar_pts": 7 + place,
        "num_radar_pts": 0, "prev": f"{name}{place - 1}" if place else "",
        "next": f"{name}{place + 1}" if place < 2 else "",
    }


@pytest.fixture
def mini_nuscenes(tmp_path: Path) -> MiniNuScenes:
    return MiniNuScenes(tmp_path / "nuscenes")
