"""Segmentation through the tools: replayed, written, read back and drawn."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from PIL import Image

from perception.datasets.nuscenes_point_labels import POINT_CLASSES
from perception.replay.source import open_source
from perception.structures import Frame, PointPredictions, SegmentationPredictions
from perception.structures.prediction_lines import read_prediction_lines
from perception.visualization.legend import legend_strip
from perception.visualization.segment_palette import segment_colors

ROOT = Path(__file__).resolve().parents[2]
CONFIG = ROOT / "configs/p2at/p2at_s_synthetic.py"
ROAD, CAR = POINT_CLASSES.index("driveable_surface"), POINT_CLASSES.index("car")
SIZES = {"frame_1": (96, 128), "frame_2": (72, 136)}


def load_tool(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"{name}_tool", ROOT / f"tools/{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def replay_tool() -> ModuleType:
    return load_tool("replay")


@pytest.fixture(scope="module")
def visualize_tool() -> ModuleType:
    return load_tool("visualize")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Pictures of two sizes, neither of them that of the training."""
    path, rng = tmp_path / "drive", np.random.default_rng(0)
    path.mkdir()
    for name, size in SIZES.items():
        Image.fromarray(rng.integers(0, 256, (*size, 3), dtype=np.uint8)).save(path / f"{name}.png")
    return path


def test_a_folder_of_pictures_is_segmented_and_becomes_a_video(
    replay_tool: ModuleType, visualize_tool: ModuleType, folder: Path, tmp_path: Path
):
    import av

    from perception.engine.inference import load_model

    torch.manual_seed(0)
    weights, out = tmp_path / "untrained.pth", tmp_path / "out"
    torch.save({"state_dict": load_model(CONFIG, None).model.state_dict()}, weights)
    words = [str(CONFIG), str(weights), str(folder), "--rate", "0", "--device", "cpu", "--out", str(out)]
    assert replay_tool.main([*words, "--pictures", "1", "--source-options", "fps=5"]) == 0
    assert [path.name for path in (out / "pictures").iterdir()] == ["0000_cameras.png"]
    found = read_prediction_lines(out / "predictions.jsonl")
    assert {token: tuple(one.classes.shape) for token, one in found.items()} == SIZES
    assert json.loads((out / "latency.json").read_text())["frames"] == 2

    lines = str(out / "predictions.jsonl")
    words = [str(folder), "--predictions", lines, "--video", "--out", str(tmp_path / "drawn")]
    assert visualize_tool.main([*words, "--source-options", "fps=5"]) == 0
    names = sorted(path.name for path in (tmp_path / "drawn").iterdir())
    assert names == ["0000_cameras.png", "0001_cameras.png", "cameras.mp4"]
    one = found["frame_1"]
    assert isinstance(one, SegmentationPredictions)
    picture = np.asarray(Image.open(tmp_path / "drawn/0000_cameras.png"))
    legend = picture[-len(legend_strip({}, one.class_names, picture.shape[1])) :]
    present = {color for color in segment_colors(one.class_names) if (legend == color).all(axis=2).any()}
    assert present == {segment_colors(one.class_names)[label] for label in one.classes.unique().tolist()}
    with av.open(str(tmp_path / "drawn/cameras.mp4")) as container:
        assert float(container.streams.video[0].average_rate) == pytest.approx(5.0)


class ByHeight:
    """Calls what is low road and the rest cars, each 10 m of them another."""

    def preprocess(self, frame: Frame) -> torch.Tensor:
        assert frame.points is not None
        return frame.points.xyz

    def network(self, xyz: torch.Tensor) -> torch.Tensor:
        return xyz

    def decode(self, xyz: torch.Tensor, batch: torch.Tensor) -> PointPredictions:
        classes = torch.where(xyz[:, 2] < 0.3, ROAD, CAR)
        numbers = torch.where(classes == CAR, (xyz[:, 0] / 10).floor().long().clamp(min=0) + 1, 0)
        return PointPredictions(self.token, 0, classes, POINT_CLASSES, numbers)


def test_points_of_a_sweep_are_written_and_drawn_beside_the_true_ones(
    replay_tool: ModuleType, visualize_tool: ModuleType, shared_data: Path, tmp_path: Path
):
    source, model = f"{shared_data / 'nuscenes/devkit_root'}:scene-0061", ByHeight()
    [frame] = open_source(source, keyframes=True)
    model.token = frame.token
    args = replay_tool.parse_args(["c.py", "w.pth", source, "--rate", "0", "--keyframes", "--out", str(tmp_path)])
    assert replay_tool.replay(args, open_source(source, keyframes=True), model, None) == 0
    lines = tmp_path / "predictions.jsonl"
    assert torch.equal(read_prediction_lines(lines)[frame.token].classes, model.decode(frame.points.xyz, None).classes)

    words = [source, "--keyframes", "--labels", "--predictions", str(lines), "--views", "bev", "scene", "--backend"]
    assert visualize_tool.main([*words, "software", "--out", str(tmp_path)]) == 0
    road, car, manmade = (segment_colors(POINT_CLASSES)[POINT_CLASSES.index(name)] for name in (
        "driveable_surface", "car", "manmade"
    ))
    for view in ("bev", "scene"):
        picture = np.asarray(Image.open(tmp_path / f"0000_{view}.png"))
        true, predicted = np.array_split(picture, 2, axis=1)
        for half, is_true in ((true, True), (predicted, False)):
            assert (half == road).all(axis=2).any()
            assert (half == car).all(axis=2).any()
            assert bool((half == manmade).all(axis=2).any()) == is_true


def test_labels_of_a_recording_without_any_are_refused(visualize_tool: ModuleType, folder: Path, tmp_path: Path):
    from perception.errors import ConfigError

    with pytest.raises(ConfigError, match=r'a folder of pictures .* has no option "labels"'):
        visualize_tool.main([str(folder), "--labels", "--out", str(tmp_path)])


def test_cameras_are_drawn_as_chosen(visualize_tool: ModuleType, shared_data: Path, tmp_path: Path):
    source = open_source(shared_data / "nuscenes/devkit_root", keyframes=True)
    [(_, frame)] = visualize_tool.chosen_frames(source, 1, ["CAM_BACK", "CAM_FRONT"])
    assert list(frame.cameras) == ["CAM_BACK", "CAM_FRONT"]
