"""The official nuScenes results file, and the rules by which a detector's boxes become its rows."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from perception.atomic_write import write_json_entries
from perception.structures import Predictions

from .frame_file import Column

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

COLUMNS = {                                                # of the boxes of a sample
    "translation": Column("float64", (3,)),                # metres, global
    "size": Column("float64", (3,)),                       # width, length, height [m]
    "rotation": Column("float64", (4,)),                   # quaternion w x y z, global from box
    "velocity": Column("float64", (2,)),                   # m/s, global
    "label": Column("int8"),                               # index into `DETECTION_NAMES`
    "score": Column("float64"),
}


def attribute_name(detection_name: str, speed: float) -> str:
    """The attribute that objects of a class have as a rule at a speed [m/s]; an unknown speed (NaN) counts as rest."""
    moving, at_rest = ATTRIBUTES[detection_name]
    return moving if speed > MOVING_SPEED else at_rest


def nuscenes_columns(predictions: Predictions) -> dict[str, np.ndarray]:
    """The boxes of one sample as `COLUMNS`, best first.

    At most 500 boxes, those of the highest scores. An unknown velocity becomes 0.

    Raises:
        ValueError: the pose is unknown, a class is not one of the ten, or a number is not finite.
    """
    _check(predictions)
    order = torch.argsort(predictions.scores, descending=True, stable=True)[:MAX_BOXES_PER_SAMPLE]
    best = predictions[order].to("cpu")
    assert best.global_from_ego is not None                # checked above
    boxes = best.boxes.to(torch.float64).with_columns(9).moved_by(best.global_from_ego).tensor.detach().numpy()
    turns = [(math.cos(yaw / 2), 0.0, 0.0, math.sin(yaw / 2)) for yaw in boxes[:, 6].tolist()]
    return {
        "translation": boxes[:, :3],
        "size": boxes[:, [4, 3, 5]],
        "rotation": np.array(turns, np.float64).reshape(-1, 4),
        "velocity": np.where(np.isnan(boxes[:, 7:9]), 0.0, boxes[:, 7:9]),
        "label": np.array([DETECTION_NAMES.index(name) for name in best.names()], np.int8),
        "score": best.scores.detach().double().numpy(),
    }


def nuscenes_rows(predictions: Predictions) -> list[dict[str, Any]]:
    """The boxes of one sample as the results file wants them, see `nuscenes_columns` for what is refused."""
    return rows_of_columns(predictions.token, nuscenes_columns(predictions))


def speeds(columns: Mapping[str, np.ndarray]) -> np.ndarray:
    """(N,) float64 [m/s] of boxes that are given as `COLUMNS`."""
    return np.hypot(columns["velocity"][:, 0], columns["velocity"][:, 1])


def rows_of_columns(token: str, columns: Mapping[str, np.ndarray]) -> list[dict[str, Any]]:
    """Boxes of a sample that are given as `COLUMNS`, as the results file wants them."""
    return [
        {
            "sample_token": token,
            "translation": translation,
            "size": size,
            "rotation": rotation,
            "velocity": velocity,
            "detection_name": DETECTION_NAMES[label],
            "detection_score": score,
            "attribute_name": attribute_name(DETECTION_NAMES[label], speed),
        }
        for translation, size, rotation, velocity, label, score, speed in zip(
            *(columns[name].tolist() for name in COLUMNS), speeds(columns).tolist(), strict=True
        )
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
        ValueError: predictions that cannot be written (see `nuscenes_columns`) or belong to none of ``sample_tokens``.
    """
    columns: dict[str, dict[str, np.ndarray]] = {}
    for sample in predictions:
        if sample.token not in columns:
            columns[sample.token] = nuscenes_columns(sample)
    return write_nuscenes_columns(columns, path, meta, sample_tokens)


def write_nuscenes_columns(
    columns: Mapping[str, Mapping[str, np.ndarray]],
    path: Path | str,
    meta: Mapping[str, bool] | None = None,
    sample_tokens: Sequence[str] = (),
) -> Path:
    """`write_nuscenes_results` of boxes that are given as `COLUMNS` by sample; one sample's rows are made at a time."""
    tokens = list(dict.fromkeys(sample_tokens or columns))
    odd = sorted(set(columns) - set(tokens))
    if odd:
        raise ValueError(f"predictions of {odd[0]!r}, not one of the split's {len(tokens)} samples")
    if len(columns) < len(tokens):
        missing = len(tokens) - len(columns)
        logger.warning("no predictions for %d of %d samples of the split: they count as empty", missing, len(tokens))
    rows = ((token, rows_of_columns(token, columns[token]) if token in columns else []) for token in tokens)
    return write_json_entries(path, {"meta": {**LIDAR_ONLY, **(meta or {})}}, "results", rows)


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
