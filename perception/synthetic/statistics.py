"""What a city holds, counted from its tables."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np

from .nuscenes_writer import Row, Tables
from .taxonomy import CLASS_OF_CATEGORY, DETECTION_CLASSES

FULLY_VISIBLE = "4"                # visibility token of 80 to 100 %
CLASS_RANGE = {"car": 50.0, "truck": 50.0, "bus": 50.0, "trailer": 50.0, "construction_vehicle": 50.0,
               "pedestrian": 40.0, "motorcycle": 40.0, "bicycle": 40.0, "traffic_cone": 30.0, "barrier": 30.0}


@dataclass(frozen=True)
class CityStatistics:
    """Counts over the boxes that nuScenes scores: one of ten classes, in the class's range, with a LiDAR return.

    Args:
        scenes, keyframes, sweeps, images: how many were written.
        median_objects: boxes in a keyframe, median over all.
        occluded_share: of all boxes, those less than 80 % visible.
        boxes: by split and class.
        seconds: by scene, wall clock of its process.
    """

    scenes: int
    keyframes: int
    sweeps: int
    images: int
    median_objects: float
    occluded_share: float
    boxes: dict[str, dict[str, int]]
    seconds: dict[str, float]


def measure(tables: Tables, seconds: dict[str, float]) -> CityStatistics:
    """Count the boxes of a city's tables."""
    from nuscenes.utils.splits import val

    scene_of_sample = {row["token"]: row["scene_token"] for row in tables["sample"]}
    names = {row["token"]: row["name"] for row in tables["scene"]}
    per_keyframe = Counter({row["token"]: 0 for row in tables["sample"]})
    boxes = {split: dict.fromkeys(DETECTION_CLASSES, 0) for split in ("train", "val")}
    occluded = 0
    for row, name in scored_boxes(tables):
        per_keyframe[row["sample_token"]] += 1
        boxes["val" if names[scene_of_sample[row["sample_token"]]] in val else "train"][name] += 1
        occluded += row["visibility_token"] != FULLY_VISIBLE
    images = sum(row["fileformat"] == "jpg" for row in tables["sample_data"])
    return CityStatistics(
        scenes=len(tables["scene"]), keyframes=len(tables["sample"]), sweeps=len(tables["sample_data"]) - images,
        images=images, median_objects=float(np.median(list(per_keyframe.values()))),
        occluded_share=occluded / max(1, sum(per_keyframe.values())), boxes=boxes, seconds=seconds)


def scored_boxes(tables: Tables) -> list[tuple[Row, str]]:
    """Annotation rows that nuScenes' detection metric looks at, each with its class."""
    categories = {row["token"]: row["name"] for row in tables["category"]}
    category = {row["token"]: categories[row["category_token"]] for row in tables["instance"]}
    lidar = {row["sample_token"]: row["ego_pose_token"] for row in tables["sample_data"]
             if row["is_key_frame"] and row["fileformat"] == "pcd"}
    places = {row["token"]: row["translation"] for row in tables["ego_pose"]}
    scored = []
    for row in tables["sample_annotation"]:
        name = CLASS_OF_CATEGORY.get(category[row["instance_token"]])
        if name is None or row["num_lidar_pts"] == 0:
            continue
        ego = places[lidar[row["sample_token"]]]
        if np.hypot(row["translation"][0] - ego[0], row["translation"][1] - ego[1]) < CLASS_RANGE[name]:
            scored.append((row, name))
    return scored
