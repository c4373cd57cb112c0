"""Segmentors, map generators and image backbones as ONNX, beside the model on other inputs."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from lively_detector import CONFIGS
from torch import Tensor, nn

from perception.deployment.export import export_model
from perception.deployment.graph_files import open_graph, trace, write_graph
from perception.engine.benchmark.models import street_batch
from perception.engine.config import load_config
from perception.engine.inference import InferenceModel, load_network
from perception.registry import MODELS, list_registered, load_plugins, plugin_modules

pytest.importorskip("onnxruntime", reason="needs the extra [deploy]")
pytest.importorskip("onnxscript", reason="needs the extra [deploy]")
ENCODERS = CONFIGS / "segmentation_encoders/encoder_synthetic.py"
SIZE = (64, 64)
QUICK = {"MetaFormer", "MixTransformer", "ResNet"}                 # the others are traced for seconds each
OUTPUTS = {
    "maptr/maptr_lidar_synthetic.py": ("2.0", "2.1"), "segmentation_encoders/encoder_synthetic.py": ("output",),
    "kmax/kmax_small_synthetic.py": ("logits", "masks"), "pem/pem_small_synthetic.py": ("logits", "masks"),
    "p2at/p2at_s_synthetic.py": ("output",), "poolformer/poolformer_s12.py": ("output",),
}


def backbones() -> list[str]:
    load_plugins(name for name, module in plugin_modules().items() if module.startswith("perception_plugins."))
    packages = ("perception", "perception_plugins")
    return list_registered(MODELS, "image_backbone", of=lambda cls: cls.__module__.partition(".")[0] in packages)


def slow_unless(names: list[str], quick: set[str]) -> list[object]:
    return [name if name in quick else pytest.param(name, marks=pytest.mark.slow) for name in names]


class Maps(nn.Module):
    """A backbone whose pictures have a name."""

    def __init__(self, backbone: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone

    def forward(self, inputs: dict[str, Tensor]) -> tuple[Tensor, ...]:
        return tuple(self.backbone(inputs["images"]))


@pytest.mark.parametrize("name", slow_unless(backbones(), QUICK))
@torch.no_grad()
def test_an_image_backbone_gives_the_same_maps(name: str, tmp_path: Path):
    torch.manual_seed(0)
    cfg = load_config(ENCODERS, {"encoder": name, "crop": SIZE, "depths": (1, 1, 1, 1)})
    network = Maps(MODELS.build(cfg.model.backbone)).eval()
    traced, other = (torch.randn(1, 3, *SIZE) for _ in range(2))
    path, names = tmp_path / "net.onnx", [f"map{i}" for i in range(len(network.backbone.channels))]
    write_graph(trace(network, {"images": traced}, {"images": {}}), "onnx", path, ["images"], names)
    got = open_graph(path, "onnx")({"images": other})
    for one, expected in zip(got, network({"images": other}), strict=True):
        torch.testing.assert_close(one, expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("config", slow_unless(list(OUTPUTS), set(list(OUTPUTS)[:2])))
@torch.no_grad()
def test_a_task_model_gives_the_same_answers(config: str, tmp_path: Path):
    torch.manual_seed(0)
    cfg = load_config(CONFIGS / config)
    loaded = InferenceModel(load_network(cfg, None, torch.device("cpu")), None, cfg)
    batches = [street_batch(loaded.model, cfg, points=points, picture=(64, 128)) for points in (3000, 2000)]
    differences = {one.name: one for one in export_model(loaded, batches, "onnx", tmp_path / "net.onnx")}
    assert set(OUTPUTS[config]) <= set(differences)
    assert all(one.size > 1e-3 for one in differences.values())
