"""match_at_cutoffs: pairings of predictions with truths at every score cut-off, counted per shard.

At a cut-off the predictions with at least that score take part. With the rule "hungarian" the pairing is the one of the
greatest total weight; with "score_first" each prediction, best first, takes the free truth of the greatest weight, the
first of equal ones. The kernel adds predictions one at a time to what is matched so far; the reference solves every
cut-off anew. They agree where the best pairing is unique; among pairings of equal weight the kernel keeps the better
scored prediction. NumPy arrays in and out.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment

from .dispatch import NATIVE

RULES = ("hungarian", "score_first")


@dataclass(frozen=True, eq=False)
class CutoffTask:
    """P predictions, frame by frame and by falling score within each, T truths, and the E pairs that may match.

    Args:
        frame_starts: (F + 1,) int64, first prediction of each frame, and P.
        cutoffs: (P,) int64 strictest cut-off that a prediction passes, falling within a frame; -1: none, left out.
        edge_starts: (P + 1,) int64, first pair of each prediction, and E.
        edge_truths: (E,) int64 row of the truth, of the prediction's own frame.
        edge_weights: (E,) int64 > 0.
        edge_values: (E, V) float64, summed over the matched pairs.
        false_shards: (P,) int64 first shard that counts the prediction where it finds no truth.
        false_counts: (P,) int64 how many shards from that one on do; 0: it counts nowhere.
        truth_shards: (T,) int64 shard that counts the truth; -1: none.
        truth_levels: (T,) int64 difficulty in [0, ``num_levels``).
        num_shards: S.
        num_cutoffs: C, ascending.
        num_levels: L.
    """

    frame_starts: np.ndarray
    cutoffs: np.ndarray
    edge_starts: np.ndarray
    edge_truths: np.ndarray
    edge_weights: np.ndarray
    edge_values: np.ndarray
    false_shards: np.ndarray
    false_counts: np.ndarray
    truth_shards: np.ndarray
    truth_levels: np.ndarray
    num_shards: int
    num_cutoffs: int
    num_levels: int

    def __post_init__(self) -> None:
        for name in ("frame_starts", "cutoffs", "edge_starts", "edge_truths", "edge_weights", "false_shards",
                     "false_counts", "truth_shards", "truth_levels"):
            column = np.require(getattr(self, name), np.int64, ["C", "W"])
            object.__setattr__(self, name, column)
        object.__setattr__(self, "edge_values", np.require(self.edge_values, np.float64, ["C", "W"]))
        predictions, truths, edges = len(self.cutoffs), len(self.truth_shards), len(self.edge_truths)
        shapes = {
            "edge_weights": (edges,), "false_shards": (predictions,), "false_counts": (predictions,),
            "truth_levels": (truths,), "edge_starts": (predictions + 1,), "edge_values": (edges, self.num_values),
        }
        for name, shape in shapes.items():
            if getattr(self, name).shape != shape:
                raise ValueError(f"{name} must be {shape}, got {getattr(self, name).shape}")
        _check_starts("frame_starts", self.frame_starts, predictions)
        _check_starts("edge_starts", self.edge_starts, edges)
        _check_range("cutoffs", self.cutoffs, -1, self.num_cutoffs)
        _check_range("edge_truths", self.edge_truths, 0, truths)
        _check_range("edge_weights", self.edge_weights, 1, 1 << 40)
        _check_range("truth_shards", self.truth_shards, -1, self.num_shards)
        _check_range("truth_levels", self.truth_levels, 0, self.num_levels)
        _check_range("false_counts", self.false_counts, 0, self.num_shards + 1)
        is_counted = self.false_counts > 0
        _check_range("false_shards", self.false_shards[is_counted], 0, self.num_shards)
        last = (self.false_shards + self.false_counts)[is_counted]
        _check_range("false_shards + false_counts", last, 1, self.num_shards + 1)

    @property
    def num_values(self) -> int:
        """V."""
        return int(self.edge_values.shape[-1])


@dataclass(frozen=True, eq=False)
class CutoffCounts:
    """What is matched at each cut-off, summed over all frames.

    Args:
        hits: (S, C, L) int64 truths that were found, by their level.
        false_positives: (S, C) int64 predictions that found none.
        values: (S, C, V) float64 sums over the matched pairs.
    """

    hits: np.ndarray
    false_positives: np.ndarray
    values: np.ndarray

    @classmethod
    def zeros(cls, task: CutoffTask) -> CutoffCounts:
        """Nothing counted yet."""
        place = (task.num_shards, task.num_cutoffs)
        hits, values = np.zeros((*place, task.num_levels), np.int64), np.zeros((*place, task.num_values))
        return cls(hits, np.zeros(place, np.int64), values)

    def add(self, task: CutoffTask, cutoffs: slice, rows: np.ndarray, edges: np.ndarray) -> None:
        """Count one pairing at some cut-offs.

        Args:
            task: what was matched.
            cutoffs: those at which the pairing holds.
            rows: (n,) int64 predictions that take part.
            edges: (n,) int64 pair that each of them matched by; -1: none.
        """
        for row in rows[edges < 0].tolist():
            first = task.false_shards[row]
            self.false_positives[first:first + task.false_counts[row], cutoffs] += 1
        for edge in edges[edges >= 0].tolist():
            truth = task.edge_truths[edge]
            shard = task.truth_shards[truth]
            if shard >= 0:
                self.hits[shard, cutoffs, task.truth_levels[truth]] += 1
                self.values[shard, cutoffs] += task.edge_values[edge]


def match_at_cutoffs(task: CutoffTask, rule: str = "hungarian") -> CutoffCounts:
    """Match and count; see the head of this file.

    Raises:
        ValueError: an unknown rule.
    """
    if rule not in RULES:
        raise ValueError(f"rule must be one of {', '.join(RULES)}, got {rule!r}")
    if NATIVE is None:
        return match_at_cutoffs_reference(task, rule)
    counts = CutoffCounts.zeros(task)
    NATIVE.match_at_cutoffs(
        task.frame_starts, task.cutoffs, task.edge_starts, task.edge_truths, task.edge_weights, task.edge_values,
        task.false_shards, task.false_counts, task.truth_shards, task.truth_levels, rule == "score_first",
        counts.hits, counts.false_positives, counts.values, torch.get_num_threads(),
    )
    for array in (counts.hits, counts.false_positives, counts.values):
        array[:] = array[:, ::-1].cumsum(axis=1)[:, ::-1]  # what entered at a stricter cut-off is there at a looser one
    return counts


def match_at_cutoffs_reference(task: CutoffTask, rule: str = "hungarian") -> CutoffCounts:
    """The same, each frame and cut-off on its own."""
    assign = {"hungarian": best_total, "score_first": by_score}[rule]
    counts = CutoffCounts.zeros(task)
    for start, stop in zip(task.frame_starts[:-1].tolist(), task.frame_starts[1:].tolist(), strict=True):
        for rows, cutoffs in nested_rows(task, np.arange(start, stop)):
            counts.add(task, cutoffs, rows, assign(task, rows))
    return counts


def nested_rows(task: CutoffTask, rows: np.ndarray) -> list[tuple[np.ndarray, slice]]:
    """The predictions of ``rows`` that take part, with the cut-offs at which it is just those; none is left out."""
    passed = task.cutoffs[rows]
    steps = np.unique(passed[passed >= 0])                 # a set changes at these only
    return [
        (rows[passed >= step], slice(int(before) + 1, int(step) + 1))
        for before, step in zip(np.concatenate([[-1], steps])[:-1], steps, strict=True)
    ]


def best_total(task: CutoffTask, rows: np.ndarray) -> np.ndarray:
    """(n,) pair of each prediction of ``rows`` in the pairing of the greatest total weight; -1: none."""
    edges = [np.arange(task.edge_starts[row], task.edge_starts[row + 1]) for row in rows.tolist()]
    truths = np.unique(task.edge_truths[np.concatenate(edges)])
    edge_of = np.full((len(rows), len(truths)), -1)
    for line, own in enumerate(edges):
        edge_of[line, np.searchsorted(truths, task.edge_truths[own])] = own
    weights = np.where(edge_of >= 0, task.edge_weights[edge_of] if len(task.edge_weights) else 0, 0)
    found = np.full(len(rows), -1)
    lines, columns = linear_sum_assignment(weights, maximize=True)
    found[lines] = edge_of[lines, columns]                 # a pair that may not match weighs 0 and stays -1
    return found


def by_score(task: CutoffTask, rows: np.ndarray, weigh: Callable[[int], int] | None = None) -> np.ndarray:
    """(n,) pair of each prediction of ``rows``, best first, when it takes the heaviest free truth; -1: none.

    Args:
        task: what is matched.
        rows: (n,) int64 predictions by falling score.
        weigh: weight of a pair by its row; ``task.edge_weights`` if not given.
    """
    taken: set[int] = set()
    found = []
    for row in rows.tolist():
        own = range(task.edge_starts[row], task.edge_starts[row + 1])
        free = [edge for edge in own if int(task.edge_truths[edge]) not in taken]
        best = max(free, key=weigh or task.edge_weights.__getitem__, default=-1)           # the first of equal ones
        found.append(best)
        if best >= 0:
            taken.add(int(task.edge_truths[best]))
    return np.array(found, np.int64)


def _check_starts(name: str, starts: np.ndarray, end: int) -> None:
    if starts.ndim != 1 or len(starts) == 0 or starts[0] != 0 or starts[-1] != end or (np.diff(starts) < 0).any():
        raise ValueError(f"{name} must rise from 0 to {end}, got {starts.tolist()[:8]} ... of shape {starts.shape}")


def _check_range(name: str, column: np.ndarray, low: int, end: int) -> None:
    if len(column) and not (low <= column.min() and column.max() < end):
        raise ValueError(f"{name} must lie in [{low}, {end}), got {column.min()} to {column.max()}")
