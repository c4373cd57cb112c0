"""Seeded boxes of the size and make-up of a nuScenes split, in columns and as the devkit's objects."""

from __future__ import annotations

from typing import Any

import numpy as np

from perception.evaluation.detection.nuscenes_boxes import ATTRIBUTE_NAMES, NO_ATTRIBUTE, NuScenesBoxes
from perception.evaluation.detection.nuscenes_filters import Surroundings
from perception.evaluation.nuscenes_results import ATTRIBUTES, DETECTION_NAMES

TRUE_BOXES = 31                                            # of a sample: what the validation set has on average
SHARES = {                                                 # of the annotations, by and large
    "car": 0.43, "truck": 0.08, "construction_vehicle": 0.012, "bus": 0.015, "trailer": 0.02, "barrier": 0.13,
    "motorcycle": 0.011, "bicycle": 0.012, "pedestrian": 0.20, "traffic_cone": 0.09,
}
HALF_EXTENT_M = 60.0                                       # some boxes are beyond the ranges
RACKS = 0.2                                                # of a sample


def seeded_nuscenes(
    samples: int, predictions: int, seed: int = 0
) -> tuple[NuScenesBoxes, NuScenesBoxes, Surroundings]:
    """Truth, predictions and surroundings: half of the predictions are near a true box, the rest anywhere.

    Args:
        samples: how many.
        predictions: boxes in each.
        seed: of all numbers.
    """
    rng = np.random.default_rng(seed)
    tokens = tuple(f"{f:032x}" for f in range(samples))
    ego_xy = rng.uniform(200.0, 2000.0, (samples, 2))
    counts = rng.poisson(TRUE_BOXES, samples)
    owner = np.repeat(np.arange(samples), counts)
    truth = NuScenesBoxes(
        tokens, _offsets(counts), *_anywhere(ego_xy[owner], rng), velocity=_velocities(len(owner), rng, unknown=0.03),
        label=(label := _labels(len(owner), rng)), score=np.full(len(owner), -1.0),
        attribute=_attributes(label, rng, absent=0.01), num_pts=rng.geometric(0.2, len(owner)).astype(np.int32) - 1,
    )
    racks = np.flatnonzero(rng.random(samples) < RACKS)
    surroundings = Surroundings(tokens, ego_xy, racks, *_anywhere(ego_xy[racks], rng))
    return truth, _predicted(truth, ego_xy, predictions, rng), surroundings


def devkit_boxes(boxes: NuScenesBoxes) -> dict[str, list[Any]]:
    """The same as ``DetectionBox`` objects by sample token: about 1.1 kB a box."""
    from nuscenes.eval.detection.data_classes import DetectionBox

    attributes = (*ATTRIBUTE_NAMES, "")                    # -1 is the last
    by_sample = {}
    for token, first, last in zip(boxes.tokens, boxes.offsets[:-1], boxes.offsets[1:], strict=True):
        rows = slice(first, last)
        vectors = (getattr(boxes, name)[rows].tolist() for name in ("translation", "size", "rotation", "velocity"))
        codes = (getattr(boxes, name)[rows].tolist() for name in ("num_pts", "label", "score", "attribute"))
        by_sample[token] = [
            DetectionBox(
                token, tuple(translation), tuple(size), tuple(rotation), tuple(velocity), num_pts=num_pts,
                detection_name=DETECTION_NAMES[label], detection_score=score, attribute_name=attributes[attribute],
            )
            for translation, size, rotation, velocity, num_pts, label, score, attribute in zip(
                *vectors, *codes, strict=True
            )
        ]
    return by_sample


def rack_rows(surroundings: Surroundings) -> dict[str, list[dict[str, Any]]]:
    """The racks as `evaluate_nuscenes` takes them."""
    rows: dict[str, list[dict[str, Any]]] = {}
    for sample, translation, size, rotation in zip(
        surroundings.rack_sample, surroundings.rack_translation.tolist(), surroundings.rack_size.tolist(),
        surroundings.rack_rotation.tolist(), strict=True,
    ):
        rack = {"translation": translation, "size": size, "rotation": rotation}
        rows.setdefault(surroundings.tokens[sample], []).append(rack)
    return rows


