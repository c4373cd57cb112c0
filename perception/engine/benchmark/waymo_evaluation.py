"""Waymo's detection metrics on seeded objects of the size of a validation set."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial

import numpy as np

from perception.evaluation.waymo.detection import evaluate_waymo
from perception.evaluation.waymo.objects import WaymoObjects

from .rows import Row
from .setting import Setting
from .timing import once_ms

TRUTHS_PER_FRAME = 25
FRAMES_PER_DRIVE = 200
SIZES_M = np.array([[4.6, 2.0, 1.7], [0.9, 0.8, 1.75], [0.6, 0.6, 1.5], [1.8, 0.8, 1.75]])   # by type
TYPE_SHARES = (0.5, 0.3, 0.15, 0.05)
BREAKDOWNS = ("OBJECT_TYPE", "RANGE")


def benchmark_waymo_evaluation(
    setting: Setting, frames: int = 40_000, predictions: int = 30, *, repeats: int = 1, seed: int = 0
) -> Iterator[Row]:
    """Time `evaluate_waymo` from columns in memory, by object type and range, with both rules of matching.

    Args:
        setting: threads; nothing here runs elsewhere than on the CPU.
        frames: frames.
        predictions: boxes that are predicted in each.
        repeats: calls, of which the median is told.
        seed: of the objects.

    Yields:
        A row a rule; its size is the number of predictions.
    """
    objects = seeded_waymo_objects(frames, predictions, seed)
    for matching in ("hungarian", "score_first"):
        call = partial(evaluate_waymo, *objects, matching=matching, breakdowns=BREAKDOWNS)
        ms = float(np.median([once_ms(call, setting.device) for _ in range(repeats)]))
        yield replace(setting.row(f"waymo_evaluation/{matching}", frames * predictions, ms=ms), dtype="float64")


def seeded_waymo_objects(frames: int, predictions: int, seed: int = 0) -> tuple[WaymoObjects, WaymoObjects]:
    """Ground truth and predictions: 25 objects a frame within 75 m; four of five predictions are near one of them.

    The noise of a prediction is drawn for itself, so some find their object at any threshold and some at none; a truth
    may have several. Scores are the higher the better a box is, and the rest is invented.
    """
    rng = np.random.default_rng(seed)
    count = frames * TRUTHS_PER_FRAME
    types = rng.choice(len(TYPE_SHARES), count, p=TYPE_SHARES)
    distance, bearing = 75.0 * np.sqrt(rng.random(count)), rng.uniform(-np.pi, np.pi, count)
    boxes = np.concatenate([
        np.stack([distance * np.cos(bearing), distance * np.sin(bearing), rng.normal(0.8, 0.3, count)], 1),
        SIZES_M[types] * rng.uniform(0.8, 1.2, (count, 3)),
        rng.uniform(-np.pi, np.pi, (count, 1)),
    ], axis=1)
    truth = WaymoObjects.from_columns(
        *_frame_columns(frames, TRUTHS_PER_FRAME), boxes, types + 1,
        num_points=rng.integers(0, 200, count), speed=rng.normal(0.0, 4.0, (count, 2)),
    )
    return truth, _predicted(rng, boxes, types, frames, predictions)


def _predicted(
    rng: np.random.Generator, boxes: np.ndarray, types: np.ndarray, frames: int, predictions: int
) -> WaymoObjects:
    count = frames * predictions
    source = np.repeat(np.arange(frames), predictions) * TRUTHS_PER_FRAME + rng.integers(0, TRUTHS_PER_FRAME, count)
    error = 10.0 ** rng.uniform(-2.0, 0.0, (count, 1))
    found = boxes[source].copy()
    found[:, :3] += rng.normal(0.0, 0.5, (count, 3)) * error * found[:, 3:6]
    found[:, 3:6] *= np.exp(rng.normal(0.0, 0.3, (count, 3)) * error)
    found[:, 6:] += rng.normal(0.0, 0.5, (count, 1)) * error + np.pi * (rng.random((count, 1)) < 0.05)
    is_invented = rng.random(count) < 0.2
    found[is_invented, :2] = rng.uniform(-75.0, 75.0, (int(is_invented.sum()), 2))
    quality = 1.0 - error[:, 0] * ~is_invented - 0.7 * is_invented
    return WaymoObjects.from_columns(
        *_frame_columns(frames, predictions), found, types[source] + 1,
        scores=np.clip(quality + rng.normal(0.0, 0.2, count), 0.0, 1.0), overlap_with_nlz=rng.random(count) < 0.02,
    )


def _frame_columns(frames: int, objects: int) -> tuple[np.ndarray, np.ndarray]:
    """Names of drives of 20 s at 10 Hz and times [us], a row an object."""
    frame = np.repeat(np.arange(frames), objects)
    names = np.array([f"seeded_{drive:04d}" for drive in range(frames // FRAMES_PER_DRIVE + 1)])
    return names[frame // FRAMES_PER_DRIVE], 1_600_000_000_000_000 + frame % FRAMES_PER_DRIVE * 100_000
