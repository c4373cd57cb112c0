"""Waymo 3D detection: AP and APH at LEVEL_1 and LEVEL_2 of an Objects file."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from .scored_files import ScoredFiles, ScorePlots

if TYPE_CHECKING:
    import numpy as np

    from ..waymo.detection import ShardScores, WaymoScores
    from ..waymo.objects import WaymoObjects
    from .matched_boxes import BoxColumns

PREDICTIONS = "the submission, a serialized Objects message"
GROUND_TRUTH = "the truth, a serialized Objects message with the numbers of LiDAR points"
BREAKDOWNS = ("object_type", "range", "one_shard", "all_but_sign", "size", "velocity")
GROUP_EDGES_M = (0.0, 15.0, 30.0, 50.0, 75.0)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Boxes, matching and breakdowns."""
    parser.add_argument("--box-type", choices=("3d", "2d"), default="3d", help="boxes, or from above (%(default)s)")
    parser.add_argument(
        "--matching", choices=("hungarian", "score_first"), default="hungarian", help="(%(default)s)"
    )
    parser.add_argument(
        "--breakdowns", nargs="+", choices=BREAKDOWNS, default=["object_type", "range"], help="(object_type range)"
    )
    parser.add_argument(
        "--coincident-boxes", choices=("exact", "reference"), default="exact",
        help="repeat the official tool's mistake about boxes in one place, for Waymo's example files (%(default)s)",
    )


def score(args: argparse.Namespace) -> ScoredFiles:
    """Score an Objects file; frames that only one file speaks of count.

    Raises:
        DataError: a file is absent or malformed, or no true box has points.
    """
    from perception.errors import DataError

    from ..waymo.detection import evaluate_waymo
    from ..waymo.objects_file import read_waymo_objects

    truth, predictions = read_waymo_objects(args.ground_truth), read_waymo_objects(args.predictions)
    try:
        scores = evaluate_waymo(
            truth, predictions, box_type=args.box_type, matching=args.matching, breakdowns=args.breakdowns,
            coincident_boxes=args.coincident_boxes,
        )
    except ValueError as error:
        raise DataError(args.ground_truth, "objects", "true boxes that can be scored", error) from error
    title = f"Waymo {args.box_type} detection, {args.matching} matching"
    return ScoredFiles(
        title, scores.flat(), scores.table(title), frame_notes(truth, predictions),
        lambda: detection_plots(scores, truth, predictions),
    )


def frame_notes(truth: WaymoObjects, predictions: WaymoObjects) -> list[str]:
    """What counts as missed or false for want of a frame in the other file."""
    import numpy as np

    from ..waymo.objects import frame_numbers

    (true, found), count = frame_numbers(truth, predictions)
    without_predictions, without_truth = (count - len(np.unique(frames)) for frames in (found, true))
    notes = []
    if without_predictions:
        notes.append(f"{without_predictions} of {count} frames have no predictions: their boxes are missed.")
    if without_truth:
        notes.append(f"{without_truth} of {count} frames have no true boxes: what is found there is false.")
    return notes


def detection_plots(scores: WaymoScores, truth: WaymoObjects, predictions: WaymoObjects) -> ScorePlots:
    from ..waymo.detection import prepare_ground_truth
    from ..waymo.objects import TYPES, frame_numbers
    from .matched_boxes import MatchedBoxes

    curves: dict[str, dict[str, np.ndarray]] = {}
    for level in (1, 2):
        of_level = {shard.short_name: shard for shard in scores.shards if shard.short_name.endswith(f"_L{level}")}
        own = {name: _curve(of_level[f"{name}_L{level}"]) for name in TYPES if f"{name}_L{level}" in of_level}
        if own:
            curves[f"precision over recall, LEVEL_{level}"] = own
    kept = prepare_ground_truth(truth)
    (true, found), _ = frame_numbers(kept, predictions)
    matched = MatchedBoxes(_columns(kept, true, False), _columns(predictions, found, True), TYPES)
    return matched.plots(GROUP_EDGES_M, curves=curves)


def _curve(shard: ShardScores) -> np.ndarray:
    """(101,) highest precision at even recalls or further on, between the cut-offs by straight lines."""
    import numpy as np

    from ..waymo.average_precision import precision_and_recall
    from .matched_boxes import RECALLS

    precision, recall = precision_and_recall(shard.tp, shard.fp, shard.fn)
    order = np.lexsort((precision, recall))                # at equal recalls the best precision comes last
    highest = np.maximum.accumulate(precision[order][::-1])[::-1]
    return np.interp(RECALLS, recall[order], highest, right=0.0)


def _columns(objects: WaymoObjects, frames: np.ndarray, has_scores: bool) -> BoxColumns:
    import numpy as np

    from .matched_boxes import BoxColumns

    speed = objects.speed if objects.speed.any() else np.full((len(objects), 2), np.nan)       # zeros: not told
    return BoxColumns(
        frames, objects.types.astype(np.int64) - 1, np.column_stack([objects.boxes, speed]),
        np.linalg.norm(objects.boxes[:, :3], axis=1), objects.scores.astype(np.float64) if has_scores else None,
    )
