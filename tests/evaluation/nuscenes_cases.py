"""Seeded nuScenes boxes with everything that makes a difference, as rows of the results format and as a data root."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from perception.evaluation.detection.nuscenes_boxes import ATTRIBUTE_NAMES
from perception.evaluation.detection.nuscenes_scores import NuScenesScores
from perception.evaluation.nuscenes_results import DETECTION_NAMES

Rows = dict[str, list[dict[str, Any]]]
EGO = np.array([1010.3, 612.7, 0.0])
CATEGORIES = {
    "car": "vehicle.car", "truck": "vehicle.truck", "bus": "vehicle.bus.bendy", "trailer": "vehicle.trailer",
    "construction_vehicle": "vehicle.construction", "pedestrian": "human.pedestrian.child",
    "motorcycle": "vehicle.motorcycle", "bicycle": "vehicle.bicycle", "traffic_cone": "movable_object.trafficcone",
    "barrier": "movable_object.barrier", "rack": "static_object.bicycle_rack", "animal": "animal",
}
AXES = ((1.0, 0.0, 0.0, 0.0), (0.0, 0.0, 0.0, 1.0), (0.0, 0.0, 0.0, -2.0), (0.5, 0.5, 0.5, 0.5))


@dataclass(frozen=True)
class Case:
    """Arguments of `evaluate_nuscenes`."""

    truth: Rows
    predictions: Rows
    ego: dict[str, list[float]]
    racks: Rows

    def arguments(self) -> tuple[Rows, Rows, dict[str, list[float]], Rows]:
        return self.truth, self.predictions, self.ego, self.racks


def as_text(scores: NuScenesScores) -> str:
    """Every number to its last bit; NaN, which differs from itself, by name. The time it took is left out."""
    summary = {**scores.summary, "eval_time": None}
    return json.dumps([summary, scores.curves, scores.num_ground_truth, scores.num_predictions])


def seeded_case(seed: int, *, samples: int = 6, step: float = 0.0) -> Case:
    """Crowds near the vehicle and beyond the ranges.

    Args:
        seed: of everything.
        samples: how many; one in six is empty.
        step: coordinates and scores are multiples of it, which makes ties and distances at the thresholds; 0: free.
    """
    rng = np.random.default_rng(seed)
    tokens = [f"sample-{seed}-{f}" for f in range(samples)]
    case = Case({}, {}, {}, {})
    for token in tokens:
        case.ego[token] = (EGO + rng.normal(scale=3.0, size=3)).tolist()
        case.racks[token] = [_rack(rng) for _ in range(rng.integers(0, 3))]
        count = 0 if rng.random() < 1 / 6 else int(rng.integers(1, 25))
        case.truth[token] = [_truth(rng, token, step) for _ in range(count)]
        for row, rack in zip(case.truth[token], case.racks[token], strict=False):
            row |= {"detection_name": "bicycle", "translation": list(rack["translation"]), "num_pts": 3}
    for token in rng.permutation(tokens).tolist():
        case.predictions[token] = [_guess(rng, token, case.truth[token], step) for _ in range(rng.integers(0, 60))]
    return case


def guess() -> dict[str, Any]:
    """A car 2 m ahead of (1010, 612)."""
    return {
        "sample_token": "a", "translation": [1012.0, 613.0, 1.0], "size": [2.0, 4.0, 1.5],
        "rotation": [1.0, 0.0, 0.0, 0.0], "velocity": [0.0, 0.0], "detection_name": "car",
        "detection_score": 0.5, "attribute_name": "vehicle.moving",
    }


def write_full_root(root: Path, case: Case, splits: dict[str, list[str]] | None = None) -> Path:
    """The truth of a case as v1.0-trainval: tracks through the samples, racks, attributes, other sensors' data.

    Boxes of one name and place in the list are one track, so velocities follow from it; gaps of more than 1.5 s lie
    behind every third sample. The first half of the samples belong to scene-0003, the rest to scene-0012, both of
    "val"; one sample more, on which tracks go on, belongs to a scene of "train".
    """
    tokens = [*case.truth, "other"]
    scene_of = ["scene-0003" if f < len(tokens) // 2 else "scene-0012" for f in range(len(tokens) - 1)] + ["scene-0001"]
    times = [1_533_000_000_000_000 + 500_000 * f + 1_400_123 * (f // 3) for f in range(len(tokens))]
    last = next(rows for rows in reversed(case.truth.values()) if rows)
    annotations = [
        _annotation(token, row, position)
        for token, rows in {**case.truth, "other": last}.items() for position, row in enumerate(rows)
    ] + [_annotation(token, {**rack, "detection_name": "rack", "num_pts": 9, "attribute_name": ""}, 900 + position)
         for token, racks in case.racks.items() for position, rack in enumerate(racks)]
    _link(annotations)
    order = np.random.default_rng(1).permutation(len(annotations))           # of the table; not that of the samples
    tables: dict[str, list[dict[str, Any]]] = {
        "category": [{"token": f"category-{name}", "name": category} for name, category in CATEGORIES.items()],
        "attribute": [{"token": f"attribute-{name}", "name": name} for name in ATTRIBUTE_NAMES],
        "instance": [
            {"token": token, "category_token": f"category-{token.split('/')[0]}"}
            for token in sorted({row["instance_token"] for row in annotations})
        ],
        "sensor": [{"token": name, "channel": name, "modality": "lidar"} for name in ("LIDAR_TOP", "CAM_FRONT")],
        "calibrated_sensor": [{"token": f"on-{name}", "sensor_token": name} for name in ("LIDAR_TOP", "CAM_FRONT")],
        "ego_pose": [
            {"token": f"pose-{token}-{sensor}", "rotation": [1.0, 0.0, 0.0, 0.0],
             "translation": case.ego.get(token, EGO.tolist()) if sensor == "LIDAR_TOP" else [0.0, 0.0, 0.0]}
            for token in tokens for sensor in ("LIDAR_TOP", "CAM_FRONT", "sweep")
        ],
        "scene": [{"token": f"token-{name}", "name": name} for name in ("scene-0003", "scene-0012", "scene-0001")],
        "sample": [
            {"token": token, "scene_token": f"token-{scene}", "timestamp": time, "prev": "", "next": ""}
            for token, scene, time in zip(tokens, scene_of, times, strict=True)
        ],
        "sample_data": [
            {"token": f"data-{token}-{sensor}", "sample_token": token, "ego_pose_token": f"pose-{token}-{sensor}",
             "calibrated_sensor_token": f"on-{'CAM_FRONT' if sensor == 'CAM_FRONT' else 'LIDAR_TOP'}",
             "is_key_frame": sensor != "sweep"}
            for token in tokens for sensor in ("LIDAR_TOP", "CAM_FRONT", "sweep")
        ],
        "sample_annotation": [annotations[row] for row in order],
        "log": [{"token": "log", "location": "boston-seaport"}],
        "map": [{"token": "map", "log_tokens": ["log"], "filename": "mask.png"}],
        "visibility": [],
    }
    folder = root / "v1.0-trainval"
    folder.mkdir(parents=True)
    (root / "mask.png").touch()
    for name, records in tables.items():
        (folder / f"{name}.json").write_text(json.dumps(records, indent=0))
    if splits is not None:
        (folder / "splits.json").write_text(json.dumps(splits))
    return root


def write_results(path: Path, results: Rows) -> Path:
    path.write_text(json.dumps({"meta": {"use_lidar": True}, "results": results}))
    return path


def _annotation(token: str, row: dict[str, Any], position: int) -> dict[str, Any]:
    attribute = row["attribute_name"]
    name = row["detection_name"] if position % 7 else "animal"               # what is none of the ten classes
    return {
        "token": f"{token}/{position}", "sample_token": token, "instance_token": f"{name}/{position}",
        "attribute_tokens": [f"attribute-{attribute}"] if attribute else [], "visibility_token": "",
        "num_lidar_pts": row["num_pts"] // 2, "num_radar_pts": row["num_pts"] - row["num_pts"] // 2,
        "prev": "", "next": "", **{field: row[field] for field in ("translation", "size", "rotation")},
    }


def _link(annotations: list[dict[str, Any]]) -> None:
    latest: dict[str, dict[str, Any]] = {}
    for row in annotations:
        before = latest.get(row["instance_token"])
        if before is not None:
            row["prev"], before["next"] = before["token"], row["token"]
        latest[row["instance_token"]] = row


def _rounded(values: np.ndarray, step: float) -> np.ndarray:
    return np.round(values / step) * step if step else values


def _rotation(rng: np.random.Generator) -> list[float]:
    """Mostly about z; some tilted, some of no unit length, some exactly along an axis."""
    kind, angle = rng.random(), rng.uniform(-np.pi, np.pi)
    if kind < 0.6:
        return [float(np.cos(angle / 2)), 0.0, 0.0, float(np.sin(angle / 2))]
    if kind < 0.8:
        return list(AXES[rng.integers(len(AXES))])
    return rng.normal(size=4).tolist()


def _rack(rng: np.random.Generator) -> dict[str, Any]:
    return {"translation": (EGO + rng.uniform(-15, 15, 3)).tolist(), "size": rng.uniform(1, 8, 3).tolist(),
            "rotation": _rotation(rng)}


def _truth(rng: np.random.Generator, token: str, step: float) -> dict[str, Any]:
    offset = _rounded(rng.normal(scale=18.0, size=3) * [1, 1, 0.05], step)
    velocity = rng.normal(scale=4.0, size=2)
    return {
        "sample_token": token, "translation": (EGO + offset).tolist(), "size": rng.uniform(0.4, 6, 3).tolist(),
        "rotation": _rotation(rng), "velocity": [np.nan, np.nan] if rng.random() < 0.2 else velocity.tolist(),
        "detection_name": DETECTION_NAMES[rng.integers(0, 9)],               # and no traffic_cone
        "attribute_name": "" if rng.random() < 0.2 else ATTRIBUTE_NAMES[rng.integers(len(ATTRIBUTE_NAMES))],
        "num_pts": int(rng.integers(0, 6)),
    }


def _guess(rng: np.random.Generator, token: str, truth: list[dict[str, Any]], step: float) -> dict[str, Any]:
    row = _truth(rng, token, step)
    del row["num_pts"]
    if truth and rng.random() < 0.8:
        source = truth[rng.integers(len(truth))]
        moved = source["translation"] + _rounded(rng.normal(scale=rng.choice([0.2, 1.0, 3.0]), size=3), step)
        row |= {"translation": moved.tolist(), "detection_name": source["detection_name"]}
        if rng.random() < 0.5:
            row |= {"attribute_name": source["attribute_name"], "rotation": source["rotation"], "size": source["size"]}
    score = rng.random() if rng.random() < 0.9 else 0.0
    return {**row, "detection_score": float(_rounded(np.array(score), step and 0.25))}
