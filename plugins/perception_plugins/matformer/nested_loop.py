"""Training of all granularities of a model with nested feed-forward nets, whatever its task."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor, nn

from perception.engine.loops import IterationLoop
from perception.errors import ConfigError
from perception.registry import LOOPS

from .elastic import active_widths, level_widths, nested_layers

SCHEDULES = ("sum", "sample")


@LOOPS.register_module()
class NestedLoop(IterationLoop):
    """An `IterationLoop` for models with `NestedFeedForward`; levels are counted from the smallest widths.

    Evaluations in between use the full widths.

    Args:
        runner, dataloader: as `IterationLoop`.
        schedule: "sum": each batch at all levels, the losses added up, then one step; this is what both released
            trainers do. "sample": each batch at one level, drawn anew, as the paper describes it; cheaper by the step.
        probabilities: of the levels, for "sample"; None draws all alike.
        loss_weights: factor on the loss of each level; None is 1, so that "sum" is no mean.
        seed: of the draws, which depend on it and the iteration alone: processes agree, and a resumed run goes on.
        options: further arguments of an `IterationLoop`.

    Raises:
        ConfigError: the schedule is another, there are not as many probabilities or weights as levels, the model has
            no nested net or not all have as many levels, or as `IterationLoop`.
    """

    def __init__(
        self, runner: Any, dataloader: Any, *, schedule: str = "sum", probabilities: Sequence[float] | None = None,
        loss_weights: Sequence[float] | None = None, seed: int = 0, **options: Any,
    ) -> None:
        super().__init__(runner, dataloader, **options)
        if schedule not in SCHEDULES:
            raise ConfigError(f"train_cfg.schedule: expected one of {', '.join(SCHEDULES)}, got {schedule!r}")
        self.schedule, self.seed, self.levels = schedule, seed, _count_levels(runner.model)
        self.loss_weights = self._checked("loss_weights", loss_weights or [1.0] * self.levels)
        self.probabilities = self._checked("probabilities", probabilities or [1 / self.levels] * self.levels)
        if abs(sum(self.probabilities) - 1) > 1e-6:
            raise ConfigError(f"train_cfg.probabilities: expected a sum of 1, got {sum(self.probabilities)}")

    def run(self) -> nn.Module:
        """Train to the end; returns the model.

        Raises:
            ConfigError: "sum" is to accumulate gradients over batches, which it does over levels.
        """
        if self.schedule == "sum" and getattr(self.runner.optim_wrapper, "accumulative_counts", 1) > 1:
            raise ConfigError('optim_wrapper.accumulative_counts: expected 1 with schedule="sum"')
        return super().run()

    def step(self, batch: Any) -> dict[str, Any]:
        """One step of the optimizer for a batch, at all levels or at one; logs have the level in their names."""
        chosen = range(self.levels) if self.schedule == "sum" else [self._drawn_level()]
        logs: dict[str, Any] = {}
        for level in chosen:
            weight = self.loss_weights[level]
            wrapper = _LossOfLevel(self.runner.optim_wrapper, weight, steps=level == chosen[-1])
            with active_widths(self.runner.model, level_widths(self.runner.model, level)):
                found = self.runner.model.train_step(batch, optim_wrapper=wrapper)
            logs |= {f"level{level}.{name}": value for name, value in found.items()}
            logs["loss"] = logs.get("loss", 0.0) + weight * found["loss"]
        return logs

    def _checked(self, name: str, given: Sequence[float]) -> Sequence[float]:
        if len(given) != self.levels:
            raise ConfigError(f"train_cfg.{name}: expected {self.levels}, one a level, got {len(given)}")
        return given

    def _drawn_level(self) -> int:
        draw = np.random.default_rng([self.seed, self.iter])
        return int(draw.choice(self.levels, p=self.probabilities))


def _count_levels(model: nn.Module) -> int:
    try:
        counts = {len(layer.widths) for layer in nested_layers(model).values()}
    except ValueError as error:
        raise ConfigError(f"NestedLoop: {error}") from error
    if len(counts) > 1:
        raise ConfigError(f"NestedLoop: all nested nets must have as many widths, got {sorted(counts)}")
    return counts.pop()


@dataclass(frozen=True)
class _LossOfLevel:
    """Stands before an optimizer's wrapper while one level is trained: weighs its loss, and steps behind the last."""

    wrapper: Any
    weight: float
    steps: bool

    def optim_context(self, model: nn.Module) -> AbstractContextManager[None]:
        return self.wrapper.optim_context(model)

    def update_params(self, loss: Tensor) -> None:
        if self.steps:
            self.wrapper.update_params(self.weight * loss)
        else:
            self.wrapper.backward(self.weight * loss)
