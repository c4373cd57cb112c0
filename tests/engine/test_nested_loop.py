"""Training of a model at all its widths: gradients, draws, resuming, and configs that make no sense."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from toy_task import ToyModel, ToyStreet
from toy_training import toy_runner

from perception.compression.norm_statistics import estimate_statistics
from perception.engine.build import build_runner
from perception.engine.checkpoint import load_checkpoint
from perception.engine.config import load_config
from perception.engine.optim_wrapper import AutocastOptimWrapper
from perception.errors import ConfigError
from perception.registry import MODELS
from perception_plugins.matformer import (
    NestedFeedForward,
    active_widths,
    extract,
    nested_layers,
    parameters_at,
)

LEVELS = (2, 4, 8, 16)
NESTED = ("model.type=NestedToy", "train_cfg.type=NestedLoop", "optim_wrapper.accumulative_counts=1")


@MODELS.register_module(force=True)
class NestedToy(ToyModel):
    """With a nested net between its layers, and neither drop-out nor statistics of batches."""

    def __init__(self, width: int = 8, dropout: float = 0.0, nested: int = 1) -> None:
        super().__init__(width, dropout=0.0, batch_norm=False)
        nets = [NestedFeedForward(width, hidden=16 // (number + 1)) for number in range(nested)]
        self.dropout = torch.nn.Sequential(*nets)


def loop_of(tmp_path: Path, *options: str) -> Any:
    """A loop that is about to begin, with plain gradient descent of rate 1 and no clipping."""
    runner = toy_runner(tmp_path, *NESTED, *options)
    runner.optim_wrapper = AutocastOptimWrapper(optimizer=torch.optim.SGD(runner.model.parameters(), lr=1.0))
    runner._train_loop = runner.build_train_loop(runner._train_loop)
    runner.model.train()
    return runner.train_loop


def gradients(model: Any, batch: Any, widths: dict[int, float]) -> list[torch.Tensor]:
    """Of the weighted sum of the losses, by one backward pass."""
    model = copy.deepcopy(model)
    total = 0.0
    for width, weight in widths.items():
        with active_widths(model, width):
            data = model.data_preprocessor(batch, True)
            total = total + weight * model(**data, mode="loss")["loss_label"]
    total.backward()
    return [parameter.grad for parameter in model.parameters()]


@pytest.mark.parametrize("weights", [None, [0.5, 1.0, 2.0, 0.25]])
def test_losses_of_all_widths_are_summed_and_followed_by_one_step(tmp_path: Path, weights: list[float] | None):
    loop = loop_of(tmp_path, *([] if weights is None else [f"train_cfg.loss_weights={weights}"]))
    model, batch = loop.runner.model, next(loop._batches())
    expected = gradients(model, batch, dict(zip(LEVELS, weights or [1.0] * 4, strict=True)))
    before = [parameter.detach().clone() for parameter in model.parameters()]
    logs = loop.step(batch)
    for old, new, grad in zip(before, model.parameters(), expected, strict=True):
        torch.testing.assert_close(old - new, grad, atol=1e-6, rtol=1e-5)
    pairs = zip(weights or [1.0] * 4, (logs[f"level{level}.loss"] for level in range(4)), strict=True)
    torch.testing.assert_close(logs["loss"], sum(weight * loss for weight, loss in pairs))
    assert [layer.active for layer in nested_layers(model).values()] == [None]


def test_a_drawn_width_is_trained_alone(tmp_path: Path):
    loop = loop_of(tmp_path, "train_cfg.schedule=sample", "train_cfg.probabilities=[0.0,1.0,0.0,0.0]")
    model, batch = loop.runner.model, next(loop._batches())
    (expected,) = [gradients(model, batch, {4: 1.0})]
    before = [parameter.detach().clone() for parameter in model.parameters()]
    logs = loop.step(batch)
    for old, new, grad in zip(before, model.parameters(), expected, strict=True):
        torch.testing.assert_close(old - new, grad, atol=1e-6, rtol=1e-5)
    assert sorted(logs) == ["level1.loss", "level1.loss_label", "loss"]


def test_widths_are_drawn_as_often_as_told(tmp_path: Path):
    loop = loop_of(tmp_path, "train_cfg.schedule=sample", "train_cfg.probabilities=[0.1,0.2,0.3,0.4]")
    drawn = []
    for iteration in range(2000):
        loop._iter = iteration
        drawn.append(loop._drawn_level())
    shares = torch.bincount(torch.tensor(drawn), minlength=4) / 2000
    torch.testing.assert_close(shares, torch.tensor([0.1, 0.2, 0.3, 0.4]), atol=0.04, rtol=0)   # 3.6 deviations


@pytest.mark.parametrize("schedule", ["sum", "sample"])
def test_a_resumed_training_ends_with_the_same_weights(tmp_path: Path, schedule: str):
    options = (*NESTED, f"train_cfg.schedule={schedule}")
    toy_runner(tmp_path / "whole", *options).train()
    toy_runner(tmp_path / "part", *options).train()
    toy_runner(tmp_path / "part", *options, resume=tmp_path / "part/iter_6.pth").train()
    whole, part = (load_checkpoint(tmp_path / name / "iter_12.pth")["state_dict"] for name in ("whole", "part"))
    assert all(torch.equal(whole[key], part[key]) for key in whole)


def test_losses_of_each_width_are_logged_and_fall(tmp_path: Path):
    toy_runner(tmp_path, *NESTED, "train_cfg.max_iters=40").train()
    rows = [json.loads(line) for line in (tmp_path / "scalars.jsonl").read_text().splitlines()]
    rows = [row for row in rows if "level0.loss" in row]
    for level in range(4):
        losses = [row[f"level{level}.loss"] for row in rows]
        assert sum(losses[-5:]) < 0.8 * sum(losses[:5])


def test_one_training_gives_detectors_of_several_sizes(tmp_path: Path):
    cfg = load_config(Path(__file__).with_name("toy_detector.py"), {
        "model.lidar_backbone.feed_forward": {"type": "NestedFeedForward", "hidden": 16},
        "train_cfg.type": "NestedLoop", "train_cfg.max_iters": 2, "plugins": ["flatformer", "matformer"],
    })
    runner = build_runner(cfg, tmp_path)
    runner.train()
    model, batch = runner.model.eval(), [ToyStreet().load(0)]
    for profile in ((2, 2, 4, 8), (16, 16, 16, 16)):
        small = extract(model, profile)
        estimate_statistics(small, [batch], lambda net, frames: net(**net.data_preprocessor(frames), mode="tensor"))
        counts = [sum(parameter.numel() for parameter in one.parameters()) for one in (small, model)]
        assert counts == [parameters_at(model, profile), parameters_at(model, 16)]
        (found,) = small(**small.data_preprocessor(batch), mode="predict")
        assert found.classes == ToyStreet.classes


@pytest.mark.parametrize(("options", "message"), [
    (["train_cfg.schedule=all"], "train_cfg.schedule: expected one of sum, sample, got 'all'"),
    (["train_cfg.loss_weights=[1.0,2.0]"], "train_cfg.loss_weights: expected 4, one a level, got 2"),
    (["train_cfg.probabilities=[0.5,0.5,0.5,0.5]"], "train_cfg.probabilities: expected a sum of 1, got 2.0"),
    (["model.type=ToyModel"], "NestedLoop: ToyModel has no NestedFeedForward"),
    (["optim_wrapper.accumulative_counts=2"], "accumulative_counts: expected 1 with schedule="),
])
def test_a_config_that_makes_no_sense_is_told(tmp_path: Path, options: list[str], message: str):
    with pytest.raises(ConfigError, match=message):
        toy_runner(tmp_path, *NESTED, *options).train()


def test_layers_with_other_numbers_of_widths_are_told(tmp_path: Path):
    runner = toy_runner(tmp_path, *NESTED)
    runner.model.dropout.append(NestedFeedForward(8, hidden=8, widths=(4, 8)))
    with pytest.raises(ConfigError, match=r"must have as many widths, got \[2, 4\]"):
        runner.train()
