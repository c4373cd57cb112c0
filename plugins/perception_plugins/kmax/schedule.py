"""The learning rate of kMaX-DeepLab: a linear warm-up, then a power of what is left of the training."""

from __future__ import annotations

from typing import Any

from mmengine.optim.scheduler import _ParamScheduler
from mmengine.optim.scheduler.lr_scheduler import LRSchedulerMixin

from perception.registry import PARAM_SCHEDULERS


def warmup_poly_factor(
    step: int, max_steps: int, *, warmup: int = 5000, warmup_factor: float = 1e-3, power: float = 0.9,
    least: float = 0.0,
) -> float:
    """Share of the base learning rate at an iteration; the power counts from 0, so there is a jump after the warm-up.

    Args:
        step: iteration, from 0.
        max_steps: iterations in all.
        warmup: iterations of the warm-up, of which 0 is none.
        warmup_factor: share at the first iteration.
        power: of the share of iterations that are left.
        least: least share after the warm-up.
    """
    if step < warmup:
        passed = step / warmup
        return warmup_factor * (1 - passed) + passed
    return max((1 - step / max_steps) ** power, least)


@PARAM_SCHEDULERS.register_module()
class WarmupThenPolyLR(LRSchedulerMixin, _ParamScheduler):
    """Sets the learning rate of every iteration to its base times `warmup_poly_factor`.

    Args:
        optimizer: the optimizer or its wrapper.
        end: iterations in all.
        warmup: iterations of the warm-up.
        warmup_factor: share at the first iteration.
        power: of the share of iterations that are left.
        least: least share after the warm-up.
        kwargs: of mmengine's schedulers; ``by_epoch`` must be False.

    Raises:
        ValueError: ``by_epoch`` is not False, or the warm-up is not shorter than the training.
    """

    def __init__(
        self, optimizer: Any, *args: Any, end: int, warmup: int = 5000, warmup_factor: float = 1e-3,
        power: float = 0.9, least: float = 0.0, by_epoch: bool = False, **kwargs: Any,
    ) -> None:
        if by_epoch:
            raise ValueError("by_epoch must be False: WarmupThenPolyLR counts iterations")
        if not 0 <= warmup < end:
            raise ValueError(f"warmup must lie in [0, {end}), got {warmup}")
        self.max_steps = end
        self.options: dict[str, Any] = {
            "warmup": warmup, "warmup_factor": warmup_factor, "power": power, "least": least,
        }
        super().__init__(optimizer, *args, end=end, by_epoch=False, **kwargs)

    def _get_value(self) -> list[float]:
        factor = warmup_poly_factor(self.last_step, self.max_steps, **self.options)
        return [base * factor for base in self.base_values]
