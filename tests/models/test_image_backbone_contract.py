"""What every image backbone, those of the plugins included, promises: maps, any picture, export, bfloat16, learning."""

from __future__ import annotations

import json
import runpy
from collections.abc import Callable
from functools import cache
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest
import torch
from mmengine.config import ConfigDict
from torch import Tensor, nn

from perception.engine.config import load_config
from perception.registry import MODELS, list_registered, load_plugins, plugin_modules
from perception.structures import PixelLabels

ROOT = Path(__file__).resolve().parents[2]
CONFIG = ROOT / "configs/segmentation_encoders/encoder_synthetic.py"
SIZE, ODD = (64, 64), (225, 401)                     # multiples of every backbone's strides; of nothing
DEPTHS = (1, 1, 1, 1)                                # tracing for an export takes a hundredth of a second an operation
MULTIPLES = {"DuoFormer": 32, "PyramidTNT": 32, "TNT": 16}     # which the others need not
STEPS = 4


def backbones() -> list[str]:
    """Names of all that this project registers."""
    load_plugins(name for name, module in plugin_modules().items() if module.startswith("perception_plugins."))
    packages = ("perception", "perception_plugins")
    return list_registered(MODELS, "image_backbone", of=lambda cls: cls.__module__.partition(".")[0] in packages)


every_backbone = pytest.mark.parametrize("name", backbones())


@cache
def model_config(name: str) -> ConfigDict:
    return load_config(CONFIG, {"encoder": name, "crop": SIZE, "depths": DEPTHS}).model


def backbone(name: str) -> nn.Module:
    torch.manual_seed(0)
    return MODELS.build(model_config(name).backbone).eval()


def pictures(count: int, size: tuple[int, int], seed: int = 0) -> Tensor:
    return torch.randn(count, 3, *size, generator=torch.Generator().manual_seed(seed))


def street() -> tuple[Tensor, list[PixelLabels]]:
    """Two pictures of four upright bands, each of a class and a brightness, with noise."""
    classes = (torch.arange(SIZE[1]) * 4 // SIZE[1]).repeat(SIZE[0], 1)
    return classes - 1.5 + 0.3 * pictures(2, SIZE), [PixelLabels(classes), PixelLabels(classes)]


@every_backbone
@torch.no_grad()
def test_maps_have_the_widths_and_strides_told(name):
    net = backbone(name)
    assert list(net.strides) == sorted(net.strides)
    assert [tuple(x.shape) for x in net(pictures(2, SIZE))] == [
        (2, channels, SIZE[0] // stride, SIZE[1] // stride)
        for channels, stride in zip(net.channels, net.strides, strict=True)
    ]


@every_backbone
@torch.no_grad()
def test_an_odd_picture_is_taken_unless_the_multiple_that_is_needed_is_told(name):
    net, multiple, size = backbone(name), MULTIPLES.get(name, 1), ODD
    if multiple > 1:
        with pytest.raises(ValueError, match=rf"multiples of {multiple}\b.* got 225 x 401"):
            net(pictures(1, ODD))
        size = (-(-ODD[0] // multiple) * multiple, -(-ODD[1] // multiple) * multiple)
    for x, channels, stride in zip(net(pictures(1, size)), net.channels, net.strides, strict=True):
        assert x.shape[1] == channels
        assert all(abs(x.shape[2 + axis] - size[axis] / stride) < 1 for axis in (0, 1))
        assert x.isfinite().all()


@every_backbone
@torch.no_grad()
def test_an_export_gives_the_same_maps_of_another_picture(name):
    net, images = backbone(name), pictures(1, SIZE)
    exported = torch.export.export(net, (pictures(1, SIZE, seed=1),)).module()
    for got, expected in zip(exported(images), net(images), strict=True):
        torch.testing.assert_close(got, expected)


@pytest.mark.parametrize("name", ["DuoFormer", "MetaFormer", "PyramidTNT"])
def test_the_config_has_a_published_size_too(name):
    cfg = load_config(CONFIG, {"encoder": name, "small": False})
    with torch.device("meta"):
        published, slim = (MODELS.build(config) for config in (cfg.model, model_config(name)))
    assert sum(p.numel() for p in published.parameters()) > 3 * sum(p.numel() for p in slim.parameters())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["float32", "bfloat16"])
@every_backbone
def test_it_learns_a_batch_with_finite_gradients_of_all_parameters(name, dtype):
    torch.manual_seed(0)
    model = MODELS.build(model_config(name)).train()
    images, labels = street()
    optimizer, losses = torch.optim.AdamW(model.parameters(), lr=5e-3), []
    for _ in range(STEPS):
        with torch.autocast("cpu", dtype, enabled=dtype is not torch.float32):
            loss = model.loss(images, labels)["decode.loss_seg"]
        optimizer.zero_grad()
        loss.backward()
        learning = [(key, value.grad) for key, value in model.named_parameters() if value.requires_grad]
        assert [key for key, grad in learning if grad is None or not grad.isfinite().all()] == []
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.95 * losses[0]


@pytest.fixture(scope="module")
def tool() -> Callable[..., int]:
    """Runs a tool by its name and words."""
    return lambda name, *words: runpy.run_path(str(ROOT / f"tools/{name}.py"))["main"]([str(word) for word in words])


@pytest.fixture(scope="module")
def city(tool: Callable[..., int], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two drives of five keyframes, of which the LiDAR sees little."""
    root = tmp_path_factory.mktemp("data") / "city"
    tool("create_data", "synthetic", root, "--train-scenes", 2, "--val-scenes", 0, "--duration", 2.5, "--columns", 60,
         "--workers", 1)
    tool("create_data", "index", "nuscenes", root, "--split", "train")
    return root


@pytest.mark.slow
@every_backbone
def test_it_learns_to_segment_the_city(name: str, city: Path, tool: Any, tmp_path: Path):
    options = [f"encoder={name}", f"data_root={city}", "crop=(96, 160)"]
    assert tool("train", CONFIG, "--work-dir", tmp_path, "--device", "cpu", "--cfg-options", *options) == 0
    rows = [json.loads(line) for line in (tmp_path / "scalars.jsonl").read_text().splitlines()]
    assert len(rows) == 200
    assert all(row["loss"] is not None and row["grad_norm"] is not None for row in rows)     # None where not finite
    losses = [row["loss"] for row in rows]
    assert fmean(losses[-20:]) < 0.9 * fmean(losses[:20])
