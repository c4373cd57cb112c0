"""Argoverse 2 detection: AP, ATE, ASE, AOE and CDS of a submission."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from .scored_files import ScoredFiles, ScorePlots

if TYPE_CHECKING:
    import pandas as pd

    from ..argoverse2_detection import Argoverse2Scores
    from .matched_boxes import BoxColumns

PREDICTIONS = "the submission, a feather file"
GROUND_TRUTH = "a split folder such as sensor/val, or a feather file of labels with a column log_id"
ANNOTATIONS = "annotations.feather"
CURVE_DISTANCE_M = 2.0
GROUP_EDGES_M = (0.0, 25.0, 50.0, 100.0, 150.0)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Backend, region of interest and range."""
    parser.add_argument("--backend", choices=("fast", "official"), default="fast", help="whose code (%(default)s)")
    parser.add_argument("--maps", type=Path, metavar="FOLDER", help="split folder of maps and poses, for a label file")
    parser.add_argument("--no-roi", action="store_true", help="count boxes off the roads too")
    parser.add_argument("--max-range", type=float, default=150.0, metavar="M", help="range that counts (%(default)s m)")


def score(args: argparse.Namespace) -> ScoredFiles:
    """Score a submission; sweeps without detections count, as do detections in sweeps without labels.

    Raises:
        DataError: a file is absent or malformed, or a log of the submission is unknown.
        ConfigError: the region of interest is asked for and nothing says where the maps are.
    """
    from perception.errors import ConfigError, DataError

    from ..argoverse2_detection import argoverse2_table, evaluate_argoverse2

    split_dir = args.maps or (args.ground_truth if args.ground_truth.is_dir() else None)
    if split_dir is None and not args.no_roi:
        raise ConfigError(f"{args.ground_truth}: the region of interest needs maps: give --maps FOLDER, or --no-roi")
    detections, labels = _table(args.predictions, "score", True), _labels(args.ground_truth)
    unknown = sorted(set(detections["log_id"]) - set(labels["log_id"]))
    if unknown and args.ground_truth.is_dir():
        raise DataError(args.predictions, "log_id", f"logs of {args.ground_truth}", unknown[0])
    try:
        scores = evaluate_argoverse2(
            detections, labels, split_dir=split_dir, only_roi=not args.no_roi, max_range_m=args.max_range,
            backend=args.backend,
        )
    except ValueError as error:
        raise DataError(args.predictions, "table", "detections that can be scored", error) from error
    flat = scores.flat()
    title = "Argoverse 2 detection"
    return ScoredFiles(title, flat, argoverse2_table(flat, title), _notes(scores), lambda: _plots(scores))


def _labels(path: Path) -> pd.DataFrame:
    import pandas as pd

    from perception.errors import DataError

    if not path.is_dir():
        return _table(path, "num_interior_pts", True)
    tables = [
        _table(folder / ANNOTATIONS, "num_interior_pts", False).assign(log_id=folder.name)
        for folder in sorted(path.iterdir()) if (folder / ANNOTATIONS).is_file()
    ]
    if not tables:
        raise DataError(path, "folder", f"folders of logs with {ANNOTATIONS}", "none")
    return pd.concat(tables, ignore_index=True)


def _table(path: Path, last: str, has_log: bool) -> pd.DataFrame:
    from perception.datasets.argoverse2_log import read_table

    from ..argoverse2_results import BOX_COLUMNS

    names = ("timestamp_ns", "category", *BOX_COLUMNS, last, *(["log_id"] if has_log else []))
    return read_table(path, names).to_pandas()


def _notes(scores: Argoverse2Scores) -> list[str]:
    """What of the files does not count, or counts as missed."""
    keys = ["log_id", "timestamp_ns"]
    found, true = (
        set(table[keys].itertuples(index=False, name=None)) for table in (scores.detections, scores.labels)
    )
    notes = []
    if true - found:
        notes.append(f"{len(true - found)} of {len(true)} labelled sweeps have no detections: they count as empty.")
    if found - true:
        notes.append(f"{len(found - true)} sweeps of the detections have no labels: what is found there is false.")
    names = scores.detections["category"]
    unscored = int((~names.isin(scores.metrics.index)).sum())
    if unscored:
        notes.append(f"{unscored} detections are of categories that are not scored, as on the server.")
    return notes


def _plots(scores: Argoverse2Scores) -> ScorePlots:
    import numpy as np

    from .matched_boxes import MatchedBoxes, precision_at_recalls

    classes = tuple(scores.categories_with_labels())
    sweeps = {key: number for number, key in enumerate(sorted({
        *scores.detections[["log_id", "timestamp_ns"]].itertuples(index=False, name=None),
        *scores.labels[["log_id", "timestamp_ns"]].itertuples(index=False, name=None),
    }))}
    curves = {}
    for name in classes:
        own = scores.detections[(scores.detections["category"] == name) & (scores.detections["is_evaluated"] == 1)]
        best = np.argsort(-own["score"].to_numpy(), kind="stable")
        true = (scores.labels["category"] == name) & (scores.labels["is_evaluated"] == 1)
        curves[name] = precision_at_recalls(own[CURVE_DISTANCE_M].to_numpy()[best] > 0, int(true.sum()))
    matched = MatchedBoxes(
        _columns(scores.labels, sweeps, classes), _columns(scores.detections, sweeps, classes), classes
    )
    return matched.plots(GROUP_EDGES_M, curves={f"precision over recall, within {CURVE_DISTANCE_M} m": curves})


def _columns(table: pd.DataFrame, sweeps: dict[tuple[str, int], int], classes: tuple[str, ...]) -> BoxColumns:
    """The boxes that count, of these classes."""
    import numpy as np

    from .matched_boxes import BoxColumns

    own = table[(table["is_evaluated"] == 1) & table["category"].isin(classes)]
    w, x, y, z = own[["qw", "qx", "qy", "qz"]].to_numpy(np.float64).T
    yaw = np.arctan2(2 * (w * z + x * y), 1 - 2 * (y * y + z * z))
    sizes = own[["tx_m", "ty_m", "tz_m", "length_m", "width_m", "height_m"]].to_numpy(np.float64)
    unknown = np.full((len(own), 2), np.nan)
    keys = own[["log_id", "timestamp_ns"]].itertuples(index=False, name=None)
    return BoxColumns(
        np.array([sweeps[key] for key in keys], np.int64),
        own["category"].map({name: label for label, name in enumerate(classes)}).to_numpy(np.int64),
        np.column_stack([sizes, yaw, unknown]),
        np.linalg.norm(sizes[:, :3], axis=1),
        own["score"].to_numpy(np.float64) if "score" in own else None,
    )
