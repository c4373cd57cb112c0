"""The 16 classes of nuScenes' lidarseg and panoptic challenges, and the 32 categories of its label files."""

from __future__ import annotations

import numpy as np

IGNORED = "ignore"
CHALLENGE_CLASSES = (
    IGNORED, "barrier", "bicycle", "bus", "car", "construction_vehicle", "motorcycle", "pedestrian", "traffic_cone",
    "trailer", "truck", "driveable_surface", "other_flat", "sidewalk", "terrain", "manmade", "vegetation",
)
CHALLENGE_THINGS = CHALLENGE_CLASSES[1:11]
CLASS_OF_INDEX = {                                          # by general index of a label file; others are ignored
    2: "pedestrian", 3: "pedestrian", 4: "pedestrian", 6: "pedestrian", 9: "barrier", 12: "traffic_cone",
    14: "bicycle", 15: "bus", 16: "bus", 17: "car", 18: "construction_vehicle", 21: "motorcycle", 22: "trailer",
    23: "truck", 24: "driveable_surface", 25: "other_flat", 26: "sidewalk", 27: "terrain", 28: "manmade",
    30: "vegetation",
}
NUM_CATEGORIES = 32


def challenge_class_table() -> np.ndarray:
    """(32,) int64 place in `CHALLENGE_CLASSES` by general index."""
    names = [CLASS_OF_INDEX.get(index, IGNORED) for index in range(NUM_CATEGORIES)]
    return np.array([CHALLENGE_CLASSES.index(name) for name in names], np.int64)
