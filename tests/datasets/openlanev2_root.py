"""A small root in the form of OpenLane-V2's subset A: two segments to train with, one to test, pictures, SD maps."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from PIL import Image

CAMERAS = ("ring_front_center", "ring_front_left", "ring_front_right", "ring_rear_left", "ring_rear_right",
           "ring_side_left", "ring_side_right")
TIMES = ("315969904359876000", "315969904859876000")
SEGMENTS = {"train": ("00000", "00001"), "test": ("20000",)}
FORWARD = [[0.0, 0.0, 1.0], [-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]]                 # z forward, x right, y down
TURN = math.pi / 2                                                              # the vehicle looks north


def pose(number: int) -> dict[str, Any]:
    """A vehicle at (1000, 2000 + 4 n) that looks north."""
    c, s = math.cos(TURN), math.sin(TURN)
    rotation = [[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]]
    return {"rotation": rotation, "translation": [1000.0, 2000.0 + 4.0 * number, 7.0]}


def annotation() -> dict[str, Any]:
    """Two lanes, the second one following the first; a crossing and a boundary."""
    def lane(name: int, x0: float, x1: float, kinds: tuple[int, int]) -> dict[str, Any]:
        xs = (x0, x0 + 0.25 * (x1 - x0), x1)                                    # unevenly spaced, as annotations are
        lines = {key: [[x, y, 0.1 * x] for x in xs]
                 for key, y in (("centerline", 0.0), ("left_laneline", 1.75), ("right_laneline", -1.75))}
        return {"id": name, **lines, "left_laneline_type": kinds[0], "right_laneline_type": kinds[1],
                "is_intersection_or_connector": False}

    crossing = [[20.0, -4.0, 0.0], [20.0, 4.0, 0.0], [23.0, 4.0, 0.0], [23.0, -4.0, 0.0], [20.0, -4.0, 0.0]]
    return {
        "lane_segment": [lane(11, 0.0, 9.0, (1, 2)), lane(12, 9.0, 18.0, (0, 1))],
        "traffic_element": [],
        "area": [{"id": 1, "category": 1, "points": crossing},
                 {"id": 2, "category": 2, "points": [[-50.0, 6.0, 0.0], [50.0, 6.0, 0.0]]}],
        "topology_lsls": [[0, 1], [0, 0]],
        "topology_lste": [[], []],
    }


def frame(split: str, segment: str, number: int) -> dict[str, Any]:
    """The content of a ``-ls.json`` file; frames to test with have no annotation."""
    sensor = {
        name: {
            "image_path": f"{split}/{segment}/image/{name}/{TIMES[number]}.jpg",
            "extrinsic": {"rotation": FORWARD, "translation": [1.5, 0.0, 1.4]},
            "intrinsic": {"K": [[20.0, 0.0, 8.0], [0.0, 20.0, 6.0], [0.0, 0.0, 1.0]], "distortion": [0.0, 0.0, 0.0]},
        } for name in CAMERAS
    }
    content = {"version": "OpenLane-V2_v2.1", "segment_id": segment, "timestamp": int(TIMES[number]), "sensor": sensor,
               "meta_data": {"source": "Argoverse 2", "source_id": "7fab2350"}, "pose": pose(number)}
    return content if split == "test" else {**content, "annotation": annotation()}


def write_openlanev2(root: Path) -> Path:
    """Write all of it; the second segment has no SD map as published, and the first one's modified map is unusable."""
    data_dict = {split: {segment: [f"{time}.json" for time in TIMES[::-1]] for segment in segments}
                 for split, segments in SEGMENTS.items()}
    for split, segments in SEGMENTS.items():
        for segment in segments:
            for number, time in enumerate(TIMES):
                write_json(info_path(root, split, segment, number), frame(split, segment, number))
                for name in CAMERAS:
                    path = root / f"{split}/{segment}/image/{name}/{time}.jpg"
                    path.parent.mkdir(parents=True, exist_ok=True)
                    Image.new("RGB", (12, 16) if name == CAMERAS[0] else (16, 12)).save(path)
    write_json(root / "data_dict_subset_A.json", data_dict)
    north = [[1002.0, 1900.0], [1002.0, 2100.0]]
    write_json(root / "train/00000/sdmap.json", [{"points": north, "category": "road"}])
    modified = root / "sdmap_train_modified"
    write_json(modified / "info_train.json", {"00000": False, "00001": True})
    for segment in SEGMENTS["train"]:
        write_json(modified / segment / "sdmap.json", [{"points": north, "category": "road", "lanes": 3}])
    return root


def info_path(root: Path, split: str, segment: str, number: int) -> Path:
    """File of a frame."""
    return root / f"{split}/{segment}/info/{TIMES[number]}-ls.json"


def write_json(path: Path, content: Any) -> None:
    """Write a file in a folder that need not be there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
