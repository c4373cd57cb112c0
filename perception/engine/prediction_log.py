"""Predictions as JSON lines, one frame a line, in the order of the dataset."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from itertools import chain, zip_longest
from pathlib import Path
from typing import Any

from mmengine.dist import all_gather_object, get_rank
from mmengine.hooks import Hook

from ..atomic_write import atomic_path
from ..errors import PerceptionError
from ..registry import HOOKS
from ..structures import Predictions

FILE_NAME = "predictions.jsonl"


@HOOKS.register_module()
class PredictionLogHook(Hook):
    """Writes what a model predicts in a test.

    Args:
        path: a ``.jsonl`` file, or a folder in which it is called ``predictions.jsonl``.
    """

    priority = "LOW"

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path) if Path(path).suffix == ".jsonl" else Path(path) / FILE_NAME
        self.lines: list[str] = []

    def before_test(self, runner: Any) -> None:
        self.lines = []

    def after_test_iter(self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        self.lines += [prediction_line(predictions) for predictions in outputs or ()]

    def after_test_epoch(self, runner: Any, metrics: dict[str, float] | None = None) -> None:
        parts = all_gather_object(self.lines)      # process r has the frames r, r + W, ..., and at the end some twice
        if get_rank() == 0:
            ordered = [line for line in chain.from_iterable(zip_longest(*parts)) if line is not None]
            write_lines(self.path, ordered[: len(runner.test_dataloader.dataset)])


def prediction_line(predictions: Predictions) -> str:
    """One frame as JSON: token, timestamp_ns, and for each object its box (ego frame; null: unknown), score, class."""
    rows = zip(predictions.boxes.tensor.tolist(), predictions.scores.tolist(), predictions.names(), strict=True)
    objects = [{"box": [_short(number) for number in box], "score": round(score, 5), "name": name}
               for box, score, name in rows]
    return json.dumps({"token": predictions.token, "timestamp_ns": predictions.timestamp_ns, "objects": objects})


def _short(number: float) -> float | None:
    return round(number, 4) if math.isfinite(number) else None


def write_lines(path: Path, lines: Iterable[str]) -> None:
    """Write a text file, whole or not at all. Raises PerceptionError if it cannot be written."""
    try:
        with atomic_path(path) as temporary, open(temporary, "w", encoding="utf-8") as file:
            file.writelines(line + "\n" for line in lines)
    except OSError as error:
        raise PerceptionError(f"{path}: cannot be written: {error.strerror or error}") from error
