"""nuScenes detection: NDS, mAP and the five errors of a results file.

The truth is a data root, or one JSON file {"ground_truth": {SAMPLE: [box with num_pts, ...]}, "ego_translation_global":
{SAMPLE: [x, y, z]}, "bicycle_racks": {SAMPLE: [...]}} with boxes as in a results file.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .scored_files import ScoredFiles, ScorePlots

if TYPE_CHECKING:
    import numpy as np

    from ..detection.nuscenes_boxes import NuScenesBoxes
    from ..detection.nuscenes_filters import Surroundings
    from ..nuscenes_detection import NuScenesScores
    from .matched_boxes import BoxColumns

PREDICTIONS = "the results file, JSON"
GROUND_TRUTH = "the data root, or a JSON file of the truth"
GROUP_EDGES_M = (0.0, 10.0, 20.0, 30.0, 40.0, 50.0)
VISIBILITY = ("0-40 %", "40-60 %", "60-80 %", "80-100 %")     # tokens "1" to "4" of the tables
CURVE_DISTANCE = "2.0"                                        # metres, as curves are named
PERIODS = {"barrier": math.pi, "traffic_cone": math.nan}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Backend, version and split."""
    parser.add_argument("--backend", choices=("fast", "official"), default="fast", help="whose code (%(default)s)")
    parser.add_argument("--version", default="v1.0-trainval", help="of the root (%(default)s)")
    parser.add_argument("--split", default="val", help="samples that are scored, all of them (%(default)s)")


def score(args: argparse.Namespace) -> ScoredFiles:
    """Score a results file, which must have the samples of the split and no others, as on the server.

    Raises:
        DataError: a file or table is absent or malformed, or the samples differ.
    """
    from perception.errors import DataError

    from ..nuscenes_detection import evaluate_nuscenes, evaluate_nuscenes_root, nuscenes_table

    if args.ground_truth.is_dir():
        scores = evaluate_nuscenes_root(
            args.ground_truth, args.version, args.split, args.predictions, backend=args.backend
        )
    else:
        truth, predictions = _truth_file(args.ground_truth), _results(args.predictions)
        try:
            scores = evaluate_nuscenes(
                truth["ground_truth"], predictions, truth["ego_translation_global"], truth["bicycle_racks"],
                backend=args.backend,
            )
        except ValueError as error:
            raise DataError(args.predictions, "results", f"boxes of {args.ground_truth}", error) from error
    flat = scores.flat()
    notes = [f"{scores.num_predictions} predictions and {scores.num_ground_truth} true boxes are within range."]
    return ScoredFiles(
        "nuScenes detection", flat, nuscenes_table(flat), notes, lambda: _plots(args, scores)
    )


def _results(path: Path) -> Mapping[str, Any]:
    """The rows by sample; `evaluate_nuscenes` checks them."""
    from ..detection.nuscenes_files import ResultsFile

    return dict(ResultsFile(path).samples())


def _truth_file(path: Path) -> dict[str, Any]:
    from perception.errors import DataError

    from ..json_files import read_json_object

    fields = ("ground_truth", "ego_translation_global", "bicycle_racks")
    content = read_json_object(path, "true boxes, if it is no data root")
    for field in fields[:2]:
        if not isinstance(content.get(field), dict):
            raise DataError(path, field, "an object by sample token", "none")
    return {"bicycle_racks": {}, **{field: content[field] for field in fields if field in content}}


def _plots(args: argparse.Namespace, scores: NuScenesScores) -> ScorePlots:
    import numpy as np

    from ..detection.nuscenes_boxes import NuScenesBoxes, with_known_velocity
    from ..detection.nuscenes_config import NuScenesConfig
    from ..detection.nuscenes_files import read_nuscenes_boxes
    from ..detection.nuscenes_filters import Surroundings, boxes_that_count
    from ..detection.nuscenes_truth import read_nuscenes_truth
    from ..nuscenes_results import DETECTION_NAMES
    from .matched_boxes import MatchedBoxes

    levels = None
    if args.ground_truth.is_dir():
        truth, surroundings = read_nuscenes_truth(args.ground_truth, args.version, args.split)
        levels = _levels(args.ground_truth / args.version, truth)
    else:
        content = _truth_file(args.ground_truth)
        rows = {token: list(map(with_known_velocity, boxes)) for token, boxes in content["ground_truth"].items()}
        truth = NuScenesBoxes.from_rows(rows)
        surroundings = Surroundings.from_rows(content["ego_translation_global"], content["bicycle_racks"])
    predictions, _ = read_nuscenes_boxes(args.predictions)
    class_range = NuScenesConfig().class_range
    columns = [
        _columns(boxes, boxes_that_count(boxes, surroundings, class_range), surroundings, levels_of)
        for boxes, levels_of in ((truth, levels), (predictions, None))
    ]
    named = {name: scores.curves.get(f"{name}:{CURVE_DISTANCE}") for name in DETECTION_NAMES}
    curves = {name: np.asarray(curve["precision"]) for name, curve in named.items() if curve}
    matched = MatchedBoxes(columns[0], columns[1], DETECTION_NAMES, PERIODS)
    return matched.plots(
        GROUP_EDGES_M, VISIBILITY, {f"precision over recall, centres within {CURVE_DISTANCE} m": curves}
    )


def _columns(
    boxes: NuScenesBoxes, counted: np.ndarray, surroundings: Surroundings, levels: np.ndarray | None
) -> BoxColumns:
    """The boxes that count, in global coordinates."""
    import numpy as np

    from .matched_boxes import BoxColumns

    number = {token: place for place, token in enumerate(surroundings.tokens)}
    frames = np.array([number[token] for token in boxes.tokens], np.int64)[boxes.sample][counted]
    w, x, y, z = boxes.rotation[counted].T
    yaw = np.arctan2(2 * (w * z + x * y), w * w + x * x - y * y - z * z)
    centers = boxes.translation[counted]
    return BoxColumns(
        frames, boxes.label[counted].astype(np.int64),
        np.column_stack([centers, boxes.size[counted][:, [1, 0, 2]], yaw, boxes.velocity[counted]]),
        np.linalg.norm(centers[:, :2] - surroundings.ego_xy[frames], axis=1),
        boxes.score[counted], None if levels is None else levels[counted],
    )


def _levels(tables: Path, truth: NuScenesBoxes) -> np.ndarray:
    """(N,) int64 place in `VISIBILITY`, -1 where it is unknown; a box is known again by its sample and its centre."""
    import numpy as np

    from ..nuscenes_root import read_table

    visible = {
        (record["sample_token"], *map(float, record["translation"])): str(record.get("visibility_token", ""))
        for record in read_table(tables, "sample_annotation")
    }
    tokens = [truth.tokens[sample] for sample in truth.sample.tolist()]
    keys = zip(tokens, truth.translation.tolist(), strict=True)
    known = {str(place): place - 1 for place in range(1, len(VISIBILITY) + 1)}
    return np.array([known.get(visible.get((token, *center), ""), -1) for token, center in keys], np.int64)
