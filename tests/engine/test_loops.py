"""The loops: broken data, scoring without training data, and random numbers that evaluation leaves alone."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
import torch
from toy_training import toy_runner

from perception.engine.checkpoint import load_checkpoint, save_checkpoint
from perception.engine.random_state import random_state, set_random_state, untouched_random_state
from perception.engine.worker_errors import batches_of
from perception.errors import PerceptionError

BROKEN = r"^frame-5\.bin: points: expected 8 points, got 7$"


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("stage", ["train", "val"])
def test_broken_data_is_told_in_one_line_wherever_it_is_read(tmp_path: Path, stage: str, workers: int):
    options = [f"{stage}_dataloader.dataset.broken=5", f"{stage}_dataloader.num_workers={workers}"]
    with pytest.raises(PerceptionError, match=BROKEN):
        toy_runner(tmp_path, *options).train()


def test_a_bug_in_a_worker_keeps_its_traceback():
    def loader():
        raise RuntimeError("Caught ZeroDivisionError in DataLoader worker process 0.\nTraceback ...")
        yield

    with pytest.raises(RuntimeError, match="Traceback"):
        list(batches_of(loader()))


def test_a_test_needs_no_training_data(tmp_path: Path):
    assert toy_runner(tmp_path, "train_dataloader.dataset.length=0").test()["toy/frames"] == 7


def test_an_evaluation_in_between_changes_no_weight(tmp_path: Path):
    for name, interval in (("often", 1), ("once", 100)):
        toy_runner(tmp_path / name, f"train_cfg.val_interval={interval}").train()
    often, once = (load_checkpoint(tmp_path / name / "iter_12.pth")["train_state_dict"] for name in ("often", "once"))
    assert all(torch.equal(often[key], once[key]) for key in once)


def test_the_number_of_workers_changes_no_weight(tmp_path: Path):
    for workers in (0, 2):
        toy_runner(tmp_path / str(workers), f"train_dataloader.num_workers={workers}").train()
    none, two = (load_checkpoint(tmp_path / workers / "iter_12.pth")["state_dict"] for workers in ("0", "2"))
    assert all(torch.equal(none[key], two[key]) for key in none)


@pytest.mark.parametrize("finite", [True, False])
def test_a_frame_is_augmented_anew_in_each_epoch(tmp_path: Path, finite: bool):
    runner = toy_runner(tmp_path, f"train_dataloader.sampler.infinite={not finite}", "train_dataloader.batch_size=11")
    batches = runner.train_loop._batches()
    clouds = {}
    for _ in range(4):                             # two epochs of two batches
        for frame in next(batches):
            clouds.setdefault(frame.token, []).append(frame.points.xyz)
    assert {len(seen) for seen in clouds.values()} == {2}
    assert not any(torch.equal(*seen) for seen in clouds.values())


def draw() -> tuple[float, float, float]:
    return random.random(), float(np.random.rand()), float(torch.rand(()))     # noqa: NPY002  # the global generators


def test_the_random_state_comes_back_through_a_checkpoint(tmp_path: Path):
    save_checkpoint({"state_dict": {"weight": torch.ones(1)}, "random": random_state()}, tmp_path / "state.pth")
    first = draw()
    set_random_state(load_checkpoint(tmp_path / "state.pth")["random"])
    assert draw() == first


def test_drawing_inside_leaves_the_random_state_untouched():
    state = random_state()
    with untouched_random_state():
        draw()
    inside = draw()
    set_random_state(state)
    assert draw() == inside
