"""Waymo LET-3D-AP: detection from cameras, with a tolerance along the line of sight."""

from __future__ import annotations

import argparse

from .scored_files import ScoredFiles
from .waymo import BREAKDOWNS, GROUND_TRUTH, PREDICTIONS, detection_plots, frame_notes

__all__ = ["GROUND_TRUTH", "PREDICTIONS", "add_arguments", "score"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Tolerances and breakdowns."""
    parser.add_argument(
        "--breakdowns", nargs="+", choices=BREAKDOWNS, default=["object_type", "range"], help="(object_type range)"
    )
    parser.add_argument("--tolerance", type=float, default=0.1, help="share of the distance (%(default)s)")
    parser.add_argument("--least-tolerance", type=float, default=0.5, metavar="M", help="of near objects (%(default)s)")
    parser.add_argument(
        "--alignment", choices=("nearest", "range"), default="nearest", help="where predictions are put (%(default)s)"
    )


def score(args: argparse.Namespace) -> ScoredFiles:
    """Score an Objects file; frames that only one file speaks of count.

    Raises:
        DataError: a file is absent or malformed, or no true box has points.
        ConfigError: a tolerance is not positive.
    """
    from perception.errors import ConfigError, DataError

    from ..waymo.let_3d_ap import evaluate_let_3d
    from ..waymo.objects_file import read_waymo_objects

    if not (args.tolerance > 0 and args.least_tolerance > 0):
        raise ConfigError(f"tolerances must be > 0, got {args.tolerance} and {args.least_tolerance} m")
    truth, predictions = read_waymo_objects(args.ground_truth), read_waymo_objects(args.predictions)
    try:
        scores = evaluate_let_3d(
            truth, predictions, breakdowns=args.breakdowns, tolerance=args.tolerance,
            least_tolerance_m=args.least_tolerance, alignment=args.alignment,
        )
    except ValueError as error:
        raise DataError(args.ground_truth, "objects", "true boxes that can be scored", error) from error
    title = "Waymo LET-3D-AP"
    return ScoredFiles(
        title, scores.flat(), scores.table(title), frame_notes(truth, predictions),
        lambda: detection_plots(scores, truth, predictions),
    )
