"""tools/replay.py with a model that has a memory: stopping, and going on from a file, on a real drive."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from perception.engine.inference import load_model
from perception.errors import CheckpointError, ConfigError, DataError
from perception.models.temporal.memory_state import MemoryState, Moment
from perception.replay.source import open_source

TOOL = Path(__file__).resolve().parents[2] / "tools/replay.py"
CONFIG = TOOL.parents[1] / "configs/flatformer/flatformer_synthetic_memory.py"
DRIVE, SWEEPS = "kitti/raw_2011_09_26_sequence", 11


@pytest.fixture(scope="module")
def tool(load_tool: Callable[[str], ModuleType]) -> ModuleType:
    return load_tool("replay")


@pytest.fixture(scope="module")
def checkpoint(untrained_detector: Callable[[Path], Path]) -> Path:
    return untrained_detector(CONFIG)


@pytest.fixture
def play(tool: ModuleType, checkpoint: Path, shared_data: Path, tmp_path: Path) -> Callable[..., list[dict[str, Any]]]:
    """Replays the drive into a folder of a name and gives the predictions."""

    def run(out: str, *words: object) -> list[dict[str, Any]]:
        assert tool.main([*command(checkpoint, shared_data, tmp_path / out), *map(str, words)]) == 0
        return found(tmp_path / out)

    return run


def command(checkpoint: Path, shared_data: Path, out: Path) -> list[str]:
    return [str(CONFIG), str(checkpoint), str(shared_data / DRIVE), "--rate", "0", "--device", "cpu", "--out", str(out)]


def found(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "predictions.jsonl").read_bytes().splitlines()]


def test_a_replay_that_was_stopped_and_restored_says_what_one_without_a_stop_says(play: Any, tmp_path: Path):
    state = tmp_path / "memory.safetensors"
    whole = play("whole")
    before = play("before", "--max-frames", 4, "--save-state", state)
    middle = play("middle", "--max-frames", 3, "--restore-state", state, "--save-state", state)
    after = play("after", "--restore-state", state)
    assert [len(part) for part in (whole, before, middle, after)] == [SWEEPS, 4, 3, 4]
    assert before + middle + after == whole
    assert len(whole[-1]["boxes"]) > 0


def test_a_replay_that_was_killed_goes_on_from_its_file(
    play: Any, checkpoint: Path, shared_data: Path, tmp_path: Path
):
    state, killed = tmp_path / "memory.safetensors", tmp_path / "killed"
    words = [*command(checkpoint, shared_data, killed), "--save-state", str(state)]
    with subprocess.Popen([sys.executable, str(TOOL), *words], stdout=subprocess.DEVNULL) as process:
        while process.poll() is None and not (state.exists() and len(found(killed)) > 2):
            time.sleep(0.02)
        process.kill()
    written, kept_ns = found(killed), MemoryState.load(state).last_ns
    rest = play("rest", "--restore-state", state)
    before = [line for line in written if line["timestamp_ns"] <= kept_ns]
    assert 2 <= len(before) < SWEEPS
    assert before + rest == play("whole")


def test_there_must_be_frames_behind_the_restored_one(play: Any, shared_data: Path, tmp_path: Path):
    last = open_source(shared_data / DRIVE).dataset.timestamps[-1]
    MemoryState({}, (Moment("", last, None),), "someone").save(tmp_path / "end.safetensors")
    with pytest.raises(DataError, match=rf"some later than the restored state's last, at {last} ns, got none"):
        play("nothing", "--restore-state", tmp_path / "end.safetensors")


@torch.inference_mode()
def test_streaming_a_real_drive_gives_what_the_whole_of_it_gives_at_once(checkpoint: Path, shared_data: Path):
    model = load_model(CONFIG, checkpoint)
    batches = [model.preprocess(frame) for frame in open_source(shared_data / DRIVE)]
    assert len(batches) == SWEEPS
    state, streamed = None, []
    for batch in batches:
        maps, state = model.stream(batch, state)
        streamed.append(maps[0])
    together = {
        "inputs": {"points": [batch["inputs"]["points"][0] for batch in batches]},
        "data_samples": [batch["data_samples"][0] for batch in batches],
    }
    whole = model.stream(together)[0][0]
    for name, expected in whole.items():
        got = torch.cat([maps[name] for maps in streamed])
        torch.testing.assert_close(got, expected, atol=1e-4, rtol=1e-4)
    alone = model.network(batches[-1])[0]["heatmap"]
    assert (alone - streamed[-1]["heatmap"]).abs().max() > 1e-3            # the memory has a say


def test_a_state_needs_a_model_with_a_memory_and_a_file_that_holds_one(
    tool: ModuleType, checkpoint: Path, shared_data: Path, tmp_path: Path
):
    words = ["config.py", "weights.pth", str(shared_data / DRIVE), "--out", str(tmp_path)]
    with pytest.raises(ConfigError, match="for models with a memory, this one has none"):
        tool.restored_state(tool.parse_args([*words, "--save-state", "state.safetensors"]), object())
    args = tool.parse_args([*words, "--restore-state", str(tmp_path / "absent.safetensors")])
    with pytest.raises(CheckpointError, match=r"absent\.safetensors: absent"):
        tool.restored_state(args, load_model(CONFIG, checkpoint))
