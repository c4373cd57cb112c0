"""How far a run is: a bar with the remaining time on a terminal, plain lines elsewhere."""

from __future__ import annotations

import atexit
import logging
import sys
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from mmengine.dist import get_rank
from mmengine.hooks import Hook

from ..registry import HOOKS

if TYPE_CHECKING:
    from rich.progress import Progress

MAX_METRICS = 8                                    # told after an evaluation; scalars.jsonl has them all
QUIET = ("data_time", "time", "lr", "base_lr")     # told in words of their own


@HOOKS.register_module()
class ProgressHook(Hook):
    """Tells the losses, the learning rate, the time of an iteration and the remaining time.

    Args:
        interval: iterations between lines in the log.
        window: iterations that a told loss is the mean of.
        bar: a bar, or none; None: a bar if stderr is a terminal.
    """

    priority = "BELOW_NORMAL"

    def __init__(self, interval: int = 50, window: int = 50, bar: bool | None = None) -> None:
        self.interval, self.window, self.bar = interval, window, bar
        self.progress: Progress | None = None
        self.task: Any = None

    def before_train(self, runner: Any) -> None:
        """Show the bar where the training stands."""
        self._start(runner, "train", runner.max_iters, runner.iter)

    def after_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        """Move the bar; now and then write a line."""
        done = runner.iter + 1
        self._advance(f"loss {self._mean(runner, 'train', 'loss'):.4g}")
        if done % self.interval == 0 or done == runner.max_iters:
            runner.logger.info(f"train {done}/{runner.max_iters}  {self.line(runner)}")

    def after_train(self, runner: Any) -> None:
        """Take the bar away."""
        self._stop(runner)

    def before_test(self, runner: Any) -> None:
        """Show a bar for the test."""
        self._start(runner, "test", len(runner.test_dataloader), 0)

    def after_val_iter(self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        """Now and then write how far the evaluation is."""
        self._tell_step(runner, "val", batch_idx + 1, len(runner.val_dataloader))

    def after_test_iter(self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        """Move the bar; now and then write a line."""
        self._advance("")
        self._tell_step(runner, "test", batch_idx + 1, len(runner.test_dataloader))

    def after_val_epoch(self, runner: Any, metrics: dict[str, float] | None = None) -> None:
        """Write the first scores of an evaluation."""
        parts = [f"{name} {value:.4f}" for name, value in (metrics or {}).items() if isinstance(value, float)]
        more = [f"... {len(parts) - MAX_METRICS} more"] if len(parts) > MAX_METRICS else []
        runner.logger.info("  ".join(["evaluation", *parts[:MAX_METRICS], *more]))

    def after_test_epoch(self, runner: Any, metrics: dict[str, float] | None = None) -> None:
        """Take the bar away."""
        self._stop(runner)

    def line(self, runner: Any) -> str:
        """The line of a training iteration: loss and its parts, learning rate, times."""
        names = [key.partition("/")[2] for key in runner.message_hub.log_scalars if key.startswith("train/")]
        parts = [f"{name} {self._mean(runner, 'train', name):.4g}" for name in names if name not in (*QUIET, "loss")]
        rate = runner.optim_wrapper.get_lr()["lr"][0]
        loss, time, data_time = (self._mean(runner, "train", name) for name in ("loss", "time", "data_time"))
        return (
            f"loss {loss:.4g} ({', '.join(parts)})  lr {rate:.3g}  {time:.3f} s/iter (data {data_time:.3f} s)  "
            f"ETA {remaining_time(runner)}"
        )

    def _tell_step(self, runner: Any, stage: str, done: int, total: int) -> None:
        if done % self.interval == 0 and done < total:
            runner.logger.info(f"{stage} {done}/{total}  ETA {remaining_time(runner)}")

    def _mean(self, runner: Any, stage: str, name: str) -> float:
        scalars = runner.message_hub.log_scalars
        return float(scalars[f"{stage}/{name}"].mean(self.window)) if f"{stage}/{name}" in scalars else float("nan")

    def _start(self, runner: Any, stage: str, total: int, done: int) -> None:
        wanted = sys.stderr.isatty() if self.bar is None else self.bar
        if not wanted or get_rank() != 0:
            return
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeRemainingColumn,
        )

        columns = (
            TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
        )
        self.progress = Progress(*columns, console=Console(stderr=True), transient=True)
        self.task = self.progress.add_task(stage, total=total, completed=done, note="")
        self.progress.start()
        atexit.register(self.progress.stop)        # an error would else leave the terminal without its cursor
        _log_through(runner.logger, sys.stderr)    # rich now stands in for stderr and keeps the bar below the lines

    def _advance(self, note: str) -> None:
        if self.progress is not None:
            self.progress.update(self.task, advance=1, note=note)

    def _stop(self, runner: Any) -> None:
        if self.progress is not None:
            self.progress.stop()
            self.progress = None
            _log_through(runner.logger, sys.stderr)


def remaining_time(runner: Any) -> str:
    """``h:mm:ss`` until the end of the current loop, by the mean time of its iterations."""
    return str(timedelta(seconds=int(runner.message_hub.get_info("eta") or 0)))


def _log_through(logger: logging.Logger, stream: Any) -> None:
    for handler in logger.handlers:
        if isinstance(handler, logging.StreamHandler) and not isinstance(handler, logging.FileHandler):
            handler.setStream(stream)
