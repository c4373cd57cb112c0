from __future__ import annotations

import pytest
import torch

from perception.registry import PARAM_SCHEDULERS
from perception_plugins.kmax.schedule import WarmupThenPolyLR, warmup_poly_factor

OPTIONS = {"warmup": 4, "warmup_factor": 0.1, "power": 0.9}


def optimizer() -> torch.optim.Optimizer:
    groups = [{"params": [torch.nn.Parameter(torch.zeros(1))], "lr": lr} for lr in (0.5, 0.05)]
    return torch.optim.SGD(groups, lr=0.5)


@pytest.mark.parametrize(
    ("step", "factor"), [(0, 0.1), (2, 0.55), (4, 0.6**0.9), (5, 0.5**0.9), (9, 0.1**0.9), (10, 0.0)]
)
def test_the_rate_rises_to_its_base_jumps_down_and_falls(step, factor):
    assert warmup_poly_factor(step, 10, **OPTIONS) == pytest.approx(factor)


def test_the_least_share_holds_after_the_warm_up_alone():
    assert warmup_poly_factor(0, 10, **OPTIONS, least=0.3) == pytest.approx(0.1)
    assert warmup_poly_factor(9, 10, **OPTIONS, least=0.3) == 0.3


def test_every_group_follows_from_the_first_iteration_on():
    sgd = optimizer()
    scheduler = PARAM_SCHEDULERS.build(
        {"type": "WarmupThenPolyLR", "optimizer": sgd, "end": 10, "by_epoch": False, **OPTIONS}
    )
    for step in range(10):
        factor = warmup_poly_factor(step, 10, **OPTIONS)
        assert [group["lr"] for group in sgd.param_groups] == pytest.approx([0.5 * factor, 0.05 * factor])
        sgd.step()
        scheduler.step()


def test_a_resumed_schedule_goes_on():
    first, second = optimizer(), optimizer()
    one, other = WarmupThenPolyLR(first, end=10, **OPTIONS), WarmupThenPolyLR(second, end=10, **OPTIONS)
    for _ in range(5):
        first.step()
        one.step()
    other.load_state_dict(one.state_dict())
    for sgd, scheduler in ((first, one), (second, other)):
        sgd.step()
        scheduler.step()
    assert second.param_groups[0]["lr"] == first.param_groups[0]["lr"] == pytest.approx(0.5 * 0.4**0.9)


@pytest.mark.parametrize(
    ("options", "message"),
    [({"by_epoch": True}, "by_epoch must be False"), ({"warmup": 10}, r"warmup must lie in \[0, 10\), got 10")],
)
def test_what_makes_no_sense_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        WarmupThenPolyLR(optimizer(), end=10, **{**OPTIONS, **options})
