"""Writing handmade scenes as a nuScenes root, the way the city generator does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from handmade import street_scene

from perception.synthetic.city_plan import ScenePlan
from perception.synthetic.generate import SceneResult, merge_tables, record_scene
from perception.synthetic.nuscenes_writer import SceneLabel, Tables, scene_tables, write_tables
from perception.synthetic.rig import default_rig
from perception.synthetic.scene import Scene


def write_root(root: Path, scene: Scene | None = None, cameras: bool = True, columns: int = 540) -> Tables:
    """One scene as a whole data root; gives its tables."""
    scene = scene or street_scene("scene-0003")
    label = SceneLabel(scene.name, 3, "test", scene.town.location)
    rig = default_rig(cameras, columns)
    moments = record_scene(root, scene, rig, label, seed=5)
    plan = ScenePlan(scene.name, "val", 3, 5, scene.town.location, "street", 0, 0)
    result = SceneResult(plan, (0.0, 0.0), scene_tables(scene, rig, label, moments), scene.town, 0.0)
    tables = merge_tables([result], root, seed=0)
    write_tables(root, tables)
    return tables


def devkit_points(nusc: object, sample_data_token: str) -> np.ndarray:
    """(N, 5) float32 points of a sweep, read without the project's code."""
    return np.fromfile(nusc.get_sample_data_path(sample_data_token), np.float32).reshape(-1, 5)   # type: ignore[attr-defined]
