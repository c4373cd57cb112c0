"""nuScenes panoptic: panoptic quality of points, and that of their tracks."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from .scored_files import Breakdown, ScoredFiles, ScorePlots, plain_table

if TYPE_CHECKING:
    from ..segmentation.lidar_panoptic import LidarPanopticScores

PREDICTIONS = "folder of results with panoptic/SPLIT/TOKEN_panoptic.npz"
GROUND_TRUTH = "the data root"
COLUMNS = ("PQ", "SQ", "RQ", "IoU")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Version, split and whether tracks are scored."""
    parser.add_argument("--version", default="v1.0-trainval", help="of the root (%(default)s)")
    parser.add_argument("--split", default="val", help="samples that are scored (%(default)s)")
    parser.add_argument("--tracking", action="store_true", help="score the numbers of instances over scenes too")


def score(args: argparse.Namespace) -> ScoredFiles:
    """Score a folder of results. Raises DataError if a file is absent or malformed, or does not fit the root."""
    from ..nuscenes_point_results import evaluate_panoptic_root, evaluate_tracking_root

    where = (args.ground_truth, args.version, args.split, args.predictions)
    title = "nuScenes panoptic tracking" if args.tracking else "nuScenes panoptic"
    if args.tracking:
        tracking = evaluate_tracking_root(*where)
        quality, metrics = tracking.panoptic, tracking.summary()
    else:
        quality = evaluate_panoptic_root(*where)
        metrics = quality.means()
    by_class = _by_class(quality)
    for name, values in by_class.items():
        metrics |= {f"{name}_{column}": value for column, value in zip(COLUMNS, values, strict=True)}
    means = quality.means()
    rows = [*([name, *values] for name, values in by_class.items())]
    rows.append(["mean", *(means[name] for name in ("PQ", "SQ", "RQ", "mIoU"))])
    notes = [f"{name} {value:.4f}." for name, value in metrics.items() if name in ("PAT", "LSTQ", "PTQ", "sPTQ")]
    return ScoredFiles(
        title, metrics, plain_table(title, ("class", *COLUMNS), rows), notes,
        plots=lambda: ScorePlots(breakdowns=[Breakdown("quality by class", COLUMNS, by_class)]),
    )


def _by_class(quality: LidarPanopticScores) -> dict[str, list[float]]:
    """PQ, SQ, RQ and IoU by class, without the ignored one."""
    from perception.datasets.nuscenes_lidarseg import CHALLENGE_CLASSES

    columns = (quality.pq, quality.sq, quality.rq, quality.iou)
    return {
        name: [float(column[code]) for column in columns] for code, name in enumerate(CHALLENGE_CLASSES) if code
    }
