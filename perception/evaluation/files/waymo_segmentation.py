"""Waymo 3D semantic segmentation: IoU of the classes of the top LiDAR's pixels."""

from __future__ import annotations

import argparse

from .scored_files import Breakdown, ScoredFiles, ScorePlots, plain_table

PREDICTIONS = "the submission, a serialized SegmentationFrameList message"
GROUND_TRUTH = "the truth, a message of the same kind"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """There are no options."""


def score(args: argparse.Namespace) -> ScoredFiles:
    """Score a file of label maps; frames without predictions are missed whole, those without truth don't count.

    Raises:
        DataError: a file is absent or malformed, or maps of a frame do not fit each other.
    """
    from perception.errors import DataError

    from ..waymo.segmentation import evaluate_waymo_segmentation, read_waymo_segmentation

    truth, predictions = read_waymo_segmentation(args.ground_truth), read_waymo_segmentation(args.predictions)
    try:
        scores = evaluate_waymo_segmentation(truth, predictions)
    except ValueError as error:
        raise DataError(args.predictions, "frames", f"maps as in {args.ground_truth}", error) from error
    flat = scores.flat()
    by_class = {name.removesuffix("_IoU"): value for name, value in flat.items() if name.endswith("_IoU")}
    notes = []
    if scores.num_missing:
        notes.append(f"{scores.num_missing} of {scores.num_frames} frames have no predictions: they are missed.")
    if set(predictions) - set(truth):
        notes.append(f"{len(set(predictions) - set(truth))} predicted frames have no truth: they do not count.")
    title = "Waymo 3D semantic segmentation"
    breakdown = Breakdown("IoU by class", ("IoU",), {name: [value] for name, value in by_class.items()})
    return ScoredFiles(
        title, flat, plain_table(title, ("class", "IoU"), [*by_class.items(), ("mean", flat["mIoU"])]), notes,
        plots=lambda: ScorePlots(breakdowns=[breakdown]),
    )
