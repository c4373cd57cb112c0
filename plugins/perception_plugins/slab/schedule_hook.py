"""The schedule of progressive norms, by the iterations of a training."""

from __future__ import annotations

from typing import Any

from mmengine.hooks import Hook

from perception.errors import ConfigError
from perception.registry import HOOKS

from .norm import PRepBN


@HOOKS.register_module()
class ProgressiveNormHook(Hook):
    """Sets the progress of each `PRepBN` before an iteration, instead of letting each count its calls.

    So a resumed training goes on where it was, whatever the accumulation of gradients and the checkpointing of blocks.

    Args:
        steps: iterations over which layer normalisation fades; None takes ``share`` of those behind ``warm``. The
            authors train 300 epochs with 60,000 of their Swin and DeiT, 120,000 of CSWin and 300,000 of PVT.
        share: for ``steps`` of None, in (0, 1].
        warm: iterations before that with layer normalisation alone.

    Raises:
        ValueError: one of them is out of its range.
    """

    priority = "NORMAL"

    def __init__(self, steps: int | None = None, *, share: float = 0.8, warm: int = 0) -> None:
        if steps is not None and steps < 1:
            raise ValueError(f"steps must be >= 1, got {steps}")
        if not 0.0 < share <= 1.0:
            raise ValueError(f"share must lie in (0, 1], got {share}")
        if warm < 0:
            raise ValueError(f"warm must be >= 0, got {warm}")
        self.steps, self.share, self.warm = steps, share, warm

    def before_train(self, runner: Any) -> None:
        """Look whether there is anything to set. Raises ConfigError if the model has no `PRepBN`."""
        if not _norms(runner):
            raise ConfigError("ProgressiveNormHook: the model has no norm of type PRepBN")

    def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
        """Set the progress of all norms."""
        steps = self.steps
        if steps is None:
            steps = max(1, round(self.share * (runner.max_iters - self.warm)))
        for norm in _norms(runner):
            norm.set_progress(runner.iter, steps=steps, warm=self.warm)


def _norms(runner: Any) -> list[PRepBN]:
    return [module for module in runner.model.modules() if isinstance(module, PRepBN)]
