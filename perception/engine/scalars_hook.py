"""Losses and metrics for plots: ``scalars.jsonl`` and TensorBoard."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from mmengine.dist import get_rank
from mmengine.hooks import Hook

from ..atomic_write import atomic_path
from ..registry import HOOKS

FILE_NAME = "scalars.jsonl"


@HOOKS.register_module()
class ScalarsHook(Hook):
    """Writes one JSON object a line: ``{"step": 50, "loss": 1.25, "lr": 0.001, ...}``; metrics are named ``val/...``.

    A resumed run drops the lines of iterations that it does again; a fresh one begins a new file.

    Args:
        interval: iterations between lines.
        tensorboard: also write event files to the folder ``tensorboard``.
    """

    priority = "LOW"

    def __init__(self, interval: int = 10, tensorboard: bool = True) -> None:
        if interval < 1:
            raise ValueError(f"interval must be >= 1, got {interval}")
        self.interval, self.tensorboard = interval, tensorboard
        self.path: Path | None = None
        self.writer: Any = None

    def before_train(self, runner: Any) -> None:
        """Open the files; rows after the iteration that a run goes on from are dropped."""
        if get_rank() != 0:
            return
        self.path = Path(runner.work_dir) / FILE_NAME
        keep_until(self.path, runner.iter)
        if self.tensorboard:
            from torch.utils.tensorboard import SummaryWriter

            folder = Path(runner.work_dir) / "tensorboard"
            self.writer = SummaryWriter(str(folder), purge_step=runner.iter + 1)

    def after_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        """Write a row at intervals and at the end."""
        step = runner.iter + 1
        if self.path is not None and (step % self.interval == 0 or step == runner.max_iters):
            scalars = runner.message_hub.log_scalars
            train = {key.removeprefix("train/"): scalars[key].current() for key in scalars if key.startswith("train/")}
            self._write(step, train)

    def after_val_epoch(self, runner: Any, metrics: dict[str, float] | None = None) -> None:
        """Write the scores."""
        if self.path is not None:
            self._write(runner.iter, {f"val/{name}": value for name, value in (metrics or {}).items()})

    def after_train(self, runner: Any) -> None:
        """Close the TensorBoard file."""
        if self.writer is not None:
            self.writer.close()
            self.writer = None

    def _write(self, step: int, values: dict[str, Any]) -> None:
        assert self.path is not None
        numbers = {name: float(value) for name, value in values.items() if isinstance(value, (int, float))}
        row = {name: value if math.isfinite(value) else None for name, value in numbers.items()}     # JSON has no NaN
        with open(self.path, "a", encoding="utf-8") as file:
            file.write(json.dumps({"step": step, **row}) + "\n")
        if self.writer is not None:
            for name, value in numbers.items():
                self.writer.add_scalar(name if "/" in name else f"train/{name}", value, step)


def keep_until(path: Path, step: int) -> None:
    """Drop the lines of later steps, and a last line that was cut off."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    kept = [line for line in lines if _step(line) <= step]
    with atomic_path(path) as temporary:
        temporary.write_text("".join(line + "\n" for line in kept), encoding="utf-8")


def _step(line: str) -> float:
    try:
        return float(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):
        return math.inf
