"""The command line of tools/replay.py."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch

from perception.errors import DataError
from perception.replay.source import open_source
from perception.structures import Frame, MapPredictions, Polylines
from perception.structures.prediction_lines import read_prediction_lines

TOOL = Path(__file__).resolve().parents[2] / "tools/replay.py"
CONFIG = TOOL.parents[1] / "configs/flatformer/flatformer_synthetic.py"


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("replay_tool", TOOL)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Untrained weights of the small config."""
    from perception.engine.inference import load_model

    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "untrained.pth"
    torch.save({"state_dict": load_model(CONFIG, None).model.state_dict()}, path)
    return path


def test_a_real_recording_is_replayed_to_lines_latencies_and_pictures(
    tool: ModuleType, checkpoint: Path, shared_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    status = tool.main([
        str(CONFIG), str(checkpoint), str(shared_data / "mcap/kitti_3frames.mcap"), "--rate", "0", "--device", "cpu",
        "--out", str(tmp_path), "--pictures", "1", "--source-options", "ego_height=1.73",
    ])
    assert status == 0
    printed = capsys.readouterr().out
    assert "3 frames" in printed
    assert printed.splitlines()[-1].startswith(f"wrote {tmp_path}/predictions.jsonl (3 frames)")
    lines = [json.loads(line) for line in (tmp_path / "predictions.jsonl").read_text().splitlines()]
    assert [line["timestamp_ns"] for line in lines] == [1317000000_000_000_000 + i * 100_000_000 for i in range(3)]
    assert all(len(line["boxes"]) == len(line["scores"]) == len(line["names"]) for line in lines)
    latency = json.loads((tmp_path / "latency.json").read_text())
    assert (latency["frames"], latency["dropped"]) == (3, 0)
    assert set(latency["latency_ms"]) == {"load", "preprocess", "network", "decode", "total"}
    assert {path.name for path in (tmp_path / "pictures").iterdir()} == {"0000_bev.png", "0000_cameras.png"}


class LaneFollower:
    """A map model without weights: a divider on either side of the ego."""

    def preprocess(self, frame: Frame) -> Frame:
        return frame

    def network(self, frame: Frame) -> torch.Tensor:
        return torch.tensor([[[-30.0, y], [30.0, y]] for y in (-2.0, 2.0)])

    def decode(self, lines: torch.Tensor, frame: Frame) -> MapPredictions:
        return MapPredictions(
            frame.token, frame.timestamp_ns, Polylines.from_lines(list(lines)), torch.tensor([0.9, 0.8]),
            torch.tensor([1, 1]), global_from_ego=frame.global_from_ego,
        )


@pytest.mark.parametrize(
    ("recording", "has_poses"),
    [("kitti/raw_2011_09_26_sequence", True), ("kitti/object_root/training/velodyne", False)],
)
def test_a_map_model_gives_lines_and_with_poses_the_map_of_the_drive(
    tool: ModuleType, shared_data: Path, tmp_path: Path, recording: str, has_poses: bool,
    capsys: pytest.CaptureFixture[str],
):
    words = ["config.py", "weights.pth", f"{shared_data}/{recording}", "--rate", "0", "--out", str(tmp_path)]
    args = tool.parse_args(words)
    assert tool.replay(args, open_source(args.source), LaneFollower(), None) == 0
    found = read_prediction_lines(tmp_path / "predictions.jsonl")
    assert {len(predictions) for predictions in found.values()} == {2}
    assert (tmp_path / "map.geojson").is_file() == (tmp_path / "map.png").is_file() == has_poses
    assert ("wrote the map of the drive" in capsys.readouterr().out) == has_poses


def test_the_number_of_frames_is_limited_and_the_figures_go_to_a_file_of_choice(
    tool: ModuleType, checkpoint: Path, shared_data: Path, tmp_path: Path
):
    tool.main([
        str(CONFIG), str(checkpoint), str(shared_data / "kitti/raw_2011_09_26_sequence"), "--rate", "0",
        "--device", "cpu", "--max-frames", "2", "--out", str(tmp_path), "--json", str(tmp_path / "figures.json"),
    ])
    assert json.loads((tmp_path / "figures.json").read_text())["frames"] == 2


def test_a_missing_recording_is_told_before_the_model_is_loaded(tool: ModuleType, tmp_path: Path):
    with pytest.raises(DataError, match="nowhere: path: expected a recording"):
        tool.main(["no_config.py", "no_checkpoint.pth", str(tmp_path / "nowhere")])


def test_the_process_ends_with_one_line_and_status_1(tmp_path: Path):
    command = [sys.executable, str(TOOL), "no_config.py", "no_checkpoint.pth", str(tmp_path)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    assert ended.stderr.startswith(f"error: {tmp_path}: layout: expected a recording")
    assert ended.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "match"),
    [
        (["--rate", "-1"], "--rate must be finite and >= 0, got -1"),
        (["--rate", "inf"], "--rate must be finite"),
        (["--max-frames", "0"], "--max-frames must be >= 1, got 0"),
        (["--pictures", "-2"], "--pictures must be >= 0, got -2"),
    ],
)
def test_numbers_out_of_range_are_bad_usage(
    tool: ModuleType, words: list[str], match: str, capsys: pytest.CaptureFixture[str]
):
    with pytest.raises(SystemExit, match="2"):
        tool.main(["config.py", "weights.pth", "log.mcap", *words])
    assert match in capsys.readouterr().err


def test_help_shows_commands_and_needs_no_torch(tool: ModuleType):
    command = [sys.executable, "-X", "importtime", str(TOOL), "--help"]
    ended = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "python tools/replay.py CONFIG CHECKPOINT log.mcap --rate 0" in ended.stdout
    assert "| torch" not in ended.stderr
