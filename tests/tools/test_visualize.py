"""The drawing tool: what it writes for real recordings, and how it fails."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from PIL import Image

from perception.errors import DataError, PerceptionError
from perception.structures import Boxes3D, MapPredictions, Polylines, Predictions
from perception.structures.prediction_lines import prediction_line
from perception.visualization.palette import TRUTH_COLOR, class_color
from perception.visualization.video import write_video

TOOL = Path(__file__).resolve().parents[2] / "tools/visualize.py"


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("visualize_tool", TOOL)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def shows(path: Path, color: tuple[int, int, int]) -> bool:
    return bool((np.asarray(Image.open(path)) == np.array(color)).all(axis=2).any())


def test_a_keyframe_is_drawn_in_every_view_with_its_true_boxes(tool: ModuleType, shared_data: Path, tmp_path: Path):
    root = shared_data / "nuscenes/devkit_root"
    words = [f"{root}:scene-0061", "--keyframes", "--out", str(tmp_path), "--backend", "software"]
    assert tool.main(words) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0000_bev.png", "0000_cameras.png", "0000_scene.png"]
    assert shows(tmp_path / "0000_bev.png", TRUTH_COLOR)
    assert shows(tmp_path / "0000_scene.png", TRUTH_COLOR)


def test_predictions_of_a_replay_are_drawn_on_their_frame_alone(tool: ModuleType, shared_data: Path, tmp_path: Path):
    source = shared_data / "mcap/kitti_3frames.mcap"
    from perception.replay.source import open_source

    tokens = [frame.token for frame in open_source(source)]
    box = Boxes3D(torch.tensor([[15.0, 5.0, 1.0, 4.0, 2.0, 1.5, 0.2]]))
    found = Predictions(tokens[1], 1, box, torch.tensor([0.9]), torch.tensor([0]), ("traffic_cone",))
    (tmp_path / "predictions.jsonl").write_text(prediction_line(found) + "\n")
    lines = str(tmp_path / "predictions.jsonl")
    words = [str(source), "--predictions", lines, "--views", "bev", "--out", str(tmp_path)]
    assert tool.main(words) == 0
    drawn = [shows(tmp_path / f"000{number}_bev.png", class_color("traffic_cone")) for number in range(3)]
    assert drawn == [False, True, False]


def test_predicted_maps_are_drawn_and_fused_to_one_map_of_the_drive(
    tool: ModuleType, shared_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    from perception.replay.source import open_source

    drive = shared_data / "kitti/raw_2011_09_26_sequence"
    line = Polylines.from_lines([torch.tensor([[-30.0, 2.0], [30.0, 2.0]])])
    seen = [
        MapPredictions(frame.token, 1, line, torch.tensor([0.9]), torch.tensor([0]), ("divider",))
        for frame in open_source(drive)
    ]
    lines = tmp_path / "maps.jsonl"
    lines.write_text("".join(prediction_line(found) + "\n" for found in seen))
    words = [str(drive), "--predictions", str(lines), "--views", "bev", "--frames", "0", "--out", str(tmp_path)]
    assert tool.main([*words, "--map-out", str(tmp_path / "whole")]) == 0
    assert shows(tmp_path / "0003_bev.png", class_color("divider"))
    assert "wrote a map of" in capsys.readouterr().out
    features = json.loads((tmp_path / "whole/map.geojson").read_text())["features"]
    assert features[0]["properties"]["class"] == "divider"
    ends = features[0]["geometry"]["coordinates"][:: len(features[0]["geometry"]["coordinates"]) - 1]
    assert abs(ends[1][0] - ends[0][0]) > 60.0             # metres: a frame saw 60 m, and the drive went on
    assert (tmp_path / "whole/map.png").is_file()


def test_a_video_lasts_as_long_as_the_recording(tool: ModuleType, shared_data: Path, tmp_path: Path):
    import av

    drive = shared_data / "kitti/raw_2011_09_26_sequence"
    words = [str(drive), "--views", "bev", "--frames", "0", "--video", "--out", str(tmp_path)]
    assert tool.main(words) == 0
    with av.open(str(tmp_path / "bev.mp4")) as container:
        stream = container.streams.video[0]
        assert stream.frames == 11
        assert float(stream.average_rate) == pytest.approx(10.0, rel=0.05)     # the LiDAR turns ten times a second


@pytest.mark.parametrize(("frames", "numbers"), [(1, [0]), (3, [0, 3, 6]), (0, list(range(11))), (50, list(range(11)))])
def test_frames_are_evenly_spread(tool: ModuleType, shared_data: Path, frames: int, numbers: list[int]):
    from perception.replay.source import open_source

    source = open_source(shared_data / "kitti/raw_2011_09_26_sequence")
    assert [number for number, _ in tool.chosen_frames(source, frames)] == numbers


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["log", "--config", "c.py"], "--config and --checkpoint go together"),
        (["log", "--config", "c.py", "--checkpoint", "c.pth", "--predictions", "p"], "give either --config"),
        (["log", "--frames", "-1"], "--frames must be >= 0, got -1"),
    ],
)
def test_options_that_do_not_go_together_are_bad_usage(
    tool: ModuleType, words: list[str], message: str, capsys: pytest.CaptureFixture[str]
):
    with pytest.raises(SystemExit, match="2"):
        tool.main(words)
    assert message in capsys.readouterr().err


def test_an_absent_recording_is_named(tool: ModuleType, tmp_path: Path):
    with pytest.raises(DataError, match="nowhere: path: expected a recording"):
        tool.main([str(tmp_path / "nowhere")])


def test_a_window_without_a_display_is_refused(
    tool: ModuleType, shared_data: Path, monkeypatch: pytest.MonkeyPatch
):
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(PerceptionError, match="no display to open a window on"):
        tool.main([str(shared_data / "mcap/kitti_3frames.mcap"), "--window"])


@pytest.mark.parametrize(("shapes", "rate"), [([], 10.0), ([(4, 4, 3), (4, 6, 3)], 10.0), ([(4, 4, 3)], 0.0)])
def test_a_video_of_nothing_or_of_several_sizes_is_refused(tmp_path: Path, shapes: list[tuple], rate: float):
    with pytest.raises(ValueError, match="a video needs pictures of one size and a rate > 0"):
        write_video(tmp_path / "v.mp4", [np.zeros(shape, dtype=np.uint8) for shape in shapes], rate)
