"""OpenLane-V2's scores of lane segments, areas and their connections, by the rules of devkit 2.1.

In each frame a prediction looks only at the nearest truth; by falling confidence it takes it if the distance is below
the threshold and nobody took it before. AP is the 11-point mean of the curve of all frames together; with neither truth
nor predictions in the whole set it is 1. Wang et al., NeurIPS 2023; Li et al., "LaneSegNet", ICLR 2024.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from perception.structures import LaneGraph
from perception.structures.vector_map import AREA_CLASSES

from .lane_distances import Lanes, area_points, lane_pair_distances
from .matching import Nearest, eleven_point_precision, pairs_of_groups
from .point_distances import chamfer_pairs
from .topology import vertex_precisions

LANE_THRESHOLDS_M = (1.0, 2.0, 3.0)
AREA_THRESHOLDS_M = (0.5, 1.0, 1.5)


@dataclass(frozen=True, eq=False)
class OpenLaneV2Scores:
    """Average precisions and the score of the connections.

    Args:
        ap_ls: (3,) of lane segments, by `LANE_THRESHOLDS_M`.
        ap_areas: (2, 3) of areas, by `AREA_CLASSES` and `AREA_THRESHOLDS_M`.
        top_lsls: mean average precision of the neighbours of all lanes, 0 if there is none.
    """

    ap_ls: np.ndarray
    ap_areas: np.ndarray
    top_lsls: float

    @property
    def ap_ped(self) -> np.ndarray:
        """(3,) of pedestrian crossings."""
        return self.ap_areas[AREA_CLASSES.index("ped_crossing")]

    @property
    def ap_boundary(self) -> np.ndarray:
        """(3,) of road boundaries."""
        return self.ap_areas[AREA_CLASSES.index("road_boundary")]

    @property
    def det_a(self) -> float:
        """DET_a: mean over both kinds of area and all thresholds."""
        return float(self.ap_areas.mean())

    @property
    def mean_ap(self) -> float:
        """mAP of LaneSegNet's tables: mean of lane segments and crossings."""
        return 0.5 * float(self.ap_ls.mean() + self.ap_ped.mean())

    def flat(self) -> dict[str, float]:
        """One number a name: mAP, DET_a, TOP_lsls, AP_ls, AP_ls_1.0m, ..., AP_ped, ..., AP_boundary, ..."""
        flat = {"mAP": self.mean_ap, "DET_a": self.det_a, "TOP_lsls": self.top_lsls}
        rows = (
            ("AP_ls", self.ap_ls, LANE_THRESHOLDS_M),
            ("AP_ped", self.ap_ped, AREA_THRESHOLDS_M),
            ("AP_boundary", self.ap_boundary, AREA_THRESHOLDS_M),
        )
        for name, row, thresholds in rows:
            flat[name] = float(row.mean())
            flat |= {f"{name}_{value}m": float(ap) for value, ap in zip(thresholds, row, strict=True)}
        return flat


def evaluate_openlanev2(truth: Sequence[LaneGraph], predictions: Sequence[LaneGraph]) -> OpenLaneV2Scores:
    """Score the lane graphs of some frames.

    Lane lines of other than 10 points are resampled first; outlines are compared by the vertices they have, see
    `prepared_truth`.

    Args:
        truth: one a frame.
        predictions: of the same frames in the same order, with ``scores`` and ``area_scores``.

    Raises:
        ValueError: the frames differ in number, a number is not finite, a label unknown, or a prediction has no scores.
    """
    if len(truth) != len(predictions):
        raise ValueError(f"predictions must be those of the {len(truth)} frames of truth, got {len(predictions)}")
    for name, graphs in (("truth", truth), ("predictions", predictions)):
        for number, graph in enumerate(graphs):
            _check(f"{name}[{number}]", graph, needs_scores=name == "predictions")
    if not truth:
        return OpenLaneV2Scores(np.ones(len(LANE_THRESHOLDS_M)), np.ones((2, len(AREA_THRESHOLDS_M))), 0.0)
    true, found = Lanes.of_graphs(truth), Lanes.of_graphs(predictions)
    pairs = pairs_of_groups(found.frames, true.frames)
    scores = np.concatenate([_column(graph.scores) for graph in predictions])
    nearest = Nearest.of_pairs(pairs, lane_pair_distances(found, true, pairs), scores)
    matches = [nearest.matched(threshold, is_strict=True) for threshold in LANE_THRESHOLDS_M]
    ap_ls = np.array([eleven_point_precision(scores, match >= 0, len(true.frames)) for match in matches])
    return OpenLaneV2Scores(ap_ls, _area_precisions(truth, predictions), _topology(truth, predictions, matches))


