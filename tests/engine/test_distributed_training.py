"""Two processes on gloo train and score as one does."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from toy_training import run_tool, toy_runner

from perception.engine.checkpoint import load_checkpoint
from perception.engine.distributed import all_reduce_mean, first_host, resolve_device, start_processes
from perception.errors import ConfigError

# No dropout, since processes draw their own; batch statistics over all processes; the same global batches of 4.
PLAIN = ("model.dropout=0.0", "sync_bn=all_reduce", "train_cfg.max_iters=6", "custom_hooks=[]")


@pytest.fixture(scope="module")
def single(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("single")
    toy_runner(folder, *PLAIN).train()
    return folder


@pytest.fixture(scope="module")
def double(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("double")
    options = (*PLAIN, "train_dataloader.batch_size=2", "device=cpu")
    result = run_tool("train", "--work-dir", folder, processes=2, options=options)
    assert result.returncode == 0, result.stderr
    return folder


@pytest.mark.parametrize("iteration", [4, 6])
def test_two_processes_reach_the_weights_of_one(single: Path, double: Path, iteration: int):
    one, two = (load_checkpoint(folder / f"iter_{iteration}.pth")["state_dict"] for folder in (single, double))
    for key in one:
        # sums over the batch are taken in another order, and AdamW's first steps divide by small second moments
        torch.testing.assert_close(two[key], one[key], atol=1e-6, rtol=1e-5)


def test_a_checkpoint_of_two_processes_has_the_random_numbers_of_both(double: Path):
    assert len(load_checkpoint(double / "iter_6.pth")["random_states"]) == 2
    assert load_checkpoint(double / "iter_6.pth")["loop"] == {"iter": 6, "position": 24}


def test_two_processes_score_as_one_does(single: Path, tmp_path: Path):
    runner = toy_runner(tmp_path / "single", load_from=single / "iter_6.pth")
    alone = runner.test()
    result = run_tool(
        "test", single / "iter_6.pth", "--work-dir", tmp_path / "double", "--json", tmp_path / "metrics.json",
        "--out", tmp_path / "predictions", processes=2, options=("device=cpu",),
    )
    assert result.returncode == 0, result.stderr
    together = json.loads((tmp_path / "metrics.json").read_text())
    assert together == pytest.approx(alone, abs=1e-7)
    assert together["toy/frames"] == 7             # of 8 that two processes with equal shares have seen
    lines = (tmp_path / "predictions/predictions.jsonl").read_text().splitlines()
    assert [json.loads(line)["token"] for line in lines] == [f"frame-{index}" for index in range(7)]


def test_a_run_of_two_processes_goes_on_in_one(double: Path, tmp_path: Path):
    runner = toy_runner(tmp_path, *PLAIN, "train_cfg.max_iters=8", resume=double / "iter_6.pth")
    runner.train()
    assert runner.iter == 8
    assert runner.train_loop.position == 32


def test_the_mean_over_one_process_is_the_value_itself_and_detached():
    value = torch.tensor(3.0, requires_grad=True)
    assert all_reduce_mean(value) == 3.0
    assert not all_reduce_mean(value).requires_grad


def test_an_unknown_launcher_is_refused():
    with pytest.raises(ConfigError, match='launcher: expected one of none, pytorch, slurm, got "mpi"'):
        start_processes("mpi", torch.device("cpu"))


def test_the_launcher_without_torchrun_says_what_is_missing(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("RANK", raising=False)
    with pytest.raises(ConfigError, match=r"launcher pytorch: RANK.* not set; start it with torchrun"):
        start_processes("pytorch", torch.device("cpu"))


@pytest.mark.parametrize(
    ("nodes", "host"),
    [("gpu7", "gpu7"), ("gpu7,gpu8", "gpu7"), ("gpu[07-09,12],up", "gpu07"), ("a[3,5]-ib", "a3-ib"), ("a,b[1-2]", "a")],
)
def test_the_first_host_of_a_node_list_leads(nodes: str, host: str):
    assert first_host(nodes) == host


def test_the_slurm_launcher_outside_of_slurm_says_what_is_missing(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("SLURM_PROCID", raising=False)
    with pytest.raises(ConfigError, match=r"launcher slurm: SLURM_PROCID.* not set; start it with srun"):
        start_processes("slurm", torch.device("cpu"))


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_told():
    with pytest.raises(ConfigError, match='"cuda:1" asked for, but torch sees no GPU'):
        resolve_device("cuda:1")
