"""Waymo 3D detection: AP and APH at LEVEL_1 and LEVEL_2, by type, range, size and speed, without TensorFlow.

Sun et al., "Scalability in Perception for Autonomous Driving: Waymo Open Dataset", CVPR 2020, section 4. Boxes are in
the vehicle frame. A prediction may match a truth of its frame, shard and type whose 3D IoU is at least 0.7 (vehicles)
or 0.5. Matching is redone at each of 101 score cut-offs; a matched prediction is a true positive at both levels, a
truth that is not found counts at its level and above. The curve of these operating points is integrated as told in
`average_precision`; APH weighs true positives by the accuracy of their headings. What the official C++ tool counts is
reproduced exactly; its areas to the rounding of float32.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from .average_precision import average_precision, precision_and_recall
from .box_iou import BOX_TYPES, FramedObjects, Pairs, overlapping_pairs
from .breakdowns import breakdown_named
from .matching import LEVELS, SCORE_CUTOFFS, Candidates, count_shards, heading_accuracy, shard_rows, weights_of
from .objects import TYPES, WaymoObjects

if TYPE_CHECKING:
    from rich.table import Table

logger = logging.getLogger(__name__)

IOU_THRESHOLDS = {"VEHICLE": 0.7, "PEDESTRIAN": 0.5, "SIGN": 0.5, "CYCLIST": 0.5}
MEAN = "ALL_NS"                                            # the leaderboard's, over all but signs
MEAN_OF = ("VEHICLE", "PEDESTRIAN", "CYCLIST")
MATCHING = ("hungarian", "score_first")
COINCIDENT_BOXES = ("exact", "reference")
HARD_POINTS = 5                                            # at most as many LiDAR points make a box LEVEL_2
_LEAST_THRESHOLD = 0.01
_FLAT_NAME = re.compile(r"(.+?)_(L[12]_\w+)$")


@dataclass(frozen=True, eq=False)
class ShardScores:
    """One shard at one level.

    Args:
        name: as the official tool prints it, ``OBJECT_TYPE_TYPE_VEHICLE_LEVEL_1``.
        tp: (101,) int64 true positives at each score cut-off, over all frames.
        fp: (101,) int64 false positives.
        fn: (101,) int64 ground truth that was not found.
        sum_ha: (101,) float64 sum of the heading accuracies of the true positives.
    """

    name: str
    tp: np.ndarray
    fp: np.ndarray
    fn: np.ndarray
    sum_ha: np.ndarray

    @cached_property
    def ap(self) -> float:
        """Average precision."""
        precision, recall = precision_and_recall(self.tp, self.fp, self.fn)
        return average_precision(recall, precision)

    @cached_property
    def aph(self) -> float:
        """Average precision weighted by heading accuracy."""
        precision, recall = precision_and_recall(self.tp, self.fp, self.fn, self.sum_ha)
        return average_precision(recall, precision)

    def columns(self) -> dict[str, float]:
        """The averages by name."""
        return {"AP": self.ap, "APH": self.aph}

    @property
    def short_name(self) -> str:
        """Name without the repetitions: ``VEHICLE_L1``, ``RANGE_VEHICLE_[0, 30)_L1``.

        ``SIGN_L1`` is a shard of two breakdowns, with the same objects and so the same scores.
        """
        return self.name.removeprefix("OBJECT_TYPE_").replace("TYPE_", "").replace("LEVEL_", "L")


@dataclass(frozen=True, eq=False)
class WaymoScores:
    """All shards of the breakdowns that were asked for, in the official order.

    Args:
        shards: LEVEL_1 and LEVEL_2 of each shard in turn.
        num_frames: frames that predictions or ground truth speak of.
        num_ground_truth: boxes left by the preparation.
        num_predictions: boxes.
    """

    shards: tuple[ShardScores, ...]
    num_frames: int
    num_ground_truth: int
    num_predictions: int

    def __getitem__(self, name: str) -> ShardScores:
        """A shard by its official name."""
        return self._by_name[name]

    def flat(self) -> dict[str, float]:
        """One number a name: ALL_NS_L1_AP, ALL_NS_L1_APH, ..., VEHICLE_L1_AP, ..., RANGE_VEHICLE_[0, 30)_L1_AP, ...

        ALL_NS is the mean over vehicles, pedestrians and cyclists; it is there if object types were asked for.
        """
        rows = {shard.short_name: shard.columns() for shard in self.shards}
        means = {}
        for level in LEVELS:
            of_types = [rows[key] for name in MEAN_OF if (key := f"{name}_L{level}") in rows]
            if len(of_types) == len(MEAN_OF):
                means[f"{MEAN}_L{level}"] = {
                    column: float(np.mean([row[column] for row in of_types])) for column in of_types[0]
                }
        return {f"{name}_{column}": value for name, row in (means | rows).items() for column, value in row.items()}

    def table(self, title: str = "Waymo 3D detection") -> Table:
        """A rich table: a line a shard, then the leaderboard's mean."""
        return waymo_table(self.flat(), title)

    @cached_property
    def _by_name(self) -> dict[str, ShardScores]:
        return {shard.name: shard for shard in self.shards}


