"""An exponential moving average of the weights, which is what gets evaluated and deployed."""

from __future__ import annotations

from typing import Any

import torch
from mmengine.hooks import Hook
from torch import Tensor, nn

from ..errors import CheckpointError
from ..registry import HOOKS


@HOOKS.register_module()
class EmaHook(Hook):
    """After each step of the optimizer, average <- average + m * (weights - average).

    Evaluations use the average. A checkpoint's ``state_dict`` is the average, its ``train_state_dict`` the weights that
    training goes on with. Buffers (such as running statistics) are copied, not averaged.

    Args:
        momentum: m, in (0, 1).
        warmup: m is at least ``warmup / (warmup + steps)``, so that the first weights are soon forgotten.

    Raises:
        ValueError: the momentum lies outside (0, 1), or warmup is negative.
    """

    priority = "NORMAL"

    def __init__(self, momentum: float = 0.001, warmup: int = 100) -> None:
        if not 0.0 < momentum < 1.0:
            raise ValueError(f"momentum must lie in (0, 1), got {momentum}")
        if warmup < 0:
            raise ValueError(f"warmup must be >= 0, got {warmup}")
        self.momentum, self.warmup = momentum, warmup
        self.steps = 0
        self.average: dict[str, Tensor] = {}       # trained parameters by name

    def after_load_checkpoint(self, runner: Any, checkpoint: dict[str, Any]) -> None:
        """Take the average of a training that is resumed."""
        if runner._resume and "train_state_dict" in checkpoint:
            names = [name for name, _ in _model(runner).named_parameters()]
            missing = [name for name in names if name not in checkpoint["state_dict"]]
            if missing:
                raise CheckpointError(f"the averaged weights lack {missing[0]}: made for another architecture")
            self.average = {name: checkpoint["state_dict"][name].clone().to(runner.device) for name in names}
            self.steps = checkpoint["ema_steps"]

    def before_train(self, runner: Any) -> None:
        """Begin with the weights themselves, unless an average was resumed."""
        if not self.average:
            self.average = {name: value.detach().clone() for name, value in _model(runner).named_parameters()}

    @torch.no_grad()
    def after_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        """Update the average, unless gradients are still being accumulated."""
        if not runner.optim_wrapper.should_update():
            return
        momentum = max(self.momentum, self.warmup / (self.warmup + self.steps)) if self.warmup else self.momentum
        self.steps += 1
        for name, value in _model(runner).named_parameters():
            self.average[name].lerp_(value, momentum)

    def before_val_epoch(self, runner: Any) -> None:
        """Put the average in."""
        self._swap(runner)

    def after_val_epoch(self, runner: Any, metrics: dict[str, float] | None = None) -> None:
        """Put the weights back."""
        self._swap(runner)

    def before_save_checkpoint(self, runner: Any, checkpoint: dict[str, Any]) -> None:
        """Exchange the weights for their average, and keep them under another key."""
        checkpoint["train_state_dict"] = checkpoint["state_dict"]
        averaged = {name: value.detach().cpu().clone() for name, value in self.average.items()}
        checkpoint["state_dict"] = {**checkpoint["state_dict"], **averaged}
        checkpoint["ema_steps"] = self.steps

    @torch.no_grad()
    def _swap(self, runner: Any) -> None:
        if self.average:                           # none when a checkpoint is only evaluated
            for name, value in _model(runner).named_parameters():
                kept = value.clone()
                value.copy_(self.average[name])
                self.average[name].copy_(kept)


def _model(runner: Any) -> nn.Module:
    return getattr(runner.model, "module", runner.model)