def uni_score(det_l: float, det_a: float, det_t: float, top_ll: float, top_lt: float) -> float:
    """UniScore: mean of the detection scores and of the square roots of the scores of connections, all in [0, 1].

    Args:
        det_l: of lane segments, ``AP_ls``.
        det_a: of areas.
        det_t: of traffic elements.
        top_ll: of the connections of lanes with lanes, ``TOP_lsls``.
        top_lt: of lanes with traffic elements.
    """
    return float(np.mean([det_l, det_a, det_t, math.sqrt(top_ll), math.sqrt(top_lt)]))


def _area_precisions(truth: Sequence[LaneGraph], predictions: Sequence[LaneGraph]) -> np.ndarray:
    """(2, 3) AP by class and threshold."""
    true, found = area_points(truth).without_closing_points(), area_points(predictions)
    labels, true_labels = (
        np.concatenate([_column(graph.area_labels).astype(np.int64) for graph in graphs])
        for graphs in (predictions, truth)
    )
    frames, true_frames = (
        np.repeat(np.arange(len(graphs)), [len(graph.areas) for graph in graphs]) for graphs in (predictions, truth)
    )
    pairs = pairs_of_groups(frames * len(AREA_CLASSES) + labels, true_frames * len(AREA_CLASSES) + true_labels)
    scores = np.concatenate([_column(graph.area_scores) for graph in predictions])
    nearest = Nearest.of_pairs(pairs, chamfer_pairs(found, true, pairs, max(AREA_THRESHOLDS_M)), scores)
    ap = np.zeros((len(AREA_CLASSES), len(AREA_THRESHOLDS_M)))
    for column, threshold in enumerate(AREA_THRESHOLDS_M):
        hits = nearest.matched(threshold, is_strict=True) >= 0
        for label in range(len(AREA_CLASSES)):
            own = labels == label
            ap[label, column] = eleven_point_precision(scores[own], hits[own], int((true_labels == label).sum()))
    return ap


def _topology(
    truth: Sequence[LaneGraph], predictions: Sequence[LaneGraph], matches: Sequence[np.ndarray]
) -> float:
    """TOP_lsls: mean over thresholds, frames, lanes and directions; ``matches`` are rows of all frames together."""
    first_found = np.cumsum([0, *(len(graph) for graph in predictions)])
    first_true = np.cumsum([0, *(len(graph) for graph in truth)])
    precisions = [np.zeros(0)]
    for match in matches:
        for number, (true, found) in enumerate(zip(truth, predictions, strict=True)):
            own = match[first_found[number] : first_found[number + 1]]
            own = np.where(own >= 0, own - first_true[number], -1)
            precisions.append(vertex_precisions(_column(true.connections), _column(found.connections), own, own))
    values = np.concatenate(precisions)
    return float(values.mean()) if len(values) else 0.0


def _check(place: str, graph: LaneGraph, needs_scores: bool) -> None:
    columns = {name: getattr(graph, name) for name in ("centers", "lefts", "rights", "connections")}
    columns["areas"] = graph.areas.vertices
    if needs_scores:
        columns |= {"scores": graph.scores, "area_scores": graph.area_scores}
    for name, column in columns.items():
        if column is None:
            raise ValueError(f"{place}.{name} must be given, got None")
        if not torch.isfinite(column).all():
            raise ValueError(f"{place}.{name} must be finite, got {int((~torch.isfinite(column)).sum())} that are not")
    labels = graph.area_labels
    if len(labels) and not 0 <= int(labels.min()) <= int(labels.max()) < len(AREA_CLASSES):
        raise ValueError(f"{place}.area_labels must lie in [0, {len(AREA_CLASSES)}), got {labels.tolist()}")


def _column(values: torch.Tensor | None) -> np.ndarray:
    """As float64; that there are scores has been seen by `_check`."""
    assert values is not None
    return values.detach().cpu().double().numpy()
