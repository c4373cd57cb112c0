"""Reading never runs code, and writing never leaves a half."""

from __future__ import annotations

import os
import pickle
import resource
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer
from safetensors.torch import save_file
from torch import nn
from toy_training import run_tool, toy_runner

from perception.engine.build import build_runner
from perception.engine.checkpoint import (
    latest_checkpoint,
    load_checkpoint,
    load_weights,
    point_to,
    save_checkpoint,
)
from perception.engine.config import load_config
from perception.engine.inference import load_model
from perception.errors import CheckpointError, ConfigError


class Hostile:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str]]:
        return os.mkdir, (str(self.trace),)


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    return tmp_path / "code_was_run"


@pytest.fixture(params=["zip", "legacy", "bare pickle"])
def hostile_checkpoint(request: pytest.FixtureRequest, tmp_path: Path, trace: Path) -> Path:
    path = tmp_path / "run" / "iter_3.pth"
    path.parent.mkdir()
    content = {"state_dict": {"weight": torch.ones(2)}, "meta": Hostile(trace)}
    if request.param == "bare pickle":
        path.write_bytes(pickle.dumps(content, protocol=2))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=request.param == "zip")
    return path


def test_the_hostile_checkpoint_of_these_tests_does_run_code_in_an_unsafe_loader(tmp_path: Path, trace: Path):
    torch.save(Hostile(trace), tmp_path / "hostile.pth")
    torch.load(tmp_path / "hostile.pth", weights_only=False)
    assert trace.exists()


def load_from(path: Path) -> None:
    toy_runner(path.parent, load_from=path).train()


def resume_named(path: Path) -> None:
    toy_runner(path.parent, resume=path).train()


def resume_newest(path: Path) -> None:
    point_to(path)
    toy_runner(path.parent, resume=True).train()


def load_from_of_the_config(path: Path) -> None:
    toy_runner(path.parent, f"load_from={path}").train()


def for_inference(path: Path) -> None:
    load_model(load_config(Path(__file__).with_name("toy_config.py")), path)


ROADS = [load_checkpoint, load_from, resume_named, resume_newest, load_from_of_the_config, for_inference,
         lambda path: load_weights(nn.Linear(2, 2), path)]


@pytest.mark.parametrize("road", ROADS, ids=lambda road: road.__name__.replace("<lambda>", "load_weights"))
def test_no_road_runs_the_code_of_a_checkpoint(hostile_checkpoint: Path, trace: Path, road: Callable[[Path], object]):
    with pytest.raises(CheckpointError, match=r"iter_3\.pth: refused, since loading it would run code"):
        road(hostile_checkpoint)
    assert not trace.exists()


def test_attributes_of_anything_but_a_log_are_out_of_reach(tmp_path: Path):
    class Reach:
        def __reduce__(self) -> tuple[Callable[..., Any], tuple[object, str]]:
            return getattr, (HistoryBuffer, "__init__")

    torch.save({"state_dict": {"weight": torch.ones(1)}, "meta": Reach()}, tmp_path / "reach.pth")
    with pytest.raises(CheckpointError, match=r"reach\.pth: refused, since .* run code: it holds getattr"):
        load_checkpoint(tmp_path / "reach.pth")


def test_a_checkpoint_of_a_training_holds_plain_values_only(tmp_path: Path):
    toy_runner(tmp_path, "train_cfg.max_iters=6").train()
    content = torch.load(tmp_path / "iter_6.pth", weights_only=True)       # with no allow-list at all
    assert content["meta"]["iter"] == 6
    assert content["meta"]["classes"] == ["left", "right", "front"]


def test_released_checkpoints_with_numpy_values_and_mmengine_logs_are_read(tmp_path: Path):
    log = {"loss": HistoryBuffer([1.0, 2.0], [1, 1])}
    meta = {"scale": np.float64(2.5), "ids": np.arange(3), "mean": np.float32(1.0)}
    weights = nn.Linear(2, 1).state_dict()
    torch.save({"state_dict": weights, "meta": meta, "message_hub": log}, tmp_path / "released.pth")
    content = load_checkpoint(tmp_path / "released.pth")
    assert content["meta"]["scale"] == 2.5
    assert content["meta"]["ids"].tolist() == [0, 1, 2]


