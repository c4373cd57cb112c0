"""Averaged weights, the best checkpoint, the curves and the progress of a run."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from toy_training import toy_runner

from perception.engine.checkpoint import load_checkpoint
from perception.engine.checkpoint_hook import AtomicCheckpointHook, find_metric
from perception.engine.ema_hook import EmaHook
from perception.engine.freeze_norm_hook import FreezeNormHook
from perception.engine.prediction_log import write_lines
from perception.engine.progress_hook import ProgressHook
from perception.engine.scalars_hook import ScalarsHook, keep_until
from perception.errors import ConfigError, PerceptionError


class WatchHook(EmaHook):
    """An EmaHook that keeps the weights after each step, to average them by hand."""

    def __init__(self, **kwargs: float) -> None:
        super().__init__(**kwargs)
        self.seen: list[torch.Tensor] = []

    def before_train(self, runner) -> None:
        super().before_train(runner)
        self.seen.append(runner.model.score.weight.detach().clone())

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
        super().after_train_iter(runner, batch_idx, data_batch, outputs)
        if runner.optim_wrapper.should_update():
            self.seen.append(runner.model.score.weight.detach().clone())


@pytest.mark.parametrize("warmup", [0, 2])
def test_the_average_follows_its_formula_at_steps_of_the_optimizer_only(tmp_path: Path, warmup: int):
    runner = toy_runner(tmp_path, "custom_hooks=[]", "train_cfg.max_iters=8")
    hook = WatchHook(momentum=0.1, warmup=warmup)
    runner.register_hook(hook)
    runner.train()
    first, *later = hook.seen
    average = first
    for step, weights in enumerate(later):
        momentum = max(0.1, warmup / (warmup + step)) if warmup else 0.1
        average = average + momentum * (weights - average)
    assert len(later) == 4                         # eight iterations, two for a step
    torch.testing.assert_close(hook.average["score.weight"], average)
    torch.testing.assert_close(load_checkpoint(tmp_path / "iter_8.pth")["state_dict"]["score.weight"], average)


def test_evaluation_sees_the_average_and_training_goes_on_with_the_weights(tmp_path: Path):
    runner = toy_runner(tmp_path)
    runner.train()
    checkpoint = load_checkpoint(tmp_path / "iter_12.pth")
    assert torch.equal(runner.model.score.weight, checkpoint["train_state_dict"]["score.weight"])
    assert not torch.equal(runner.model.score.weight, checkpoint["state_dict"]["score.weight"])
    tested = toy_runner(tmp_path / "test", load_from=tmp_path / "iter_12.pth").test()
    assert tested["toy/score"] == runner.message_hub.get_scalar("val/toy/score").current()


@pytest.mark.parametrize("momentum", [0.0, 1.0, -0.1, math.nan])
def test_a_momentum_outside_its_range_is_refused(momentum: float):
    with pytest.raises(ValueError, match=r"momentum must lie in \(0, 1\), got"):
        EmaHook(momentum=momentum)


def test_a_negative_warmup_is_refused():
    with pytest.raises(ValueError, match="warmup must be >= 0, got -1"):
        EmaHook(warmup=-1)


def test_statistics_stand_still_from_the_given_iteration_on_and_the_rest_still_learns():
    model = torch.nn.Sequential(torch.nn.BatchNorm1d(2), torch.nn.Dropout())
    hook, means = FreezeNormHook(begin=2), []
    for iteration in range(4):
        model.train()
        hook.before_train_iter(SimpleNamespace(model=model, iter=iteration), iteration)
        model(torch.randn(8, 2) + iteration).sum().backward()
        means.append(model[0].running_mean.clone())
    assert not torch.equal(means[0], means[1])
    assert torch.equal(means[1], means[3])
    assert model[1].training
    assert model[0].weight.grad.abs().sum() > 0


def test_a_negative_first_iteration_is_refused():
    with pytest.raises(ValueError, match="begin must be >= 0, got -1"):
        FreezeNormHook(begin=-1)


def test_only_the_newest_checkpoints_are_kept(tmp_path: Path):
    (tmp_path / "iter_99.pth").write_text("of another run")
    toy_runner(tmp_path, "default_hooks.checkpoint.max_keep=2").train()
    assert {path.stem for path in tmp_path.glob("iter_*")} == {"iter_10", "iter_12", "iter_99"}
    assert (tmp_path / "last_checkpoint").read_text() == "iter_12.pth\n"


@pytest.mark.parametrize(("rule", "best"), [("greater", 2), ("less", 0)])
def test_the_best_checkpoint_is_that_of_the_best_metric(tmp_path: Path, rule: str, best: int):
    values = [0.4, 0.5, 0.9, math.nan]
    runner = toy_runner(tmp_path, "default_hooks.checkpoint.save_best=None", "train_cfg.max_iters=6")
    runner.train()
    hook = AtomicCheckpointHook(save_best="score", rule=rule)
    hook.before_train(runner)
    for iteration, value in enumerate(values, start=1):
        runner.train_loop._iter = iteration
        hook.after_val_epoch(runner, {"toy/score": value})
    meta = load_checkpoint(tmp_path / "best_score.pth")["meta"]
    assert (meta["iter"], meta["score"]) == (best + 1, values[best])


@pytest.mark.parametrize("name", ["toy/score", "score"])
def test_a_metric_is_found_with_or_without_its_prefix(name: str):
    assert find_metric({"toy/score": 0.5, "toy/other": 1.0}, name) == 0.5


def test_an_ambiguous_metric_is_refused():
    with pytest.raises(ConfigError, match='save_best: expected the name of one metric, got "ap"; there are a/ap, b/ap'):
        find_metric({"a/ap": 0.5, "b/ap": 1.0}, "ap")


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [({"interval": 0}, "interval must be >= 1"), ({"max_keep": 0}, "max_keep >= 1 or"), ({"rule": "up"}, "rule must")],
)
def test_checkpoint_settings_are_checked(arguments: dict[str, object], reason: str):
    with pytest.raises(ValueError, match=reason):
        AtomicCheckpointHook(**arguments)          # type: ignore[arg-type]


def test_scalars_are_valid_json_lines_with_losses_rates_and_metrics(tmp_path: Path):
    toy_runner(tmp_path, "default_hooks.scalars.interval=4", "default_hooks.scalars.tensorboard=True").train()
    rows = [json.loads(line) for line in (tmp_path / "scalars.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [4, 6, 8, 12, 12]
    assert {"loss", "loss_label", "lr", "grad_norm"} <= rows[0].keys()
    assert rows[1].keys() == {"step", "val/toy/accuracy", "val/toy/score", "val/toy/frames"}
    assert list((tmp_path / "tensorboard").glob("events.*"))


def test_lines_of_later_steps_and_halves_of_lines_are_dropped(tmp_path: Path):
    path = tmp_path / "scalars.jsonl"
    path.write_text('{"step": 1, "loss": 2}\n{"step": 2}\n{"step": 3}\n{"st')
    keep_until(path, 2)
    assert path.read_text() == '{"step": 1, "loss": 2}\n{"step": 2}\n'


def test_an_interval_of_no_iterations_is_refused():
    with pytest.raises(ValueError, match="interval must be >= 1, got 0"):
        ScalarsHook(interval=0)


class Lines(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


@pytest.fixture
def lines(tmp_path: Path) -> Iterator[list[str]]:
    runner = toy_runner(tmp_path)
    handler = Lines()
    runner.logger.addHandler(handler)
    runner.train()
    yield handler.lines
    runner.logger.removeHandler(handler)


def test_lines_tell_the_loss_its_parts_the_rate_and_the_remaining_time(lines: list[str]):
    told = [line for line in lines if line.startswith("train ")]
    assert [line.split()[1] for line in told] == ["4/12", "8/12", "12/12"]
    assert all("loss_label" in line and "lr " in line and "s/iter" in line and "ETA 0:00:0" in line for line in told)
    assert sum(line.startswith("evaluation  toy/accuracy") for line in lines) == 2


def test_of_many_metrics_the_first_are_told(tmp_path: Path):
    runner, handler = toy_runner(tmp_path), Lines()
    runner.logger.addHandler(handler)
    ProgressHook().after_val_epoch(runner, {f"ap{number}": 0.5 for number in range(20)})
    assert handler.lines[-1].endswith("ap7 0.5000  ... 12 more")


def test_a_terminal_gets_a_bar_with_the_remaining_time(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    runner = toy_runner(tmp_path, "default_hooks.logger.bar=True", "train_cfg.max_iters=6")
    hook = next(hook for hook in runner.hooks if isinstance(hook, ProgressHook))
    hook.before_train(runner)
    assert hook.progress is not None
    hook._advance("loss 1.5")
    (task,) = hook.progress.tasks
    assert (task.completed, task.total, task.fields["note"]) == (1, 6, "loss 1.5")
    hook.after_train(runner)
    assert hook.progress is None


def test_predictions_that_cannot_be_written_are_told(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(PerceptionError, match=r"file/predictions\.jsonl: cannot be written"):
        write_lines(tmp_path / "file/predictions.jsonl", [])
