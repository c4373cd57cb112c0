"""nuScenes lidarseg: IoU of the classes of points."""

from __future__ import annotations

import argparse
import math

from .scored_files import Breakdown, ScoredFiles, ScorePlots, plain_table

PREDICTIONS = "folder of results with lidarseg/SPLIT/TOKEN_lidarseg.bin"
GROUND_TRUTH = "the data root"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Version and split."""
    parser.add_argument("--version", default="v1.0-trainval", help="of the root (%(default)s)")
    parser.add_argument("--split", default="val", help="samples that are scored (%(default)s)")


def score(args: argparse.Namespace) -> ScoredFiles:
    """Score a folder of results. Raises DataError if a file is absent or malformed, or does not fit the root."""
    from perception.datasets.nuscenes_lidarseg import CHALLENGE_CLASSES

    from ..nuscenes_point_results import evaluate_lidarseg_root

    scores = evaluate_lidarseg_root(args.ground_truth, args.version, args.split, args.predictions)
    by_class = dict(zip(CHALLENGE_CLASSES[1:], map(float, scores.iou[1:]), strict=True))
    metrics = {"mIoU": scores.miou, "fwIoU": scores.fwiou}
    metrics |= {f"{name}_IoU": value for name, value in by_class.items()}
    title = "nuScenes lidarseg"
    breakdown = Breakdown("IoU by class", ("IoU",), {name: [value] for name, value in by_class.items()})
    return ScoredFiles(
        title, {name: value for name, value in metrics.items() if not math.isnan(value)},
        plain_table(title, ("class", "IoU"), [*by_class.items(), ("mean", scores.miou)]),
        plots=lambda: ScorePlots(breakdowns=[breakdown]),
    )
