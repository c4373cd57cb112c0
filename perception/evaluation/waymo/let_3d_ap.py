"""LET-3D-AP: detection from cameras scored with a tolerance along the line of sight.

Hung et al., "LET-3D-AP: Longitudinal Error Tolerant 3D Average Precision for Camera-Only 3D Detection", 2022,
section 3. Depth from pictures is poor, so an error along the line of sight costs affinity rather than the match: with
centres P and G seen from the sensor and u the direction to a centre,

    affinity = 1 - min(|(P - G) . u_G| / max(0.1 |G|, 0.5 m), 1)

and the prediction is moved along its own line of sight before the IoU is taken: to the point nearest to G,
(G . u_P) u_P, or ("range") to the distance of G, |G| u_P. A pair with affinity and an IoU of at least the threshold
may match and weighs affinity times IoU. LET-3D-AP counts matches as ever, LET-3D-APL weighs each true positive by its
affinity, LET-3D-APH by the accuracy of its heading.

All of this rests on the paper: there are no official figures here to compare with. Ground truth is prepared, sharded
and integrated as in `detection`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from .average_precision import average_precision, precision_and_recall
from .box_iou import FramedObjects, Pairs, are_near, pair_iou
from .breakdowns import breakdown_named
from .detection import ShardScores, WaymoScores, prepare_ground_truth, thresholds_by_type
from .matching import Candidates, count_shards, heading_accuracy, shard_rows, weights_of
from .objects import WaymoObjects

IOU_THRESHOLDS = {"VEHICLE": 0.5, "PEDESTRIAN": 0.3, "SIGN": 0.3, "CYCLIST": 0.3}
FRONT_CAMERA_M = (1.43, 0.0, 2.184)                        # on the vehicle
TOLERANCE, LEAST_TOLERANCE_M = 0.1, 0.5
ALIGNMENTS = ("nearest", "range")


@dataclass(frozen=True, eq=False)
class LetShardScores(ShardScores):
    """One shard at one level.

    Args:
        sum_affinity: (101,) float64 sum of the longitudinal affinities of the true positives.
    """

    sum_affinity: np.ndarray

    @cached_property
    def apl(self) -> float:
        """Average precision weighted by longitudinal affinity."""
        precision, recall = precision_and_recall(self.tp, self.fp, self.fn, self.sum_affinity)
        return average_precision(recall, precision)

    def columns(self) -> dict[str, float]:
        """The averages by name."""
        return {"LET_AP": self.ap, "LET_APH": self.aph, "LET_APL": self.apl}


def evaluate_let_3d(
    ground_truth: WaymoObjects,
    predictions: WaymoObjects,
    *,
    breakdowns: Sequence[str] = ("object_type", "range"),
    iou_thresholds: Mapping[str, float] | None = None,
    sensor_m: Sequence[float] = FRONT_CAMERA_M,
    tolerance: float = TOLERANCE,
    least_tolerance_m: float = LEAST_TOLERANCE_M,
    alignment: str = "nearest",
) -> WaymoScores:
    """Score predictions with longitudinal tolerance.

    Args:
        ground_truth: true boxes.
        predictions: scored boxes.
        breakdowns: names of `breakdowns.BREAKDOWNS`, in capitals or not.
        iou_thresholds: by type, in place of 0.5 for vehicles and 0.3 for the others.
        sensor_m: x, y, z of the sensor in the vehicle frame.
        tolerance: share of a truth's distance by which a prediction may be off, > 0.
        least_tolerance_m: tolerance of near truths [m], > 0.
        alignment: "nearest" or "range", see the head of this file.

    Raises:
        ValueError: an unknown name, a tolerance that is not positive, or no ground truth with points.
    """
    if alignment not in ALIGNMENTS:
        raise ValueError(f"alignment must be one of {', '.join(ALIGNMENTS)}, got {alignment!r}")
    if not (tolerance > 0 and least_tolerance_m > 0):
        raise ValueError(f"tolerances must be > 0, got tolerance {tolerance}, least_tolerance_m {least_tolerance_m}")
    splits = [breakdown_named(name) for name in breakdowns]
    thresholds = thresholds_by_type({**IOU_THRESHOLDS, **(iou_thresholds or {})})
    objects = FramedObjects.of(prepare_ground_truth(ground_truth), predictions)
    seen = LineOfSight(np.asarray(sensor_m, np.float64), tolerance, least_tolerance_m, alignment)
    overlaps, affinity = _tolerant_pairs(objects, seen)
    may_match = overlaps.iou >= thresholds[objects.predictions.types[overlaps.predictions]]
    pairs, affinity = overlaps[may_match], affinity[may_match]
    accuracy = heading_accuracy(objects.predictions.boxes[pairs.predictions, 6], objects.truths.boxes[pairs.truths, 6])
    weights = np.maximum(weights_of(affinity * pairs.iou), 1)
    candidates = Candidates(pairs, weights, np.stack([accuracy, affinity], axis=1))
    shards = [
        LetShardScores(name, tp, fp, fn, values[:, 0], values[:, 1])
        for split in splits
        for name, tp, fp, fn, values in shard_rows(split, count_shards(objects, overlaps, candidates, split))
    ]
    return WaymoScores(tuple(shards), objects.num_frames, len(objects.truths), len(predictions))


@dataclass(frozen=True, eq=False)
class LineOfSight:
    """How far a prediction may be off along the line of sight, and where it is put before the IoU is taken.

    Args:
        sensor_m: (3,) place of the sensor in the vehicle frame.
        tolerance: share of the truth's distance.
        least_tolerance_m: the least of it [m].
        alignment: "nearest" or "range".
    """

    sensor_m: np.ndarray
    tolerance: float
    least_tolerance_m: float
    alignment: str

    def affinity(self, predicted: np.ndarray, true: np.ndarray) -> np.ndarray:
        """(E, 3), (E, 3) centres -> (E,) in [0, 1]; 0 where the error along the line of sight uses up the tolerance."""
        to_truth = true - self.sensor_m
        distance = np.linalg.norm(to_truth, axis=1)
        error = np.abs(((predicted - true) * _directions(to_truth)).sum(1))
        return 1 - np.minimum(error / np.maximum(self.tolerance * distance, self.least_tolerance_m), 1.0)

    def aligned(self, predicted: np.ndarray, true: np.ndarray) -> np.ndarray:
        """(E, 3), (E, 3) centres -> (E, 3) the predicted ones moved along their lines of sight."""
        to_truth = true - self.sensor_m
        direction = _directions(predicted - self.sensor_m)
        if self.alignment == "range":
            along = np.linalg.norm(to_truth, axis=1)
        else:
            along = (to_truth * direction).sum(1)
        return self.sensor_m + along[:, None] * direction


def _tolerant_pairs(objects: FramedObjects, seen: LineOfSight) -> tuple[Pairs, np.ndarray]:
    """Pairs with an affinity that share something once aligned, and the affinity of each."""
    boxes, truths = objects.predictions.boxes, objects.truths.boxes
    parts, affinities = [Pairs.none()], [np.zeros(0)]
    for prediction, truth in objects.same_type_pairs():
        affinity = seen.affinity(boxes[prediction, :3], truths[truth, :3])
        rows = affinity > 0
        prediction, truth, affinity = prediction[rows], truth[rows], affinity[rows]
        moved = boxes[prediction].copy()                                                   # (n, 7)
        moved[:, :3] = seen.aligned(moved[:, :3], truths[truth, :3])
        near = np.flatnonzero(are_near(moved, truths, np.arange(len(moved)), truth))
        iou = pair_iou(moved, truths, near, truth[near], bev=False)
        near, iou = near[iou > 0], iou[iou > 0]
        parts.append(Pairs(prediction[near], truth[near], iou))
        affinities.append(affinity[near])
    return Pairs.concatenate(parts), np.concatenate(affinities)


def _directions(vectors: np.ndarray) -> np.ndarray:
    """(E, 3) unit vectors; a vector of no length stays so."""
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / np.where(length > 0, length, 1.0)
