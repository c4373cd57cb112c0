"""Distances of OpenLane-V2's evaluation: lane segments by their three lines, areas by their outlines (devkit 2.1).

Wang et al., "OpenLane-V2", NeurIPS 2023; Li et al., "LaneSegNet", ICLR 2024. Everything in space, float64, metres.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from perception.structures import LaneGraph, Polylines
from perception.structures.vector_map import AREA_CLASSES

from .matching import pairs_of_groups
from .point_distances import PointSets, chamfer_pairs, frechet_pairs
from .resampling import resample_lines

LANE_POINTS = 10
AREA_POINTS = 20
UNMATCHED = 1024.0                                         # stands for "not compared" in a matrix of distances
CENTER_REACH_M = 3.0                                       # centre lines farther apart are not compared
RELAXATION_PER_M = 0.005                                   # distances shrink with the range, to no less than a half
LINES = ("centers", "lefts", "rights")


@dataclass(frozen=True, eq=False)
class Lanes:
    """Lane segments of one frame or of many.

    Args:
        lines: centre, left and right lines, each (N, 10, 3) points in driving direction.
        frames: (N,) int64 number of the frame of each.
    """

    lines: tuple[PointSets, PointSets, PointSets]
    frames: np.ndarray

    @classmethod
    def of_graphs(cls, graphs: Sequence[LaneGraph]) -> Lanes:
        """All lanes, in order."""
        lines = [PointSets.full(np.concatenate([_lane_points(graph, name) for graph in graphs])) for name in LINES]
        frames = np.repeat(np.arange(len(graphs)), [len(graph) for graph in graphs])
        return cls((lines[0], lines[1], lines[2]), frames)


def lane_pair_distances(found: Lanes, true: Lanes, pairs: np.ndarray) -> np.ndarray:
    """(K,) distances of (K, 2) pairs (prediction, truth); inf where the centre lines are 3 m apart or more.

    Half of Frechet(centres) + Chamfer(lefts) + Chamfer(rights), times `range_relaxation`; the 3 m hold for the relaxed
    Chamfer distance of the centre lines. A true line that is closed loses its last point in Chamfer distances.
    """
    distances = np.full(len(pairs), np.inf)
    relaxation = range_relaxation(true.lines[0].points)[pairs[:, 1]]
    opened = [line.without_closing_points() for line in true.lines]
    reach = chamfer_pairs(found.lines[0], opened[0], pairs, 2.0 * CENTER_REACH_M)        # relaxation halves at most
    rows = np.flatnonzero(reach * relaxation < CENTER_REACH_M)
    near = pairs[rows]
    total = frechet_pairs(found.lines[0], true.lines[0], near)
    for side in (1, 2):
        total += chamfer_pairs(found.lines[side], opened[side], near)
    distances[rows] = 0.5 * total * relaxation[rows]
    return distances


def range_relaxation(centers: np.ndarray) -> np.ndarray:
    """(N, 10, 3) true centre lines -> (N,) factor, 1 at the vehicle, 0.5 at a distance of 100 m and beyond."""
    if not len(centers):
        return np.ones(0)
    return np.maximum(0.5, 1.0 - RELAXATION_PER_M * np.linalg.norm(centers, axis=2).min(axis=1))


def lane_distances(truth: LaneGraph, prediction: LaneGraph) -> np.ndarray:
    """(G, P) distances of the lane segments of one frame; `UNMATCHED` where they are not compared."""
    true, found = Lanes.of_graphs([truth]), Lanes.of_graphs([prediction])
    pairs = pairs_of_groups(found.frames, true.frames)
    return _matrix(pairs, lane_pair_distances(found, true, pairs), len(truth), len(prediction))


def area_distances(truth: LaneGraph, prediction: LaneGraph) -> np.ndarray:
    """(G, P) Chamfer distances of the outlines of one frame, whatever their classes."""
    true, found = area_points([truth]).without_closing_points(), area_points([prediction])
    pairs = pairs_of_groups(np.zeros(len(found.points), np.int64), np.zeros(len(true.points), np.int64))
    return _matrix(pairs, chamfer_pairs(found, true, pairs), len(truth.areas), len(prediction.areas))


def area_points(graphs: Sequence[LaneGraph]) -> PointSets:
    """The vertices of the outlines of all frames, in order."""
    return PointSets.padded([line.detach().cpu().double().numpy() for graph in graphs for line in graph.areas])


def prepared_truth(graph: LaneGraph, crossings: str = "outline") -> LaneGraph:
    """The truth as the benchmark's files hold it: every area as 20 points.

    Args:
        graph: with outlines of any number of vertices.
        crossings: "outline" resamples crossings as any area (the devkit); "edges" takes `crossing_edges` and leaves
            other areas as they are (LaneSegNet's own evaluation, whose AP_ped cannot be compared with the devkit's).

    Raises:
        ValueError: ``crossings`` is another word.
    """
    if crossings not in ("outline", "edges"):
        raise ValueError(f'crossings must be "outline" or "edges", got {crossings!r}')
    areas = list(graph.areas.to(torch.float64))
    if crossings == "outline":
        areas = list(graph.areas.to(torch.float64).resampled(AREA_POINTS))
    else:
        for number, label in enumerate(graph.area_labels.tolist()):
            if AREA_CLASSES[label] == "ped_crossing":
                areas[number] = torch.from_numpy(crossing_edges(areas[number].numpy()))
    return replace(graph, areas=Polylines.from_lines(areas, dim=3))


def crossing_edges(outline: np.ndarray) -> np.ndarray:
    """A true crossing as LaneSegNet compares it: its edges p0 -> p1 and p2 -> p3, ten points each.

    Args:
        outline: (4 or more, 3) corners, the edges along the road being the first and the third.

    Returns:
        (20, 3) points.

    Raises:
        ValueError: fewer than four corners.
    """
    if len(outline) < 4:
        raise ValueError(f"outline must have four corners or more, got {len(outline)}")
    return resample_lines(outline[:4], np.array([2, 2]), LANE_POINTS).reshape(2 * LANE_POINTS, 3)


def _lane_points(graph: LaneGraph, name: str) -> np.ndarray:
    """(N, 10, 3) points of one of the three lines."""
    points = getattr(graph, name).detach().cpu().double().numpy()
    N, K, _ = points.shape
    if not N:
        return np.zeros((0, LANE_POINTS, 3))
    if K == LANE_POINTS:
        return points
    return resample_lines(points.reshape(N * K, 3), np.full(N, K), LANE_POINTS)


def _matrix(pairs: np.ndarray, distances: np.ndarray, num_truth: int, num_predictions: int) -> np.ndarray:
    matrix = np.full((num_truth, num_predictions), UNMATCHED)
    matrix[pairs[:, 1], pairs[:, 0]] = np.where(distances < np.inf, distances, UNMATCHED)
    return matrix
