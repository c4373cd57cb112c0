"""Which predictions find a truth at each score cut-off, counted per shard of a breakdown.

At a cut-off the predictions of at least that score take part. A pair can match when its IoU reaches the threshold of
the prediction's type; its weight is round(1e6 IoU). "hungarian" takes the pairing of the greatest total weight,
"score_first" gives each prediction, best first, the free truth of the greatest weight. True positives count whatever
the level of their truth; unmatched predictions in zones without labels do not count.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from perception_ops.cutoff_matching import CutoffCounts, CutoffTask, by_score, match_at_cutoffs, nested_rows

from .box_iou import FramedObjects, Pairs
from .breakdowns import Breakdown
from .objects import NUM_LEVELS

SCORE_CUTOFFS = np.array([step / 100 for step in range(101)], np.float32)
LEVELS = (1, 2)
WEIGHT_SCALE = 1e6
ShardRow = tuple[str, np.ndarray, np.ndarray, np.ndarray, np.ndarray]
LEAST_CLAIM = 0.01         # IoU from which on an unmatched prediction belongs to the shard of a truth


@dataclass(frozen=True, eq=False)
class Candidates:
    """The pairs that may match.

    Args:
        pairs: the pairs.
        weights: (E,) int64 > 0.
        values: (E, V) float64, summed over what is matched, such as heading accuracies.
    """

    pairs: Pairs
    weights: np.ndarray
    values: np.ndarray

    def __getitem__(self, rows: np.ndarray) -> Candidates:
        return Candidates(self.pairs[rows], self.weights[rows], self.values[rows])


@dataclass(frozen=True, eq=False)
class ShardCounts:
    """What a breakdown counts over all frames, at C cut-offs.

    Args:
        tp: (S, C) int64 predictions that found a truth.
        fp: (S, C) int64 predictions that found none.
        fn: (S, 2, C) int64 truths that were not found, of LEVEL_1 at most and of LEVEL_2 at most.
        values: (S, C, V) float64 sums over the matched pairs.
    """

    tp: np.ndarray
    fp: np.ndarray
    fn: np.ndarray
    values: np.ndarray


def shard_rows(breakdown: Breakdown, counts: ShardCounts) -> Iterator[ShardRow]:
    """Name, tp, fp, fn and values (C, V) of each shard at LEVEL_1 and LEVEL_2, in the official order."""
    for shard, name in enumerate(breakdown.shards):
        for place, level in enumerate(LEVELS):
            fn = counts.fn[shard, place]
            yield f"{name}_LEVEL_{level}", counts.tp[shard], counts.fp[shard], fn, counts.values[shard]


def weights_of(iou: np.ndarray) -> np.ndarray:
    """(E,) IoU -> (E,) int64 weight."""
    return np.rint(iou.astype(np.float64) * WEIGHT_SCALE).astype(np.int64)


def heading_accuracy(predicted: np.ndarray, true: np.ndarray) -> np.ndarray:
    """(E,), (E,) headings [rad] -> (E,) 1 for the same, 0 for opposite ones."""
    apart = np.abs(_wrapped(predicted) - _wrapped(true))
    apart = np.where(apart > np.pi, 2 * np.pi - apart, apart)
    return np.clip(1 - apart / np.pi, 0.0, 1.0)


def count_shards(
    objects: FramedObjects,
    overlaps: Pairs,
    candidates: Candidates,
    breakdown: Breakdown,
    *,
    matching: str = "hungarian",
    reference_index_quirk: bool = False,
) -> ShardCounts:
    """Match within the parts of a breakdown and count.

    Args:
        objects: predictions and truths.
        overlaps: all pairs that share something.
        candidates: those that may match.
        breakdown: how objects are split.
        matching: "hungarian" or "score_first".
        reference_index_quirk: with "score_first", weigh pairs as the official tool does, see `_match_by_places`. Slow.
    """
    part_of = breakdown.matched_in(objects.predictions), breakdown.matched_in(objects.truths)
    kept = candidates[part_of[0][candidates.pairs.predictions] == part_of[1][candidates.pairs.truths]]
    truth_shards = breakdown.shard_of(objects.truths)
    false_shards, false_counts = _false_shards(objects, overlaps, breakdown, part_of[0], truth_shards)
    task = CutoffTask(
        frame_starts=objects.frame_starts,
        cutoffs=np.searchsorted(SCORE_CUTOFFS, objects.predictions.scores, "right") - 1,
        edge_starts=np.searchsorted(kept.pairs.predictions, np.arange(len(objects.predictions) + 1)),
        edge_truths=kept.pairs.truths,
        edge_weights=kept.weights,
        edge_values=kept.values,
        false_shards=false_shards,
        false_counts=np.where(objects.predictions.overlap_with_nlz, 0, false_counts),
        truth_shards=truth_shards,
        truth_levels=objects.truths.difficulty,
        num_shards=len(breakdown.shards),
        num_cutoffs=len(SCORE_CUTOFFS),
        num_levels=NUM_LEVELS,
    )
    if matching == "score_first" and reference_index_quirk:
        counts = _match_by_places(task, objects, overlaps, kept.pairs, part_of)
    else:
        counts = match_at_cutoffs(task, matching)
    places = truth_shards * NUM_LEVELS + task.truth_levels
    wanted = np.bincount(places, minlength=task.num_shards * NUM_LEVELS).reshape(-1, 1, NUM_LEVELS)
    missed = (wanted - counts.hits).cumsum(axis=2)                                         # (S, C, L)
    return ShardCounts(
        counts.hits.sum(axis=2), counts.false_positives, missed[:, :, list(LEVELS)].transpose(0, 2, 1), counts.values
    )


def _false_shards(
    objects: FramedObjects, overlaps: Pairs, breakdown: Breakdown, part: np.ndarray, truth_shards: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """First shard that counts an unmatched prediction, and how many from there on do: (P,), (P,).

    Where the truth decides on the shard, that is the shard of the truth of the greatest IoU, the last of equal ones,
    and all shards of the part if there is none.
    """
    if breakdown.group_of is None:
        return breakdown.shard_of(objects.predictions), np.ones(len(part), np.int64)
    first, count = part * breakdown.group_size, np.full(len(part), breakdown.group_size)
    claims = overlaps[overlaps.iou >= np.float32(LEAST_CLAIM)]
    order = np.lexsort((claims.truths, claims.iou, claims.predictions))
    claims = claims[order]
    is_best = np.append(claims.predictions[1:] != claims.predictions[:-1], True)[:len(claims)]
    best = claims[is_best]
    first[best.predictions], count[best.predictions] = truth_shards[best.truths], 1
    return first, count


def _match_by_places(
    task: CutoffTask, objects: FramedObjects, overlaps: Pairs, candidates: Pairs, part_of: tuple[np.ndarray, np.ndarray]
) -> CutoffCounts:
    """Score-first matching with the weights that the official tool looks up.

    Of the pairs that can match, it weighs the one at place m of the predictions that take part and place n of the
    truths of the part by the IoU of the m-th prediction and the n-th truth of the whole frame, whatever those are; 0
    if they differ in type. Places are those in file order.
    """
    frames = objects.prediction_frames[overlaps.predictions].tolist()
    places = objects.prediction_places[overlaps.predictions].tolist()
    true_places = objects.truth_places[overlaps.truths].tolist()
    weight_at = dict(zip(zip(frames, places, true_places, strict=True), weights_of(overlaps.iou).tolist(), strict=True))
    truth_place = _places_in_parts(objects.truth_frames, part_of[1], objects.truth_places)
    counts = CutoffCounts.zeros(task)
    for frame in range(objects.num_frames):
        of_frame = np.arange(task.frame_starts[frame], task.frame_starts[frame + 1])
        for part in np.unique(part_of[0][of_frame]).tolist():
            for rows, cutoffs in nested_rows(task, of_frame[part_of[0][of_frame] == part]):
                in_file_order = rows[np.argsort(objects.prediction_places[rows])].tolist()
                place = {row: number for number, row in enumerate(in_file_order)}

                def weigh(edge: int, frame: int = frame, place: dict[int, int] = place) -> int:
                    row, truth = int(candidates.predictions[edge]), candidates.truths[edge]
                    return weight_at.get((frame, place[row], int(truth_place[truth])), 0)

                counts.add(task, cutoffs, rows, by_score(task, rows, weigh))
    return counts


def _places_in_parts(frames: np.ndarray, parts: np.ndarray, places: np.ndarray) -> np.ndarray:
    """(N,) how many objects of the same frame and part stand earlier in the file."""
    order = np.lexsort((places, parts, frames))
    is_first = np.append(True, (np.diff(frames[order]) != 0) | (np.diff(parts[order]) != 0))[:len(order)]
    starts = np.flatnonzero(is_first)
    within = np.arange(len(order)) - np.repeat(starts, np.diff(np.append(starts, len(order))))
    result = np.empty(len(order), np.int64)
    result[order] = within
    return result


def _wrapped(angle: np.ndarray) -> np.ndarray:
    """Angles brought into [-pi, pi)."""
    return np.remainder(angle + np.pi, 2 * np.pi) - np.pi
