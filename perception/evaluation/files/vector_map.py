"""Vector maps: average precision of dividers, crossings and boundaries."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .scored_files import Breakdown, ScoredFiles, ScorePlots

if TYPE_CHECKING:
    from ..maps.elements import MapElements
    from ..maps.vector_map_ap import VectorMapScores

PREDICTIONS = "results_map.json of tools/test.py"
GROUND_TRUTH = "a file of the same form, without scores, or a nuScenes root or the sensor folder of Argoverse 2"
DATASETS = {"nuscenes": "NuScenesDataset", "argoverse2": "Argoverse2Dataset"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Rules of the score, and what is true where the truth is a root."""
    parser.add_argument(
        "--convention", choices=("vectormapnet", "maptr", "maptrv2", "streammapnet"), default="maptr",
        help="whose rules (%(default)s)",
    )
    parser.add_argument(
        "--thresholds", choices=("standard", "hard", "long_range"), default="standard", help="distances (%(default)s)"
    )
    parser.add_argument(
        "--measure", choices=("chamfer", "frechet", "near_share", "iou"), default="chamfer", help="(%(default)s)"
    )
    parser.add_argument("--dim", type=int, choices=(2, 3), default=2, help="coordinates (%(default)s)")
    parser.add_argument("--dataset", choices=tuple(DATASETS), default="nuscenes", help="kind of root (%(default)s)")
    parser.add_argument("--version", default="v1.0-trainval", help="of a nuScenes root (%(default)s)")
    parser.add_argument("--split", default="val", help="frames of a root that are scored (%(default)s)")
    parser.add_argument("--index", type=Path, metavar="FILE", help="of a root, if it does not lie in it")
    parser.add_argument(
        "--region", type=float, nargs=4, default=(-30.0, -15.0, 30.0, 15.0), metavar=("X0", "Y0", "X1", "Y1"),
        help="part of a root's map that counts [m] (-30 -15 30 15)",
    )


def score(args: argparse.Namespace) -> ScoredFiles:
    """Score a file of map elements; frames without predictions count as empty.

    Raises:
        DataError: a file is absent or malformed, or predictions are of a frame or class that is not in the truth.
    """
    from perception.errors import DataError, suggestion

    from ..json_files import refuse_other_than_object
    from ..maps.vector_map_ap import evaluate_by_token
    from ..vector_map import vector_map_table
    from ..vector_map_results import read_vector_map_results

    refuse_other_than_object(args.predictions, "map elements")
    predictions, named = read_vector_map_results(args.predictions)
    if args.ground_truth.is_dir():
        truth, classes = _truth_of_root(args)
    else:
        truth, classes = read_vector_map_results(args.ground_truth, is_truth=True)
    for name in named:
        if name not in classes:
            known = f"some of {', '.join(classes)}{suggestion(name, classes)}"
            raise DataError(args.predictions, "classes", known, name)
    labels = [classes.index(name) for name in named]
    own = {token: _relabelled(elements, labels) for token, elements in predictions.items()}
    try:
        scores = evaluate_by_token(
            truth, own, classes=classes, thresholds=args.thresholds, convention=args.convention,
            measure=args.measure, dim=args.dim,
        )
    except ValueError as error:
        raise DataError(args.predictions, "frames", f"maps to be scored with {args.ground_truth}", error) from error
    flat, missing = scores.flat(), len(set(truth) - set(own))
    notes = [f"{missing} of {len(truth)} frames have no predictions: they count as empty."] if missing else []
    title = f"Vector map, average precision ({args.convention}, {args.measure})"
    return ScoredFiles(title, flat, vector_map_table(flat, title), notes, lambda: _plots(scores))


def _relabelled(elements: MapElements, labels: list[int]) -> MapElements:
    """Elements whose label n becomes the n-th of ``labels``."""
    from dataclasses import replace

    import numpy as np

    return replace(elements, labels=np.array(labels, np.int64)[elements.labels]) if len(elements) else elements


def _truth_of_root(args: argparse.Namespace) -> tuple[Mapping[str, MapElements], tuple[str, ...]]:
    """The maps around all frames of a split; points and pictures are not read."""
    from perception.datasets.index import pose_from_row
    from perception.datasets.loaders import dataset_class
    from perception.structures.vector_map import MAP_CLASSES

    from ..maps.elements import MapElements

    window = {"region": tuple(args.region), "dim": args.dim}
    options: dict[str, Any] = {"index": args.index, "num_sweeps": 0, "map": window}
    if args.dataset == "nuscenes":
        options["version"] = args.version
    build: Any = dataset_class(DATASETS[args.dataset])
    dataset = build(args.ground_truth, split=args.split, **options)
    truth = {}
    for index, token in enumerate(dataset.frame_tokens):
        record = dataset.record(index)
        local = dataset.local_map(record, pose_from_row(record.lidar.global_from_ego))
        truth[token] = MapElements.from_polylines(local.lines, local.labels.numpy())
    return truth, MAP_CLASSES


def _plots(scores: VectorMapScores) -> ScorePlots:
    """A curve for each class and threshold, and the precisions by threshold."""
    import numpy as np

    from .matched_boxes import precision_at_recalls

    groups = [f"{value}{f' {scores.unit}' if scores.unit else ''}" for value in scores.thresholds]
    values = {name: list(map(float, row)) for name, row in zip(scores.classes, scores.ap, strict=True)}
    curves: dict[str, dict[str, np.ndarray]] = {f"precision over recall, within {group}": {} for group in groups}
    found = scores.predictions
    assert found is not None                               # the evaluation tells them
    for label, name in enumerate(scores.classes):
        own = np.flatnonzero(found.labels == label)
        best = own[np.argsort(-found.scores[own], kind="stable")]
        for column, by_class in enumerate(curves.values()):
            if scores.num_truth[label]:
                by_class[name] = precision_at_recalls(found.hits[best, column], int(scores.num_truth[label]))
    curves = {title: by_class for title, by_class in curves.items() if by_class}
    return ScorePlots(curves, breakdowns=[Breakdown("AP by threshold", groups, values)])
