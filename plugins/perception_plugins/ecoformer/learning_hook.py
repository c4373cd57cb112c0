"""Has hash functions learned again in the course of a training."""

from __future__ import annotations

from typing import Any

from perception.engine.begin_hook import BeginHook
from perception.registry import HOOKS

from .kernel_hash import KernelHash


@HOOKS.register_module()
class HashLearningHook(BeginHook):
    """Every ``interval`` iterations, has each `KernelHash` of the model learn from the next batch.

    Without it they learn once, from the first batch, unless they come with a checkpoint; so it was in the published
    trainings, which are shorter than their interval of 300 epochs.

    Args:
        interval: iterations between two times.
        begin: iteration of the first.

    Raises:
        ValueError: ``interval`` is below 1, or ``begin`` negative.
    """

    def __init__(self, interval: int, begin: int = 0) -> None:
        super().__init__(begin)
        if interval < 1:
            raise ValueError(f"interval must be >= 1, got {interval}")
        self.interval = interval

    def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
        """Tell them when it is time."""
        if runner.iter < self.begin or (runner.iter - self.begin) % self.interval:
            return
        for module in runner.model.modules():
            if isinstance(module, KernelHash):
                module.learn_anew()
