"""The demo's detector as a graph: equal to the model on any number of points, real sweeps among them."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from lively_detector import CONFIGS, DEMO, lively_detector, streets

from perception.deployment.export import compare, export_model
from perception.deployment.graph_files import open_graph
from perception.deployment.task_network import TaskNetwork, tensor_inputs
from perception.engine.config import load_config
from perception.engine.inference import InferenceModel, load_network
from perception.errors import CheckpointError, ConfigError
from perception.replay.history import recorded_frame
from perception.replay.source import open_source

needs_onnx = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in ("onnx", "onnxruntime", "onnxscript")),
    reason="needs the extra [deploy]",
)
needs_compiler = pytest.mark.skipif(shutil.which("c++") is None and shutil.which("g++") is None, reason="no compiler")
KINDS = [pytest.param("onnx", marks=needs_onnx), "torch-export"]
ALL = [*KINDS, pytest.param("aoti", marks=[needs_compiler, pytest.mark.slow])]


@pytest.fixture(scope="module")
def detector() -> InferenceModel:
    return lively_detector()


@pytest.fixture(scope="module")
def write(detector: InferenceModel, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Gives the file of a format; each is written once."""
    folder = tmp_path_factory.mktemp("graphs")

    def path_of(kind: str) -> Path:
        path = folder / f"{kind}{'.onnx' if kind == 'onnx' else '.pt2'}"
        if not path.exists():
            differences = export_model(detector, streets(detector, 3000, 1000), kind, path)
            assert [one.name for one in differences][-1] == "0.heatmap"
            assert all(0 <= one.largest < 1e-4 < one.size for one in differences)
        return path

    return path_of


def largest(detector: InferenceModel, path: Path, kind: str, batches: list[dict[str, Any]]) -> float:
    inputs = [tensor_inputs(batch["inputs"]) for batch in batches]
    return max(one.largest for one in compare(TaskNetwork(detector.model), open_graph(path, kind), inputs))


@pytest.mark.parametrize("kind", ALL)
def test_the_graph_equals_the_model_for_any_number_of_points(detector, write, kind):
    assert largest(detector, write(kind), kind, streets(detector, 5000, 100, 1)) < 1e-4


@pytest.mark.parametrize("kind", ALL)
def test_an_empty_cloud_is_a_frame_too(detector, write, kind):
    (batch,) = streets(detector, 10)
    batch["inputs"]["points"] = [batch["inputs"]["points"][0][:0]]
    assert largest(detector, write(kind), kind, [batch]) < 1e-4


@pytest.mark.parametrize("kind", ALL)
@pytest.mark.parametrize("recording", ["kitti/raw_2011_09_26_sequence", "nuscenes/devkit_root:scene-0061"])
def test_the_graph_equals_the_model_on_real_sweeps(detector, write, kind, recording, shared_data):
    source = open_source(f"{shared_data}/{recording}")
    numbers = range(min(len(source), 2))
    batches = [detector.preprocess(recorded_frame(source, number, num_sweeps=1)) for number in numbers]
    assert all(len(batch["inputs"]["points"][0]) > 20_000 for batch in batches)
    assert largest(detector, write(kind), kind, batches) < 1e-4


@pytest.mark.parametrize("kind", KINDS)
def test_the_graph_equals_the_model_on_the_synthetic_city(detector, write, kind, towns_root):
    source = open_source(f"{towns_root}:scene-0003")
    assert largest(detector, write(kind), kind, [detector.preprocess(recorded_frame(source, 0))]) < 1e-4


def test_a_graph_of_other_weights_is_not_kept(detector, tmp_path):
    with pytest.raises(ConfigError, match=r"the torch-export graph differs from the model by .* in 0\.\w+, more than"):
        export_model(detector, streets(detector, 2000), "torch-export", tmp_path / "net.pt2", tolerance=1e-12)
    assert list(tmp_path.iterdir()) == []


def test_a_suffix_of_another_format_is_refused(detector, tmp_path):
    with pytest.raises(ValueError, match=r"path must end in \.onnx for onnx, got .*net\.pt2"):
        export_model(detector, streets(detector, 10), "onnx", tmp_path / "net.pt2")
    with pytest.raises(ValueError, match="batches must be at least 1, got 0"):
        export_model(detector, [], "onnx", tmp_path / "net.onnx")


def test_a_detector_with_a_memory_is_refused():
    cfg = load_config(DEMO.with_name("flatformer_synthetic_memory.py"))
    with pytest.raises(ConfigError, match=r"a Detector with a memory \(model\.memory\) is not exported"):
        TaskNetwork(load_network(cfg, None, torch.device("cpu")))


def test_a_model_that_writes_its_answer_word_by_word_is_refused(tmp_path):
    cfg = load_config(CONFIGS / "vectormapnet/vectormapnet_lidar_synthetic.py")
    loaded = InferenceModel(load_network(cfg, None, torch.device("cpu")).eval(), None, cfg)
    with pytest.raises(ConfigError, match="the network cannot be traced: "):
        export_model(loaded, streets(loaded, 2000), "torch-export", tmp_path / "net.pt2")


def test_inputs_are_tensors_of_one_frame():
    cloud = torch.rand(4, 5)
    found = tensor_inputs({"points": [cloud], "images": cloud, "sd_maps": [None]})
    assert list(found) == ["images", "points"]
    assert torch.equal(found["points"], cloud)
    with pytest.raises(ConfigError, match="a graph takes one frame at a time, got 2 under 'points'"):
        tensor_inputs({"points": [cloud, cloud]})
    with pytest.raises(ConfigError, match="input 'sd_maps' of the model is no tensor but dict: no graph takes it"):
        tensor_inputs({"sd_maps": [{}]})


@pytest.mark.parametrize("kind", ["aoti", *KINDS])
def test_files_that_hold_no_graph_are_refused(kind, tmp_path):
    path = tmp_path / "net.onnx"
    with pytest.raises(CheckpointError, match=r"net\.onnx: no such file"):
        open_graph(path, kind)
    path.write_bytes(b"nothing of the kind")
    with pytest.raises(CheckpointError, match=r"net\.onnx: no \w"):
        open_graph(path, kind)


def test_a_difference_of_shape_is_told(detector):
    inputs = tensor_inputs(streets(detector, 500)[0]["inputs"])
    network = TaskNetwork(detector.model)
    with pytest.raises(ConfigError, match=r"output 0\.reg has shape \(1, 2, 128, 127\) in the graph"):
        compare(network, lambda given: [x[..., 1:] for x in network(given)], [inputs])