@pytest.mark.parametrize("prefix", ["", "module."])
@pytest.mark.parametrize("form", ["bare", "state_dict", "model", "params", "safetensors"])
def test_load_weights_takes_every_usual_form(tmp_path: Path, form: str, prefix: str):
    source, target = nn.Linear(3, 2), nn.Linear(3, 2)
    state = {prefix + key: value for key, value in source.state_dict().items()}
    path = tmp_path / ("weights.safetensors" if form == "safetensors" else "weights.pth")
    if form == "safetensors":
        save_file(state, path)
    else:
        torch.save(state if form == "bare" else {form: state, "iteration": 3}, path)
    load_weights(target, path)
    assert torch.equal(target.weight, source.weight)


def test_averaged_weights_are_taken_before_those_they_were_averaged_from(tmp_path: Path):
    torch.save({"params": {"weight": torch.zeros(1)}, "params_ema": {"weight": torch.ones(1)}}, tmp_path / "both.pth")
    assert load_checkpoint(tmp_path / "both.pth")["state_dict"]["weight"] == 1


def test_weights_of_another_architecture_are_refused_with_a_short_list(tmp_path: Path):
    source = nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 2))
    save_checkpoint({"state_dict": source.state_dict()}, tmp_path / "other.pth")
    target = nn.Sequential(nn.Linear(4, 2), nn.ReLU(), nn.LayerNorm(2))
    before = target[0].weight.clone()
    expected = (
        r"other\.pth: made for another architecture than Sequential: 2 missing: 2\.weight, 2\.bias; "
        r"2 unexpected: 1\.weight, 1\.bias; 1 misshaped: 0\.weight \(2, 3\) instead of \(2, 4\)"
    )
    with pytest.raises(CheckpointError, match=expected):
        load_weights(target, tmp_path / "other.pth")
    assert torch.equal(target[0].weight, before)


def test_parts_that_a_checkpoint_may_lack_keep_their_values():
    model = nn.ModuleDict({"body": nn.Linear(2, 2), "norms": nn.LayerNorm(2), "head": nn.Linear(2, 1)})
    given = {f"{part}.{name}": torch.full_like(value, 3.0) for part in ("body", "head")
             for name, value in model[part].state_dict().items()}
    load_weights(model, {"state_dict": given}, may_lack=("norms.",))
    assert (model["body"].weight == 3).all()
    assert (model["norms"].weight == 1).all()
    body = {key: value for key, value in given.items() if key.startswith("body.")}
    with pytest.raises(CheckpointError, match=r"2 missing: head.weight, head.bias"):
        load_weights(model, {"state_dict": body}, may_lack=("norms.",))


def test_a_long_list_of_keys_is_cut(tmp_path: Path):
    state = {f"layer{number}.weight": torch.ones(1) for number in range(40)}
    with pytest.raises(CheckpointError, match=r"40 unexpected: layer0\.weight, .*layer3\.weight, \.\.\. \(36 more\)"):
        load_weights(nn.Linear(1, 1), {"state_dict": state})


@pytest.mark.parametrize("kept", [0, 10, 0.5, 0.999])
def test_a_truncated_checkpoint_is_refused(tmp_path: Path, kept: float):
    path = tmp_path / "cut.pth"
    save_checkpoint({"state_dict": {"weight": torch.rand(1000)}}, path)
    content = path.read_bytes()
    path.write_bytes(content[: int(kept if kept in (0, 10) else kept * len(content))])
    with pytest.raises(CheckpointError, match=r"cut\.pth: truncated, damaged or no checkpoint"):
        load_checkpoint(path)


@pytest.mark.parametrize(
    ("content", "reason"),
    [([1, 2], "expected a dictionary of weights, got list"), ({"epoch": 3}, "holds no wei"), ({}, "holds no weights")],
)
def test_a_file_without_weights_is_refused(tmp_path: Path, content: object, reason: str):
    torch.save(content, tmp_path / "other.pth")
    with pytest.raises(CheckpointError, match=rf"other\.pth: {reason}"):
        load_checkpoint(tmp_path / "other.pth")


