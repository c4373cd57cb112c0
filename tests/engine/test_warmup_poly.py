"""The learning rate of a warm-up and a power of what is left."""

from __future__ import annotations

import pytest
import torch
from toy_training import toy_runner

from perception.engine.warmup_poly import WarmupPolyLR, warmup_poly
from perception.registry import PARAM_SCHEDULERS

OPTIONS = {"warmup": 4, "first": 0.1, "power": 0.9}


def optimizer() -> torch.optim.Optimizer:
    groups = [{"params": [torch.nn.Parameter(torch.zeros(1))], "lr": lr} for lr in (0.5, 0.05)]
    return torch.optim.SGD(groups, lr=0.5)


@pytest.mark.parametrize(
    ("step", "factor"), [(0, 0.1), (2, 0.55), (4, 0.6**0.9), (5, 0.5**0.9), (9, 0.1**0.9), (10, 0.0), (11, 0.0)]
)
def test_a_rate_that_jumps_rises_to_its_base_and_then_falls(step, factor):
    assert warmup_poly(1.0, step, 10, **OPTIONS, jumps=True) == pytest.approx(factor)


def test_a_rate_that_does_not_jump_meets_the_decay():
    assert warmup_poly(1.0, 0, 100, warmup=10, first=1e-3) == pytest.approx(1e-3)
    assert warmup_poly(1.0, 5, 100, warmup=10, first=0.0) == pytest.approx(0.5 * 0.95)
    assert warmup_poly(1.0, 10, 100, warmup=10) == pytest.approx(0.9)
    assert warmup_poly(1.0, 100, 100, warmup=10, least=0.25) == 0.25


def test_the_floor_holds_after_the_warm_up_alone():
    assert warmup_poly(1.0, 0, 10, **OPTIONS, floor=0.3) == pytest.approx(0.1)
    assert warmup_poly(1.0, 9, 10, **OPTIONS, floor=0.3) == 0.3


@pytest.mark.parametrize("jumps", [False, True])
def test_every_group_follows_from_the_first_iteration_on(jumps):
    sgd = optimizer()
    options = {**OPTIONS, "jumps": jumps}
    scheduler = PARAM_SCHEDULERS.build(
        {"type": "WarmupPolyLR", "optimizer": sgd, "end": 10, "by_epoch": False, **options}
    )
    for step in range(11):
        expected = [warmup_poly(base, step, 10, **options) for base in (0.5, 0.05)]
        assert [group["lr"] for group in sgd.param_groups] == pytest.approx(expected)
        sgd.step()
        scheduler.step()


def test_a_resumed_schedule_goes_on():
    first, second = optimizer(), optimizer()
    one, other = (WarmupPolyLR(sgd, end=10, by_epoch=False, **OPTIONS) for sgd in (first, second))
    for _ in range(5):
        first.step()
        one.step()
    other.load_state_dict(one.state_dict())
    for sgd, scheduler in ((first, one), (second, other)):
        sgd.step()
        scheduler.step()
    assert second.param_groups[0]["lr"] == first.param_groups[0]["lr"] == pytest.approx(0.5 * 0.4**0.9)


def test_a_run_follows_the_schedule_to_its_end(tmp_path):
    runner = toy_runner(tmp_path, 'param_scheduler=[{"type": "WarmupPolyLR", "warmup": 2, "by_epoch": False}]')
    runner.train()
    assert set(runner.optim_wrapper.get_lr()["lr"]) == {0.0}


@pytest.mark.parametrize(
    ("options", "message"),
    [({}, "by_epoch must be False"), ({"by_epoch": False, "warmup": 10}, r"warmup must lie in \[0, 10\), got 10")],
)
def test_what_makes_no_sense_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        WarmupPolyLR(optimizer(), end=10, **{**OPTIONS, **options})
