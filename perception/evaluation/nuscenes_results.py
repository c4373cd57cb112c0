"""The official nuScenes results file, and the rules by which a detector's boxes become its rows."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from perception.atomic_write import write_json
from perception.structures import Predictions

logger = logging.getLogger(__name__)

DETECTION_NAMES = (
    "car", "truck", "construction_vehicle", "bus", "trailer",
    "barrier", "motorcycle", "bicycle", "pedestrian", "traffic_cone",
)
LIDAR_ONLY = {"use_camera": False, "use_lidar": True, "use_radar": False, "use_map": False, "use_external": False}
MAX_BOXES_PER_SAMPLE = 500
MOVING_SPEED = 0.2                                         # m/s; slower is at rest
ATTRIBUTES = {                                             # class: (attribute when moving, attribute at rest)
    "car": ("vehicle.moving", "vehicle.parked"),
    "truck": ("vehicle.moving", "vehicle.parked"),
    "construction_vehicle": ("vehicle.moving", "vehicle.parked"),
    "bus": ("vehicle.moving", "vehicle.stopped"),
    "trailer": ("vehicle.moving", "vehicle.parked"),
    "motorcycle": ("cycle.with_rider", "cycle.without_rider"),
    "bicycle": ("cycle.with_rider", "cycle.without_rider"),
    "pedestrian": ("pedestrian.moving", "pedestrian.standing"),
    "barrier": ("", ""),
    "traffic_cone": ("", ""),
}


def attribute_name(detection_name: str, speed: float) -> str:
    """The attribute that objects of a class have as a rule at a speed [m/s]; an unknown speed (NaN) counts as rest."""
    moving, at_rest = ATTRIBUTES[detection_name]
    return moving if speed > MOVING_SPEED else at_rest


def nuscenes_rows(predictions: Predictions) -> list[dict[str, Any]]:
    """The boxes of one sample as the results file wants them: global frame, w l h, quaternion w x y z, best first.

    At most 500 boxes, those of the highest scores. An unknown velocity is written as 0.

    Raises:
        ValueError: the pose is unknown, a class is not one of the ten, or a number is not finite.
    """
    _check(predictions)
    order = torch.argsort(predictions.scores, descending=True, stable=True)[:MAX_BOXES_PER_SAMPLE]
    best = predictions[order].to("cpu")
    assert best.global_from_ego is not None                # checked above
    boxes = best.boxes.to(torch.float64).with_columns(9).moved_by(best.global_from_ego)
    return [
        {
            "sample_token": best.token,
            "translation": row[:3],
            "size": [row[4], row[3], row[5]],
            "rotation": [math.cos(row[6] / 2), 0.0, 0.0, math.sin(row[6] / 2)],
            "velocity": (velocity := [0.0 if math.isnan(value) else value for value in row[7:9]]),
            "detection_name": name,
            "detection_score": score,
            "attribute_name": attribute_name(name, math.hypot(*velocity)),
        }
        for row, name, score in zip(boxes.tensor.tolist(), best.names(), best.scores.tolist(), strict=True)
    ]


def write_nuscenes_results(
    predictions: Iterable[Predictions],
    path: Path | str,
    meta: Mapping[str, bool] | None = None,
    sample_tokens: Sequence[str] = (),
) -> Path:
    """Write the results file for the official evaluation or its server; the file appears whole or not at all.

    Args:
        predictions: one a sample; a second one of the same sample is dropped.
        path: the JSON file.
        meta: which inputs were used (``use_lidar`` ...); LiDAR alone if not given.
        sample_tokens: samples of the split; those without predictions get an empty list, as the evaluation demands.

    Raises:
        ValueError: predictions that cannot be written (see `nuscenes_rows`) or belong to none of ``sample_tokens``.
    """
    results: dict[str, list[dict[str, Any]]] = {token: [] for token in sample_tokens}
    seen: set[str] = set()
    for sample in predictions:
        if sample_tokens and sample.token not in results:
            raise ValueError(f"predictions of {sample.token!r}, not one of the split's {len(sample_tokens)} samples")
        if sample.token not in seen:
            results[sample.token] = nuscenes_rows(sample)
            seen.add(sample.token)
    if len(seen) < len(results):
        missing = len(results) - len(seen)
        logger.warning("no predictions for %d of %d samples of the split: they count as empty", missing, len(results))
    return write_json(path, {"meta": {**LIDAR_ONLY, **(meta or {})}, "results": results}, indent=None)


def _check(predictions: Predictions) -> None:
    where = f"predictions of sample {predictions.token!r}"
    if predictions.global_from_ego is None:
        raise ValueError(f"{where} have no global_from_ego; nuScenes results are in global coordinates")
    unknown = sorted(set(predictions.names()) - set(DETECTION_NAMES))
    if unknown:
        raise ValueError(f"{where} hold the class {unknown[0]!r}; nuScenes has {', '.join(DETECTION_NAMES)}")
    if not torch.isfinite(predictions.boxes.tensor[:, :7]).all() or not torch.isfinite(predictions.scores).all():
        raise ValueError(f"{where} hold boxes or scores that are not finite")
    if (predictions.scores < 0).any() or (predictions.scores > 1).any():
        raise ValueError(f"{where} hold scores outside [0, 1]")
