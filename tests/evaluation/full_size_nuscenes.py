"""A run of the streaming nuScenes metric on seeded numbers, in a process of its own whose memory can be told.

    python tests/evaluation/full_size_nuscenes.py FOLDER SAMPLES PREDICTIONS
"""

from __future__ import annotations

import json
import re
import resource
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from perception.engine.benchmark.nuscenes_boxes import TRUE_BOXES
from perception.evaluation.nuscenes_detection import NuScenesDetectionMetric
from perception.evaluation.nuscenes_results import DETECTION_NAMES
from perception.structures import SE3, Boxes3D, Frame, Predictions

VERSION = "v1.0-trainval"
IDENTITY = [1.0, 0.0, 0.0, 0.0]
HALF_EXTENT_M = 60.0


def true_places(samples: int, seed: int = 0) -> np.ndarray:
    """(F, K, 3) centres [m]; objects of an odd number are cars, the others pedestrians."""
    return np.random.default_rng(seed).uniform(-HALF_EXTENT_M, HALF_EXTENT_M, (samples, TRUE_BOXES, 3))


def write_root(root: Path, samples: int) -> Path:
    """The tables that the evaluation reads: one scene of the validation split, every object seen once."""
    tables: dict[str, list[dict[str, object]]] = {
        "scene": [{"token": "scene", "name": "scene-0003"}],
        "sensor": [{"token": "lidar", "channel": "LIDAR_TOP"}],
        "calibrated_sensor": [{"token": "mounted", "sensor_token": "lidar"}],
        "category": [{"token": "car", "name": "vehicle.car"}, {"token": "person", "name": "human.pedestrian.adult"}],
        "attribute": [],
        "instance": [{"token": name, "category_token": name} for name in ("car", "person")],
        "sample": [
            {"token": f"{f}", "scene_token": "scene", "timestamp": 500_000 * f} for f in range(samples)
        ],
        "ego_pose": [{"token": f"{f}", "translation": [0.0, 0.0, 0.0], "rotation": IDENTITY} for f in range(samples)],
        "sample_data": [
            {"token": f"{f}", "sample_token": f"{f}", "ego_pose_token": f"{f}", "is_key_frame": True,
             "calibrated_sensor_token": "mounted"} for f in range(samples)
        ],
        "sample_annotation": [
            {"token": f"{f}-{k}", "sample_token": f"{f}", "instance_token": "car" if k % 2 else "person",
             "attribute_tokens": [], "translation": place, "size": [2.0, 4.0, 1.5], "rotation": IDENTITY, "prev": "",
             "next": "", "num_lidar_pts": 9, "num_radar_pts": 0}
            for f, places in enumerate(true_places(samples).tolist()) for k, place in enumerate(places)
        ],
    }
    (root / VERSION).mkdir(parents=True)
    for name, records in tables.items():
        (root / VERSION / f"{name}.json").write_text(json.dumps(records))
    return root


def predicted(samples: int, predictions: int, seed: int = 1) -> Iterator[tuple[Frame, Predictions]]:
    """Boxes at the true ones, then boxes anywhere that are less sure, frame by frame as a detector hands them in."""
    draw = torch.Generator().manual_seed(seed)
    labels = torch.tensor([DETECTION_NAMES.index("car" if k % 2 else "pedestrian") for k in range(TRUE_BOXES)])
    for f, places in enumerate(true_places(samples)):
        boxes = torch.rand(predictions, 9, generator=draw) + 0.5
        boxes[:, :3] = (boxes[:, :3] - 1.0) * 2 * HALF_EXTENT_M
        boxes[:TRUE_BOXES, :3] = torch.from_numpy(places)
        scores = torch.rand(predictions, generator=draw) * 0.9
        scores[:TRUE_BOXES] = 0.95
        label = torch.randint(len(DETECTION_NAMES), (predictions,), generator=draw)
        label[:TRUE_BOXES] = labels
        yield Frame(f"{f}", 500_000_000 * f, scene="scene-0003"), Predictions(
            f"{f}", 500_000_000 * f, Boxes3D(boxes), scores, label, DETECTION_NAMES, global_from_ego=SE3.identity(),
        )


def main(folder: Path, samples: int, predictions: int) -> None:
    """Print the scores of some classes, and the most memory that the process has held [MiB]."""
    metric = NuScenesDetectionMetric(str(write_root(folder / "root", samples)), VERSION, "val", str(folder / "out"))
    for frame, sample in predicted(samples, predictions):
        metric.process([frame], [sample])
    scores = metric.evaluate(samples)
    print(json.dumps({"car_AP": scores["nuscenes/car_AP"], "NDS": scores["nuscenes/NDS"], "peak_mib": peak_mib()}))


def peak_mib() -> float:
    """Most memory that this process has held [MiB]; getrusage would tell that of the one it was started by, if more."""
    status = Path("/proc/self/status")
    if status.exists():
        (kib,) = re.findall(r"VmHWM:\s+(\d+) kB", status.read_text())
        return int(kib) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
