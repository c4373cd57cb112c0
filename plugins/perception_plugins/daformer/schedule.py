"""The learning rate of the published recipe: a linear warm-up times a polynomial decay."""

from __future__ import annotations

from typing import Any

from mmengine.optim.scheduler.lr_scheduler import LRSchedulerMixin
from mmengine.optim.scheduler.param_scheduler import _ParamScheduler

from perception.registry import PARAM_SCHEDULERS


def warmup_poly(
    base: float, iteration: int, max_iters: int, *, warmup: int = 1500, ratio: float = 1e-6, power: float = 1.0,
    least: float = 0.0,
) -> float:
    """Learning rate in an iteration counted from 0.

    Args:
        base: at the beginning, but for the warm-up.
        iteration: 0 to ``max_iters``.
        max_iters: where ``least`` is reached.
        warmup: iterations in which a factor rises linearly from ``ratio`` to 1.
        ratio: that factor at the beginning.
        power: of the decay.
        least: learning rate at the end.
    """
    rate = (base - least) * (1 - min(iteration, max_iters) / max_iters) ** power + least
    return rate * (1 - (1 - iteration / warmup) * (1 - ratio)) if iteration < warmup else rate


@PARAM_SCHEDULERS.register_module()
class WarmupPolyLR(LRSchedulerMixin, _ParamScheduler):
    """`warmup_poly` of each group's own learning rate, by iterations.

    Args:
        optimizer: the optimizer, or its wrapper.
        max_iters, warmup, ratio, power, least: see `warmup_poly`.
        kwargs: ``last_step`` and ``verbose`` of mmengine's schedulers.

    Raises:
        ValueError: ``max_iters`` is below 1 or ``warmup`` negative.
    """

    def __init__(
        self, optimizer: Any, max_iters: int, *, warmup: int = 1500, ratio: float = 1e-6, power: float = 1.0,
        least: float = 0.0, by_epoch: bool = False, **kwargs: Any,
    ) -> None:
        if max_iters < 1 or warmup < 0 or by_epoch:
            raise ValueError(
                f"max_iters must be >= 1, warmup >= 0 and by_epoch False, got {max_iters}, {warmup} and {by_epoch}"
            )
        self.max_iters = max_iters
        self.options: dict[str, Any] = {"warmup": warmup, "ratio": ratio, "power": power, "least": least}
        super().__init__(optimizer, by_epoch=False, **kwargs)

    def _get_value(self) -> list[float]:
        return [warmup_poly(base, self.last_step, self.max_iters, **self.options) for base in self.base_values]
