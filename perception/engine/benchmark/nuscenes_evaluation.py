"""The nuScenes detection evaluation against the devkit's own code, on seeded boxes."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from perception.evaluation.detection.nuscenes_boxes import NuScenesBoxes
from perception.evaluation.detection.nuscenes_config import NuScenesConfig
from perception.evaluation.detection.nuscenes_evaluation import evaluate_nuscenes_boxes
from perception.evaluation.detection.nuscenes_filters import Surroundings
from perception.evaluation.detection.nuscenes_official import EgoAndRacks, score_devkit_boxes
from perception.evaluation.detection.nuscenes_scores import NuScenesScores

from .nuscenes_boxes import devkit_boxes, rack_rows, seeded_nuscenes
from .rows import Row, compared
from .setting import Setting
from .timing import once_ms

BUDGET_S = 60.0                                            # no further round begins after it: the devkit takes minutes


def benchmark_nuscenes(
    setting: Setting, samples: int = 6019, predictions: int = 500, *, repeats: int = 3, seed: int = 0
) -> Iterator[Row]:
    """Time the evaluation and the devkit's in turn, each from boxes as it holds them: filters, matching and scores.

    Args:
        setting: threads; nothing here runs elsewhere than on the CPU.
        samples: of the split; 6,019 are the validation set, for which the devkit needs 4.5 GB.
        predictions: boxes in each; 500 are what may be handed in.
        repeats: rounds, as far as they begin within a minute.
        seed: of the boxes.

    Yields:
        One row; the size is the number of predictions, the score NDS. The two are identical if every number of the
        summary and of the curves is, to the last bit.
    """
    truth, found, surroundings = seeded_nuscenes(samples, predictions, seed)
    devkit = Devkit(truth, found, surroundings)
    scores: list[NuScenesScores] = []

    def ours() -> None:
        scores.append(evaluate_nuscenes_boxes(truth, found, surroundings))

    def official() -> None:
        scores.append(devkit.evaluate())

    ours()                                                 # once untimed: what is loaded late, is loaded
    rounds: list[list[float]] = []
    began = time.perf_counter()
    while len(rounds) < repeats and not (rounds and time.perf_counter() - began > BUDGET_S):
        rounds.append([once_ms(call, setting.device) for call in (ours, official)])
    fast, reference = scores[-2:]
    row = setting.row(
        "nuscenes", samples * predictions, **compared(*np.array(rounds).T), samples=samples,
        score=fast.summary["nd_score"], reference_score=reference.summary["nd_score"],
        identical=_numbers(fast) == _numbers(reference),
    )
    yield replace(row, dtype="float64")


class Devkit:
    """The devkit's evaluation of boxes that are loaded: `evaluate` may be called again and again.

    Args:
        truth: the true boxes.
        predictions: the predicted ones.
        surroundings: of the same samples.
    """

    def __init__(self, truth: NuScenesBoxes, predictions: NuScenesBoxes, surroundings: Surroundings) -> None:
        self._truth, self._predictions = devkit_boxes(truth), devkit_boxes(predictions)
        ego = {token: [*xy, 0.0] for token, xy in zip(surroundings.tokens, surroundings.ego_xy.tolist(), strict=True)}
        self._tables = EgoAndRacks(ego, rack_rows(surroundings))

    def evaluate(self) -> NuScenesScores:
        """The filters take boxes out of the lists, so these are new ones of the same boxes."""
        return score_devkit_boxes(
            self._tables, _eval_boxes(self._truth), _eval_boxes(self._predictions), NuScenesConfig()
        )


def _eval_boxes(by_sample: dict[str, list[Any]]) -> Any:
    from nuscenes.eval.common.data_classes import EvalBoxes

    boxes = EvalBoxes()
    for token, of_sample in by_sample.items():
        boxes.add_boxes(token, of_sample)                  # which copies the list
    return boxes


def _numbers(scores: NuScenesScores) -> str:
    summary = {**scores.summary, "eval_time": None}
    return json.dumps([summary, scores.curves, scores.num_ground_truth, scores.num_predictions])