def _predicted(truth: NuScenesBoxes, ego_xy: np.ndarray, predictions: int, rng: np.random.Generator) -> NuScenesBoxes:
    samples = len(truth.tokens)
    total = samples * predictions
    sample = np.repeat(np.arange(samples), predictions)
    counts = np.diff(truth.offsets)[sample]
    source = truth.offsets[sample] + (rng.random(total) * counts).astype(np.int64)
    near = np.flatnonzero((rng.random(total) < 0.5) & (counts > 0))
    source = source[near]
    translation, size, rotation = _anywhere(ego_xy[sample], rng)
    label, attribute = _labels(total, rng), np.full(total, NO_ATTRIBUTE, np.int8)
    score = rng.beta(1.0, 6.0, total)
    spread = 10.0 ** rng.uniform(-1.3, 0.7, len(near))                                  # [m]
    translation[near] = truth.translation[source] + rng.normal(size=(len(near), 3)) * spread[:, None]
    size[near] = truth.size[source] * rng.lognormal(0.0, 0.1, (len(near), 3))
    rotation[near] = truth.rotation[source] + rng.normal(scale=0.05, size=(len(near), 4))
    label[near] = np.where(rng.random(len(near)) < 0.9, truth.label[source], label[near])
    score[near] = np.clip(1.0 - spread / 5.0 + rng.normal(scale=0.2, size=len(near)), 0.01, 1.0)
    attribute[:] = _attributes(label, rng, absent=0.0)
    return NuScenesBoxes(
        truth.tokens, np.arange(samples + 1) * predictions, translation, size, rotation,
        velocity=_velocities(total, rng, unknown=0.0), label=label, score=score, attribute=attribute,
        num_pts=np.full(total, -1, np.int32),
    )


def _offsets(counts: np.ndarray) -> np.ndarray:
    return np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)


def _anywhere(ego_xy: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(N, 2) positions of the vehicle -> (N, 3) translation, (N, 3) size and (N, 4) rotation of a box about each."""
    translation = np.empty((len(ego_xy), 3))
    translation[:, :2] = ego_xy + rng.uniform(-HALF_EXTENT_M, HALF_EXTENT_M, ego_xy.shape)
    translation[:, 2] = rng.uniform(-1.0, 2.0, len(ego_xy))
    half_yaw, rotation = rng.uniform(-np.pi / 2, np.pi / 2, len(ego_xy)), np.zeros((len(ego_xy), 4))
    rotation[:, 0], rotation[:, 3] = np.cos(half_yaw), np.sin(half_yaw)
    return translation, rng.uniform(0.5, 5.0, (len(ego_xy), 3)), rotation


def _velocities(count: int, rng: np.random.Generator, unknown: float) -> np.ndarray:
    velocity = rng.normal(scale=3.0, size=(count, 2))
    velocity[rng.random(count) < unknown] = np.nan
    return velocity


def _labels(count: int, rng: np.random.Generator) -> np.ndarray:
    shares = np.array([SHARES[name] for name in DETECTION_NAMES])
    return rng.choice(len(DETECTION_NAMES), count, p=shares / shares.sum()).astype(np.int8)


def _attributes(label: np.ndarray, rng: np.random.Generator, absent: float) -> np.ndarray:
    """(N,) int8: one of the two usual ones of each class."""
    numbers = {"": NO_ATTRIBUTE, **{name: number for number, name in enumerate(ATTRIBUTE_NAMES)}}
    usual = np.array([[numbers[name] for name in ATTRIBUTES[of_class]] for of_class in DETECTION_NAMES], np.int8)
    attribute = usual[label, rng.integers(0, 2, len(label))]
    attribute[rng.random(len(label)) < absent] = NO_ATTRIBUTE
    return attribute