def evaluate_waymo(
    ground_truth: WaymoObjects,
    predictions: WaymoObjects,
    *,
    box_type: str = "3d",
    matching: str = "hungarian",
    breakdowns: Sequence[str] = ("object_type", "range"),
    iou_thresholds: Mapping[str, float] | None = None,
    prepare: bool = True,
    coincident_boxes: str = "exact",
    reference_index_quirk: bool = False,
) -> WaymoScores:
    """Score predictions against ground truth.

    Args:
        ground_truth: true boxes; frames without any count if predictions speak of them.
        predictions: scored boxes; a score below 0 never counts.
        box_type: "3d", or "2d" for what is seen from above.
        matching: "hungarian" as the leaderboard, or "score_first".
        breakdowns: names of `breakdowns.BREAKDOWNS`, in capitals or not.
        iou_thresholds: by type, in place of 0.7 for vehicles and 0.5 for the others.
        prepare: do to the ground truth what the official command-line tool does, see `prepare_ground_truth`.
        coincident_boxes: "reference" repeats the official tool's mistake about coincident boxes, for Waymo's example
            files only, see `coincident`.
        reference_index_quirk: with "score_first", repeats the official tool's confusion of places. Slow.

    Raises:
        ValueError: an unknown name, a threshold outside [0.01, 1], or no ground truth with points.
    """
    for name, value, known in (
        ("box_type", box_type, BOX_TYPES), ("matching", matching, MATCHING),
        ("coincident_boxes", coincident_boxes, COINCIDENT_BOXES),
    ):
        if value not in known:
            raise ValueError(f"{name} must be one of {', '.join(known)}, got {value!r}")
    splits = [breakdown_named(name) for name in breakdowns]
    thresholds = thresholds_by_type({**IOU_THRESHOLDS, **(iou_thresholds or {})})
    objects = FramedObjects.of(prepare_ground_truth(ground_truth) if prepare else ground_truth, predictions)
    _warn_of_mismatch(objects)
    overlaps = overlapping_pairs(objects, box_type=box_type, coincident_boxes=coincident_boxes)
    candidates = _candidates(objects, overlaps, thresholds)
    shards: list[ShardScores] = []
    for split in splits:
        counts = count_shards(
            objects, overlaps, candidates, split, matching=matching, reference_index_quirk=reference_index_quirk
        )
        shards += [
            ShardScores(name, tp, fp, fn, values[:, 0]) for name, tp, fp, fn, values in shard_rows(split, counts)
        ]
    return WaymoScores(tuple(shards), objects.num_frames, len(objects.truths), len(predictions))


