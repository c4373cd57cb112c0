"""Predictions as JSON lines, one frame a line, in the order of the dataset; masks as files beside them."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain, zip_longest
from pathlib import Path
from typing import Any

from mmengine.dist import all_gather_object, get_rank
from mmengine.hooks import Hook

from ..atomic_write import atomic_path
from ..errors import PerceptionError
from ..registry import HOOKS
from ..structures.prediction_lines import prediction_line

FILE_NAME = "predictions.jsonl"


@HOOKS.register_module()
class PredictionLogHook(Hook):
    """Writes what a model predicts in a test, see `perception.structures.prediction_lines`.

    Args:
        path: a ``.jsonl`` file, or a folder in which it is called ``predictions.jsonl``.
    """

    priority = "LOW"

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path) if Path(path).suffix == ".jsonl" else Path(path) / FILE_NAME
        self.lines: list[str] = []

    def before_test(self, runner: Any) -> None:
        """Begin anew."""
        self.lines = []

    def after_test_iter(self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        """Keep the lines of a batch; masks go to their files at once. Raises DataError if they cannot be written."""
        self.lines += [prediction_line(predictions, self.path) for predictions in outputs or ()]

    def after_test_epoch(self, runner: Any, metrics: dict[str, float] | None = None) -> None:
        """Write the lines of all processes in the order of the data set."""
        parts = all_gather_object(self.lines)      # process r has the frames r, r + W, ..., and at the end some twice
        if get_rank() == 0:
            ordered = [line for line in chain.from_iterable(zip_longest(*parts)) if line is not None]
            write_lines(self.path, ordered[: len(runner.test_dataloader.dataset)])


def write_lines(path: Path, lines: Iterable[str]) -> None:
    """Write a text file, whole or not at all. Raises PerceptionError if it cannot be written."""
    try:
        with atomic_path(path) as temporary, open(temporary, "w", encoding="utf-8") as file:
            file.writelines(line + "\n" for line in lines)
    except OSError as error:
        raise PerceptionError(f"{path}: cannot be written: {error.strerror or error}") from error
