"""Which predicted boxes found which true ones, for the plots of a report: errors of matches, recall by groups.

Predictions take, by falling score, the nearest free true box of their frame and class whose centre is nearer than 2 m
in the xy plane: nuScenes' rule at that distance. The numbers here explain a score; they are not the score.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.spatial import cKDTree

from .scored_files import Breakdown, ScorePlots

RADIUS_M = 2.0
RECALLS = np.linspace(0.0, 1.0, 101)
ERRORS = ("translation (m)", "scale (1 - IoU)", "orientation (rad)", "velocity (m/s)")


@dataclass(frozen=True, eq=False)
class BoxColumns:
    """Boxes of many frames.

    Args:
        frames: (N,) int64 number of the frame.
        labels: (N,) int64 number of the class.
        boxes: (N, 9) float64 x y z, length width height [m], yaw [rad], vx vy [m/s], NaN where unknown; any frame that
            truth and predictions share.
        ranges: (N,) float64 distance from the vehicle [m].
        scores: (N,) float64; None for the truth.
        levels: (N,) int64 group of the visibility; None where it is unknown.
    """

    frames: np.ndarray
    labels: np.ndarray
    boxes: np.ndarray
    ranges: np.ndarray
    scores: np.ndarray | None = None
    levels: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.frames)


@dataclass(frozen=True, eq=False)
class MatchedBoxes:
    """True boxes, predictions, and which belong together.

    Args:
        truth: true boxes that count.
        predictions: those that count, with scores.
        classes: names of the labels.
        periods: turn after which a class looks the same [rad], by its name; 2 pi if absent, NaN: has no heading.
    """

    truth: BoxColumns
    predictions: BoxColumns
    classes: tuple[str, ...]
    periods: Mapping[str, float] | None = None

    @cached_property
    def pairs(self) -> np.ndarray:
        """(M, 2) int64 rows of truth and predictions that belong together."""
        return match_centers(self.truth, self.predictions, len(self.classes))

    def plots(
        self, edges_m: Sequence[float], levels: Sequence[str] = (),
        curves: Mapping[str, Mapping[str, np.ndarray]] | None = None,
    ) -> ScorePlots:
        """Errors of the matches; recall and precision by range and recall by visibility.

        Args:
            edges_m: of the groups by range, rising from 0.
            levels: names of the groups by visibility.
            curves: of the metric itself, see `ScorePlots`.
        """
        names = [f"{low:g}-{high:g} m" for low, high in itertools.pairwise(edges_m)]
        near_truth, near_found = (
            np.searchsorted(edges_m, columns.ranges, side="right") - 1 for columns in (self.truth, self.predictions)
        )
        is_hit = np.zeros(len(self.predictions), bool)
        is_hit[self.pairs[:, 1]], near_found[self.pairs[:, 1]] = True, near_truth[self.pairs[:, 0]]

        def precisions(label: int) -> list[float]:
            own, true = self.predictions.labels == label, near_truth[self.truth.labels == label]
            return [
                self._precision(own & (near_found == group), is_hit, int((true == group).sum()))
                for group in range(len(names))
            ]

        breakdowns = [
            Breakdown("AP by range", names, self._by_class(precisions), "Average precision of matches within 2 m: "
                      "a match belongs to the group of its true box, a prediction without one to its own."),
            Breakdown("recall by range", names, self._recalls(near_truth, len(names))),
        ]
        if self.truth.levels is not None and levels:
            breakdowns.append(Breakdown(
                "recall by visibility", levels, self._recalls(self.truth.levels, len(levels)),
                "Share of the object that is seen from the vehicle, as annotated; predictions have no such share.",
            ))
        text = f"Of {len(self.pairs)} predictions that take a true box of their class within 2 m, best first."
        return ScorePlots(curves or {}, self.errors(), text, [entry for entry in breakdowns if entry.values])

    def errors(self) -> dict[str, dict[str, np.ndarray]]:
        """Samples by class, by the name in `ERRORS`; without those that nothing is known of."""
        true, found = self.truth.boxes[self.pairs[:, 0]], self.predictions.boxes[self.pairs[:, 1]]
        labels = self.truth.labels[self.pairs[:, 0]]
        periods = np.array([(self.periods or {}).get(name, 2 * math.pi) for name in self.classes])[labels]
        shared = np.minimum(true[:, 3:6], found[:, 3:6]).prod(axis=1)
        union = true[:, 3:6].prod(axis=1) + found[:, 3:6].prod(axis=1) - shared
        with np.errstate(invalid="ignore", divide="ignore"):          # boxes without a volume, classes without a period
            scale = 1 - shared / union
            turn = np.abs((true[:, 6] - found[:, 6] + periods / 2) % periods - periods / 2)
        samples = dict(zip(ERRORS, (
            np.linalg.norm(true[:, :2] - found[:, :2], axis=1), scale, turn,
            np.linalg.norm(true[:, 7:9] - found[:, 7:9], axis=1),
        ), strict=True))
        errors = {}
        for name, values in samples.items():
            by_class = {
                label: values[(labels == number) & np.isfinite(values)] for number, label in enumerate(self.classes)
            }
            errors[name] = {label: own for label, own in by_class.items() if len(own)}
        return {name: by_class for name, by_class in errors.items() if by_class}

    def _by_class(self, numbers: Callable[[int], list[float]]) -> dict[str, list[float]]:
        """Of the classes with true boxes."""
        return {name: numbers(label) for label, name in enumerate(self.classes) if (self.truth.labels == label).any()}

    def _recalls(self, groups: np.ndarray, count: int) -> dict[str, list[float]]:
        found = np.zeros(len(self.truth), bool)
        found[self.pairs[:, 0]] = True

        def of_class(label: int) -> list[float]:
            masks = [(self.truth.labels == label) & (groups == group) for group in range(count)]
            return [float(found[mask].mean()) if mask.any() else math.nan for mask in masks]

        return self._by_class(of_class)

    def _precision(self, counted: np.ndarray, is_hit: np.ndarray, num_truth: int) -> float:
        """Average precision of the predictions that a (N,) mask keeps; NaN without a true box."""
        assert self.predictions.scores is not None
        if not num_truth:
            return math.nan
        return average_precision(self.predictions.scores[counted], is_hit[counted], num_truth)


def match_centers(
    truth: BoxColumns, predictions: BoxColumns, num_classes: int, radius_m: float = RADIUS_M
) -> np.ndarray:
    """(M, 2) int64 rows of truth and predictions: by falling score the nearest free one of frame and class.

    Equal scores go by the order of the predictions. Only centres strictly nearer than ``radius_m`` match.
    """
    assert predictions.scores is not None
    if not len(truth) or not len(predictions):
        return np.zeros((0, 2), np.int64)
    apart = 4 * radius_m                                   # of the groups, along a third axis, so that they never meet
    places = [
        np.column_stack([columns.boxes[:, :2], apart * (columns.frames * num_classes + columns.labels)])
        for columns in (truth, predictions)
    ]
    tree = cKDTree(places[0])
    counts = tree.query_ball_point(places[1], radius_m, return_length=True)
    near = np.flatnonzero(counts)
    if not len(near):
        return np.zeros((0, 2), np.int64)
    near = near[np.argsort(-predictions.scores[near], kind="stable")]
    numbers = np.arange(1, int(counts.max()) + 1)
    _, neighbours = tree.query(places[1][near], k=numbers, distance_upper_bound=radius_m)         # (P, k), by distance
    taken = [False] * len(truth)
    pairs = []
    for row, candidates in zip(near.tolist(), neighbours.tolist(), strict=True):
        for candidate in candidates:
            if candidate < len(truth) and not taken[candidate]:       # absent ones are numbered len(truth)
                taken[candidate] = True
                pairs.append((candidate, row))
                break
    return np.array(pairs, np.int64).reshape(-1, 2)


def average_precision(scores: np.ndarray, is_hit: np.ndarray, num_truth: int) -> float:
    """Mean of `precision_at_recalls`; 0 without a hit.

    Args:
        scores: (N,) confidence.
        is_hit: (N,) bool.
        num_truth: true boxes, at least one.
    """
    order = np.argsort(-scores, kind="stable")
    return float(precision_at_recalls(is_hit[order], num_truth).mean())


def precision_at_recalls(is_hit: np.ndarray, num_truth: int) -> np.ndarray:
    """(101,) precision at `RECALLS`, 0 beyond the last one reached; (N,) hits, best first.

    At each recall that was reached it is the highest precision there or further on; between them it is linear.
    """
    hits = np.cumsum(is_hit)
    precision = np.maximum.accumulate((hits / np.arange(1, len(hits) + 1))[::-1])[::-1]
    reached = np.flatnonzero(is_hit)                       # where the recall grows
    if not len(reached):
        return np.zeros(len(RECALLS))
    return np.interp(RECALLS, hits[reached] / num_truth, precision[reached], right=0.0)