def prepare_ground_truth(ground_truth: WaymoObjects) -> WaymoObjects:
    """What the official command-line tool does before it counts.

    Boxes without LiDAR points are left out. A box whose difficulty is not annotated is LEVEL_2 if it has at most five
    points, else LEVEL_1.

    Raises:
        ValueError: there are boxes, and none has points: the result would be 0 everywhere.
    """
    has_points = ground_truth.num_points > 0
    if len(ground_truth) and not has_points.any():
        raise ValueError(
            f"ground_truth: none of the {len(ground_truth)} objects has num_lidar_points_in_box > 0, so none would "
            "count and every score would be 0: write the numbers of points into the file, or pass prepare=False"
        )
    kept = ground_truth[has_points]
    by_points = np.where(kept.num_points <= HARD_POINTS, 2, 1)
    return replace(kept, difficulty=np.where(kept.difficulty == 0, by_points, kept.difficulty))


def thresholds_by_type(named: Mapping[str, float]) -> np.ndarray:
    """(5,) float32 by number of the type, from a threshold for each type by name; that of no type is never reached.

    Raises:
        ValueError: an unknown type, or a threshold outside [0.01, 1].
    """
    unknown = sorted(set(named) - set(TYPES))
    if unknown:
        raise ValueError(f"iou_thresholds must be of {', '.join(TYPES)}, got {unknown[0]!r}")
    for name, value in named.items():
        if not _LEAST_THRESHOLD <= value <= 1:
            raise ValueError(f"iou_thresholds must lie in [{_LEAST_THRESHOLD}, 1], got {value} for {name}")
    return np.array([np.inf, *(named[name] for name in TYPES)], np.float32)


def waymo_table(metrics: Mapping[str, float], title: str = "Waymo 3D detection") -> Table:
    """A rich table of flat metrics (with or without a ``prefix/``): a line a shard, then the leaderboard's mean."""
    from rich.table import Table

    rows: dict[str, dict[str, float]] = {}
    for key, value in metrics.items():
        if match := _FLAT_NAME.match(key.rsplit("/", 1)[-1]):
            rows.setdefault(match[1], {})[match[2]] = value
    columns = list(dict.fromkeys(column for row in rows.values() for column in row))
    table = Table(title=title)
    table.add_column("shard", no_wrap=True)
    for column in columns:
        table.add_column(column.replace("_", " "), justify="right")
    for name in sorted(rows, key=lambda name: name == MEAN):                               # the mean comes last
        if name == MEAN:
            table.add_section()
        figures = [f"{rows[name][column]:.4f}" if column in rows[name] else "-" for column in columns]
        table.add_row(name, *figures, style="bold" if name == MEAN else None)
    return table


def _candidates(objects: FramedObjects, overlaps: Pairs, thresholds: np.ndarray) -> Candidates:
    pairs = overlaps[overlaps.iou >= thresholds[objects.predictions.types[overlaps.predictions]]]
    headings = objects.predictions.boxes[pairs.predictions, 6], objects.truths.boxes[pairs.truths, 6]
    return Candidates(pairs, weights_of(pairs.iou), heading_accuracy(*headings)[:, None])


def _warn_of_mismatch(objects: FramedObjects) -> None:
    """Say what makes every score 0 without being wrong."""
    if not len(objects.predictions) or not len(objects.truths):
        return
    predicted, true = np.unique(objects.prediction_frames), np.unique(objects.truth_frames)
    shared = len(np.intersect1d(predicted, true))
    if not shared:
        logger.warning(
            "none of the %d predicted frames has ground truth: names of drives, cameras or timestamps do not agree",
            len(predicted),
        )
    elif shared < len(predicted):
        logger.warning(
            "%d of %d predicted frames have no ground truth: all that was found there is false",
            len(predicted) - shared, len(predicted),
        )
    below = int((objects.predictions.scores < SCORE_CUTOFFS[0]).sum())
    if below:
        logger.warning("%d of %d scores are negative and never count", below, len(objects.predictions))
    if not objects.predictions.scores.any():
        logger.warning("all scores are 0: were they written?")
