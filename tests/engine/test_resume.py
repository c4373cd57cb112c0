"""A training that was killed and resumed ends as if nothing had happened."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from toy_training import run_tool, toy_runner

from perception.engine.checkpoint import latest_checkpoint, load_checkpoint
from perception.engine.config import load_config
from perception.errors import CheckpointError

COMPARED = ("state_dict", "train_state_dict", "optimizer", "param_schedulers", "loop", "random_states")
WORKERS = ("train_dataloader.num_workers=2", "train_dataloader.persistent_workers=True", "val_dataloader.num_workers=1")

KILL = "custom_hooks=[{'type': 'EmaHook', 'momentum': 0.1, 'warmup': 2}, {'type': 'KillHook', 'iteration': 8}]"


def assert_same(one: Any, other: Any, where: str) -> None:
    """Equal to the bit, through nested containers."""
    if isinstance(one, torch.Tensor):
        assert torch.equal(one, other), where
    elif isinstance(one, dict):
        assert one.keys() == other.keys(), where
        for key, value in one.items():
            assert_same(value, other[key], f"{where}.{key}")
    elif isinstance(one, (list, tuple)):
        assert len(one) == len(other), where
        for position, value in enumerate(one):
            assert_same(value, other[position], f"{where}[{position}]")
    else:
        assert one == other, where


@pytest.mark.parametrize("options", [(), WORKERS], ids=["in the main process", "with workers"])
def test_a_killed_run_resumes_to_the_bit(tmp_path: Path, options: tuple[str, ...]):
    toy_runner(tmp_path / "whole", *options).train()
    killed = run_tool("train", "--work-dir", tmp_path / "cut", options=(*options, KILL))
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert latest_checkpoint(tmp_path / "cut") == tmp_path / "cut/iter_6.pth"     # frame 24 of 22: in epoch 1

    toy_runner(tmp_path / "cut", *options, resume=True).train()

    whole, cut = (load_checkpoint(tmp_path / run / "iter_12.pth") for run in ("whole", "cut"))
    for key in COMPARED:
        assert_same(whole[key], cut[key], key)


def test_a_resumed_run_has_each_step_once_in_its_scalars(tmp_path: Path):
    toy_runner(tmp_path, "train_cfg.max_iters=8").train()
    toy_runner(tmp_path, resume=tmp_path / "iter_4.pth").train()
    rows = [json.loads(line) for line in (tmp_path / "scalars.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows if "loss" in row] == list(range(1, 13))
    assert [row["step"] for row in rows if "val/toy/accuracy" in row] == [6, 12]


def test_the_config_of_a_resumed_run_starts_a_run_of_its_own(tmp_path: Path):
    toy_runner(tmp_path, "train_cfg.max_iters=6").train()
    toy_runner(tmp_path, resume=True)
    written = load_config(tmp_path / "config.py")
    assert not {"resume", "load_from", "work_dir", "launcher", "experiment_name"} & set(written)


def test_checkpoints_wait_for_the_step_of_the_optimizer(tmp_path: Path):
    toy_runner(tmp_path).train()                   # due at 3, 6, 9 and 12; a step after every second iteration
    assert {path.stem for path in tmp_path.glob("iter_*")} == {"iter_4", "iter_6", "iter_10", "iter_12"}


def test_resuming_where_nothing_was_saved_starts_from_the_beginning(tmp_path: Path):
    runner = toy_runner(tmp_path, "train_cfg.max_iters=6", resume=True)
    runner.train()
    assert runner.iter == 6


def test_resuming_a_finished_run_evaluates_again_and_trains_no_further(tmp_path: Path):
    toy_runner(tmp_path).train()
    before = load_checkpoint(tmp_path / "iter_12.pth")["state_dict"]
    runner = toy_runner(tmp_path, resume=True)
    runner.train()
    assert runner.iter == 12
    assert runner.message_hub.get_scalar("val/toy/frames").current() == 7
    assert_same(before, load_checkpoint(tmp_path / "iter_12.pth")["state_dict"], "state_dict")


def test_resume_refuses_weights_without_a_training_state(tmp_path: Path):
    toy_runner(tmp_path, "train_cfg.max_iters=6").train()
    with pytest.raises(CheckpointError, match=r"best_accuracy\.pth: holds weights only \(no optimizer, .*load_from"):
        toy_runner(tmp_path, resume=tmp_path / "best_accuracy.pth").train()


def test_resume_refuses_the_state_of_another_optimizer(tmp_path: Path):
    toy_runner(tmp_path, "train_cfg.max_iters=6").train()
    with pytest.raises(CheckpointError, match=r"iter_6\.pth: saved by another training setup: .*group"):
        toy_runner(tmp_path, "optim_wrapper.constructor=DefaultOptimWrapperConstructor", resume=True).train()


def test_resuming_where_nothing_was_saved_begins_with_the_weights_to_start_from(tmp_path: Path):
    toy_runner(tmp_path / "first", "train_cfg.max_iters=6").train()
    start = tmp_path / "first/iter_6.pth"
    runner = toy_runner(tmp_path / "second", f"load_from={start}", resume=True)
    runner.load_or_resume()
    assert_same(dict(runner.model.state_dict()), load_checkpoint(start)["state_dict"], "state_dict")