def test_an_absent_checkpoint_is_told_before_anything_is_built(tmp_path: Path):
    with pytest.raises(CheckpointError, match=r"gone\.pth: no such checkpoint"):
        toy_runner(tmp_path, load_from=tmp_path / "gone.pth")


def test_a_damaged_safetensors_file_is_refused(tmp_path: Path):
    (tmp_path / "bad.safetensors").write_bytes(b"\x08\0\0\0\0\0\0\0notjson!")
    with pytest.raises(CheckpointError, match=r"bad\.safetensors: truncated, damaged or no safetensors file"):
        load_checkpoint(tmp_path / "bad.safetensors")


def test_a_full_disk_leaves_the_previous_checkpoint_and_names_the_file(tmp_path: Path):
    path = tmp_path / "last.pth"
    save_checkpoint({"state_dict": {"weight": torch.zeros(3)}}, path)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, hard))              # no file may grow beyond, as on a full disk
    try:
        with pytest.raises(CheckpointError, match=r"last\.pth: the checkpoint could not be saved: File too large"):
            save_checkpoint({"state_dict": {"weight": torch.zeros(100_000)}}, path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert load_checkpoint(path)["state_dict"]["weight"].shape == (3,)
    assert os.listdir(tmp_path) == ["last.pth"]


def test_what_could_not_be_loaded_is_not_saved(tmp_path: Path):
    with pytest.raises(CheckpointError, match=r"a\.pth\.meta\.parts\[1\]: a checkpoint holds .* got PosixPath"):
        save_checkpoint({"state_dict": {}, "meta": {"parts": [1, tmp_path]}}, tmp_path / "a.pth")
    assert os.listdir(tmp_path) == []


def test_the_newest_checkpoint_is_found_and_its_loss_is_told(tmp_path: Path):
    assert latest_checkpoint(tmp_path) is None
    save_checkpoint({"state_dict": {"weight": torch.zeros(3)}}, tmp_path / "iter_5.pth")
    point_to(tmp_path / "iter_5.pth")
    assert latest_checkpoint(tmp_path) == tmp_path / "iter_5.pth"
    (tmp_path / "iter_5.pth").unlink()
    with pytest.raises(CheckpointError, match=r"last_checkpoint: names iter_5\.pth, which does not exist"):
        latest_checkpoint(tmp_path)


@pytest.mark.parametrize("place", ["/proc/run", "file/run"])
def test_a_work_directory_that_cannot_be_written_is_told(tmp_path: Path, place: str):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=f"{place}: the work directory cannot be written"):
        build_runner(load_config(Path(__file__).with_name("toy_config.py")), tmp_path / place)


def test_the_training_tool_tells_of_a_hostile_checkpoint_in_one_line(tmp_path: Path, trace: Path):
    torch.save({"state_dict": {}, "meta": Hostile(trace)}, tmp_path / "hostile.pth")
    result = run_tool("train", "--work-dir", tmp_path / "run", "--resume", tmp_path / "hostile.pth")
    assert result.returncode == 1
    assert result.stderr.startswith("error: ")
    assert "refused, since loading it would run code" in result.stderr
    assert not trace.exists()


class Named(nn.Linear):
    """A model of three classes."""

    classes = ("car", "bus", "tree")


@pytest.mark.parametrize(("classes", "expected"), [
    (["car", "tree"], r"made for 2 classes \(car, tree\), the model has 3 \(car, bus, tree\); only in the model: bus"),
    (["car", "tree", "bus"], r"made for 3 .*: class 1 is tree in the one and bus in the other"),
])
def test_weights_of_other_classes_are_refused(classes: list[str], expected: str):
    checkpoint = {"state_dict": Named(2, 2).state_dict(), "meta": {"classes": classes}}
    with pytest.raises(CheckpointError, match=expected):
        load_weights(Named(2, 2), checkpoint)


@pytest.mark.parametrize("meta", [{}, {"classes": []}, {"classes": ["car", "bus", "tree"]}])
def test_weights_that_do_not_say_their_classes_or_have_the_same_are_taken(meta: dict[str, list[str]]):
    model = Named(2, 2)
    load_weights(model, {"state_dict": {"weight": torch.ones(2, 2), "bias": torch.ones(2)}, "meta": meta})
    assert model.weight.eq(1).all()
