"""A linear warm-up and a power of what is left of the training, in the two ways in which recipes join them."""

from __future__ import annotations

from typing import Any

from mmengine.optim.scheduler.lr_scheduler import LRSchedulerMixin
from mmengine.optim.scheduler.param_scheduler import _ParamScheduler

from ..registry import PARAM_SCHEDULERS


def warmup_poly(
    base: float,
    step: int,
    max_steps: int,
    *,
    warmup: int = 1500,
    first: float = 1e-6,
    power: float = 1.0,
    least: float = 0.0,
    floor: float = 0.0,
    jumps: bool = False,
) -> float:
    """Learning rate of an iteration.

    Args:
        base: learning rate that both parts refer to.
        step: iteration, from 0.
        max_steps: iterations in all.
        warmup: iterations in which a factor rises linearly from ``first`` to 1; 0 for none.
        first: factor of the first iteration.
        power: of the share of the iterations that are left.
        least: learning rate at the end, which the decay leads to.
        floor: share of the learning rate at which the decay stops.
        jumps: the warm-up knows nothing of the decay, so the rate jumps down where it ends; otherwise its factor
            multiplies the decaying rate.
    """
    decay = max((1 - min(step, max_steps) / max_steps) ** power, floor)
    rate = (base - least) * decay + least
    if step >= warmup:
        return rate
    factor = first + (1 - first) * step / warmup
    return factor * (base if jumps else rate)


@PARAM_SCHEDULERS.register_module()
class WarmupPolyLR(LRSchedulerMixin, _ParamScheduler):
    """`warmup_poly` of each group's own learning rate.

    Args:
        optimizer: the optimizer or its wrapper.
        end: iterations in all; a runner fills them in if ``by_epoch`` is False.
        warmup, first, power, least, floor, jumps: see `warmup_poly`.
        by_epoch: must be False; as in all of mmengine's schedulers a config that does not say so means epochs.
        kwargs: ``begin``, ``last_step`` and ``verbose`` of mmengine's schedulers.

    Raises:
        ValueError: ``by_epoch`` is not False, or the warm-up is not shorter than the training.
    """

    def __init__(
        self, optimizer: Any, *, end: int, warmup: int = 1500, first: float = 1e-6, power: float = 1.0,
        least: float = 0.0, floor: float = 0.0, jumps: bool = False, by_epoch: bool = True, **kwargs: Any,
    ) -> None:
        if by_epoch:
            raise ValueError("by_epoch must be False: WarmupPolyLR counts iterations")
        if not 0 <= warmup < end:
            raise ValueError(f"warmup must lie in [0, {end}), got {warmup}")
        self.max_steps = end
        self.options: dict[str, Any] = {
            "warmup": warmup, "first": first, "power": power, "least": least, "floor": floor, "jumps": jumps,
        }
        super().__init__(optimizer, end=end + 1, by_epoch=False, **kwargs)     # the rate after the last step too

    def _get_value(self) -> list[float]:
        return [warmup_poly(base, self.last_step, self.max_steps, **self.options) for base in self.base_values]
