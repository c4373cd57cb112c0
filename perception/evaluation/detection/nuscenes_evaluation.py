"""nuScenes detection from columns of boxes: the devkit's numbers, without its objects and its loops."""

from __future__ import annotations

import time

import numpy as np

from ..nuscenes_results import DETECTION_NAMES
from .nuscenes_ap import HALF_TURN_ALIKE, class_curves
from .nuscenes_boxes import NuScenesBoxes
from .nuscenes_config import NuScenesConfig
from .nuscenes_filters import Surroundings, boxes_that_count
from .nuscenes_scores import NuScenesScores, summarize


def evaluate_nuscenes_boxes(
    ground_truth: NuScenesBoxes,
    predictions: NuScenesBoxes,
    surroundings: Surroundings,
    config: NuScenesConfig | None = None,
) -> NuScenesScores:
    """Filter, match and score, class by class.

    Args:
        ground_truth: of all samples.
        predictions: of the same samples, in any order; among equal scores the later sample comes first.
        surroundings: of the same samples.
        config: ``detection_cvpr_2019`` if not given.

    Raises:
        ValueError: the samples differ, a sample has too many predictions, or `class_curves` refuses the boxes.
    """
    config = config or NuScenesConfig()
    started = time.time()
    owner = _owners(ground_truth, predictions)
    most = int(np.diff(predictions.offsets).max(initial=0))
    if most > config.max_boxes_per_sample:
        raise ValueError(f"a sample must have at most {config.max_boxes_per_sample} boxes, got one of {most}")
    true_rows, found_rows = (
        np.flatnonzero(boxes_that_count(boxes, surroundings, config.class_range))
        for boxes in (ground_truth, predictions)
    )
    curves = {}
    for name in config.class_range:
        label = DETECTION_NAMES.index(name)
        of_class = class_curves(
            ground_truth, true_rows[ground_truth.label[true_rows] == label],
            predictions, found_rows[predictions.label[found_rows] == label],
            owner, config.dist_ths, np.pi if name == HALF_TURN_ALIKE else 2 * np.pi,
        )
        curves[name] = dict(zip(config.dist_ths, of_class, strict=True))
    summary = {**summarize(curves, config), "eval_time": time.time() - started}
    details = {
        f"{name}:{distance}": {column: values.tolist() for column, values in columns.items()}
        for name, by_distance in curves.items() for distance, columns in by_distance.items()
    }
    return NuScenesScores(summary, details, len(true_rows), len(found_rows))


def _owners(ground_truth: NuScenesBoxes, predictions: NuScenesBoxes) -> np.ndarray:
    """(N,) int32: the sample of the ground truth to which each prediction belongs, or -1."""
    number = {token: f for f, token in enumerate(ground_truth.tokens)}
    if number.keys() != set(predictions.tokens):
        odd = sorted(number.keys() ^ set(predictions.tokens))
        raise ValueError(f"predictions and ground_truth must have the same samples; {len(odd)} differ, e.g. {odd[0]!r}")
    of_sample = np.array([number[token] for token in predictions.tokens] + [-1], np.int32)
    return of_sample[predictions.sample if predictions.owner is None else predictions.owner]
