"""When checkpoints are saved, and which are kept."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

from mmengine.dist import get_rank
from mmengine.hooks import Hook

from ..errors import ConfigError
from ..registry import HOOKS
from .checkpoint import point_to

RULES = {"greater": 1.0, "less": -1.0}


@HOOKS.register_module()
class AtomicCheckpointHook(Hook):
    """Saves ``iter_N.pth`` now and then and at the end, and ``best_METRIC.pth`` after the best evaluation.

    While gradients are being accumulated a due checkpoint waits for the step of the optimizer, so that a resumed run
    has lost nothing.

    Args:
        interval: iterations between checkpoints.
        max_keep: the newest so many of this run are kept; -1 keeps all. The best one is kept besides.
        save_best: name of a metric, with or without its prefix; None: no best checkpoint. It holds weights only.
        rule: whether "greater" or "less" is better.

    Raises:
        ValueError: interval or max_keep is 0, or the rule is another.
    """

    priority = "VERY_LOW"

    def __init__(
        self, interval: int = 1000, max_keep: int = 3, save_best: str | None = None, rule: str = "greater"
    ) -> None:
        if interval < 1 or max_keep == 0:
            raise ValueError(f"interval must be >= 1 and max_keep >= 1 or -1, got {interval} and {max_keep}")
        if rule not in RULES:
            raise ValueError(f"rule must be one of {', '.join(RULES)}, got {rule!r}")
        self.interval, self.max_keep = interval, max_keep
        self.save_best, self.rule = save_best, rule
        self.best: float | None = None
        self.is_training = False
        self.is_due = False
        self.saved: list[str] = []

    def after_load_checkpoint(self, runner: Any, checkpoint: dict[str, Any]) -> None:
        """Remember what the run that is resumed has saved."""
        if runner._resume and "saved" in checkpoint:
            self.best, self.saved = checkpoint["best"], list(checkpoint["saved"])

    def before_save_checkpoint(self, runner: Any, checkpoint: dict[str, Any]) -> None:
        """Keep the best score and the list of files for a run that goes on from here."""
        checkpoint["best"], checkpoint["saved"] = self.best, list(self.saved)

    def before_train(self, runner: Any) -> None:
        """An evaluation from here on may bring a best checkpoint."""
        self.is_training = True

    def after_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        """Save if an interval or the training is over and the optimizer has just made its step."""
        done = runner.iter + 1
        self.is_due = self.is_due or done % self.interval == 0 or done == runner.max_iters
        if self.is_due and runner.optim_wrapper.should_update():
            self.is_due = False
            self._save(runner, f"iter_{done}.pth")

    def after_val_epoch(self, runner: Any, metrics: dict[str, float] | None = None) -> None:
        """Save the weights if the metric is better than ever."""
        if self.save_best is None or not self.is_training:
            return
        value = find_metric(metrics or {}, self.save_best)
        sign = RULES[self.rule]
        if math.isnan(value) or (self.best is not None and sign * value <= sign * self.best):
            return
        self.best = value
        name = f"best_{re.sub(r'[^A-Za-z0-9_.-]', '_', self.save_best)}.pth"
        meta = {"iter": runner.iter, self.save_best: value}
        runner.save_checkpoint(runner.work_dir, name, save_optimizer=False, meta=meta)
        runner.logger.info(f"best {self.save_best} so far: {value:.4f}, saved as {name}")

    def _save(self, runner: Any, name: str) -> None:
        self.saved = [other for other in self.saved if other != name] + [name]
        surplus = self.saved[: -self.max_keep] if self.max_keep > 0 else []
        self.saved = self.saved[len(surplus):]
        runner.save_checkpoint(runner.work_dir, name)
        if get_rank() == 0:
            folder = Path(runner.work_dir)
            point_to(folder / name)
            for old in surplus:
                (folder / old).unlink(missing_ok=True)


def find_metric(metrics: dict[str, float], name: str) -> float:
    """The value of a metric by its full name or the part after the prefix.

    Raises:
        ConfigError: no metric is called so, or several are; lists those there are.
    """
    found = [key for key in metrics if key == name] or [key for key in metrics if key.rpartition("/")[2] == name]
    if len(found) != 1:
        known = ", ".join(sorted(metrics))
        raise ConfigError(f'save_best: expected the name of one metric, got "{name}"; there are {known}')
    return float(metrics[found[0]])
