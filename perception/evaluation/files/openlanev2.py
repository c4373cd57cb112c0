"""OpenLane-V2: AP of lane segments and areas, and the score of their connections."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from .scored_files import ScoredFiles

if TYPE_CHECKING:
    from perception.structures import LaneGraph

PREDICTIONS = "results_openlanev2.json of tools/test.py"
GROUND_TRUTH = "the folder OpenLane-V2, or a file of the same form as the predictions"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Split, list of frames and how crossings are compared."""
    parser.add_argument("--split", default="val", help="frames that are scored (%(default)s)")
    parser.add_argument("--data-dict", default="data_dict_subset_A.json", help="list of the frames (%(default)s)")
    parser.add_argument(
        "--crossings", choices=("outline", "edges"), default="outline", help="as the devkit or as LaneSegNet compares"
    )


def score(args: argparse.Namespace) -> ScoredFiles:
    """Score a file of lanes; frames without predictions count as empty.

    Raises:
        DataError: a file is absent or malformed, or predictions are of a frame that is not in the truth.
    """
    from perception.errors import DataError

    from ..json_files import refuse_other_than_object
    from ..maps.lane_distances import prepared_truth
    from ..maps.openlanev2_ap import evaluate_openlanev2
    from ..openlanev2 import openlanev2_table
    from ..openlanev2_results import read_openlanev2_results

    refuse_other_than_object(args.predictions, "lanes")
    predictions = read_openlanev2_results(args.predictions)
    if args.ground_truth.is_dir():
        truth = _truth_of_root(args)
    else:
        truth = read_openlanev2_results(args.ground_truth)
    for token in predictions:
        if token not in truth:
            raise DataError(args.predictions, token, f"a frame of {args.ground_truth}", "none of this name")
    missing = [token for token in truth if token not in predictions]
    found = {token: predictions[token] if token in predictions else _nothing() for token in truth}
    try:
        prepared = [prepared_truth(graph, args.crossings) for graph in truth.values()]
        flat = evaluate_openlanev2(prepared, list(found.values())).flat()
    except ValueError as error:
        raise DataError(args.predictions, "results", "lanes that can be scored", error) from error
    notes = [f"{len(missing)} of {len(truth)} frames have no predictions: they count as empty."] if missing else []
    title = "OpenLane-V2, average precision"
    return ScoredFiles(title, flat, openlanev2_table(flat, title), notes)


def _truth_of_root(args: argparse.Namespace) -> dict[str, LaneGraph]:
    from perception.datasets.openlanev2 import OpenLaneV2Dataset
    from perception.errors import DataError

    dataset = OpenLaneV2Dataset(args.ground_truth, split=args.split, data_dict=args.data_dict)
    truth = {}
    for index, token in enumerate(dataset.frame_tokens):
        graph = dataset.load(index).lane_graph
        if graph is None:
            raise DataError(args.ground_truth, token, "an annotated frame", "none")
        truth[token] = graph
    return truth


def _nothing() -> LaneGraph:
    """No lanes and no areas, with scores."""
    import torch

    from perception.structures import LaneGraph, Polylines

    lines, types = torch.zeros(0, 10, 3, dtype=torch.float64), torch.zeros(0, dtype=torch.int64)
    none = torch.zeros(0, dtype=torch.float64)
    return LaneGraph(
        lines, lines, lines, types, types, torch.zeros(0, 0, dtype=torch.float64), Polylines.from_lines([], dim=3),
        types, none, none,
    )
