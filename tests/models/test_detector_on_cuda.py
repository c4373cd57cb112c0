"""The whole detector trains and predicts on a GPU as on the CPU."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from random_frames import random_frame
from torch import nn

import perception_plugins.flatformer  # noqa: F401 - registers the backbone where the plugin is not installed
from perception.engine.checkpoint import load_weights, save_checkpoint
from perception.engine.optim_wrapper import AutocastOptimWrapper
from perception.registry import MODELS

pytestmark = [
    pytest.mark.cuda, pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device on this machine")
]
CONFIG = Path(__file__).resolve().parents[2] / "configs/flatformer/flatformer_tiny.py"


@pytest.fixture(autouse=True)
def full_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.cuda.matmul, "allow_tf32", False)
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)


@pytest.fixture
def detectors() -> tuple[nn.Module, nn.Module]:
    """The same random detector on the GPU and on the CPU."""
    init_default_scope("perception")
    torch.manual_seed(0)
    model = MODELS.build(Config.fromfile(CONFIG).model)
    return copy.deepcopy(model).cuda(), model


FRAMES = [random_frame(seed=seed) for seed in (0, 1)]


def test_losses_and_gradients_equal_those_of_the_cpu(detectors: tuple[nn.Module, nn.Module]):
    losses, gradients = [], []
    for model in detectors:
        batch = model.data_preprocessor(FRAMES, True)
        parts = model.train()(**batch, mode="loss")
        sum(parts.values()).backward()
        losses.append({name: float(value) for name, value in parts.items()})
        gradients.append({name: value.grad.cpu() for name, value in model.named_parameters()})
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)
    for name, gradient in gradients[1].items():               # batch normalisation adds up thousands of cells
        torch.testing.assert_close(gradients[0][name], gradient, atol=1e-3 * float(gradient.abs().max()) + 1e-6, rtol=0)


def test_predictions_equal_those_of_the_cpu(detectors: tuple[nn.Module, nn.Module]):
    found = []
    for model in detectors:
        with torch.inference_mode():
            batch = model.eval().data_preprocessor(FRAMES, False)
            found.append([part.to("cpu") for part in model(**batch, mode="predict")])
    for ours, expected in zip(*found, strict=True):
        assert ours.names() == expected.names()
        torch.testing.assert_close(ours.scores, expected.scores, atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(ours.boxes.tensor, expected.boxes.tensor, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("dtype", ["auto", "bfloat16", "float16", None])
def test_a_step_in_every_precision_moves_the_weights(detectors: tuple[nn.Module, nn.Module], dtype: str | None):
    model = detectors[0].train()
    wrapper = AutocastOptimWrapper(dtype=dtype, optimizer=torch.optim.AdamW(model.parameters(), lr=1e-3))
    before = {name: value.detach().clone() for name, value in model.named_parameters()}
    with wrapper.optim_context(model):
        losses = model(**model.data_preprocessor(FRAMES, True), mode="loss")
    wrapper.update_params(sum(losses.values()))
    assert all(torch.isfinite(value) for value in losses.values())
    assert all(torch.isfinite(value).all() for value in model.parameters())
    assert any(not torch.equal(before[name], value) for name, value in model.named_parameters())


def test_a_checkpoint_of_the_gpu_loads_on_the_cpu(detectors: tuple[nn.Module, nn.Module], tmp_path: Path):
    on_gpu, on_cpu = detectors
    with torch.no_grad():
        on_gpu.head.shared.conv.weight.add_(1.0)
    save_checkpoint({"state_dict": on_gpu.state_dict()}, tmp_path / "weights.pth")
    load_weights(on_cpu, tmp_path / "weights.pth")
    torch.testing.assert_close(on_cpu.head.shared.conv.weight, on_gpu.head.shared.conv.weight.cpu(), rtol=0, atol=0)
