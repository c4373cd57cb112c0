"""The configs of the linear attention zoo: one skeleton, whose mixers differ by the parameters that are told."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from perception.engine.config import load_config
from perception.registry import MODELS
from perception.zoo.model_size import model_size
from perception_plugins.linear_attention_zoo import PLUGIN

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "configs/linear_attention_zoo"
STAGES = [(2, 64, 56**2), (2, 128, 28**2), (6, 320, 14**2), (2, 512, 7**2)]     # blocks, channels, tokens
EXTRA = {                                            # parameters of a mixer beyond those of softmax attention
    "longformer": lambda C, N: 3 * C**2 + 3 * C, "reformer": lambda C, N: -(C**2 + C),
    "linformer": lambda C, N: 2 * 64 * N, "performer": lambda C, N: 0, "performer_relu": lambda C, N: 0,
    "linear": lambda C, N: 0,
}


def parameters(name: str) -> int:
    return model_size(FOLDER / f"{name}_s12.py").parameters


@pytest.mark.parametrize("name", EXTRA)
def test_a_config_has_the_parameters_of_the_sheet(name):
    extra = sum(blocks * EXTRA[name](channels, count) for blocks, channels, count in STAGES)
    assert parameters(name) == parameters("full") + extra


def test_full_attention_has_four_square_matrices_a_block():
    mixers = sum(blocks * (4 * channels**2 + 4 * channels) for blocks, channels, _ in STAGES)
    cfg = load_config(FOLDER / "full_s12.py").model
    cfg.network.backbone.token_mixer = {"type": "IdentityMixer"}
    with torch.device("meta"):
        skeleton = MODELS.build(cfg)
    assert sum(p.numel() for p in skeleton.parameters()) == parameters("full") - mixers


@pytest.mark.parametrize("name", ["full", *EXTRA])
def test_a_config_learns_from_pictures_of_its_size_with_a_block_a_stage(name):
    cfg = load_config(FOLDER / f"{name}_s12.py").model
    cfg.network.backbone.depths = (1, 1, 1, 1)
    network: nn.Module = MODELS.build(cfg.network)
    network(torch.rand(1, 3, 224, 224)).sum().backward()
    trained = {key: p.grad for key, p in network.named_parameters() if p.requires_grad}
    assert [key for key, grad in trained.items() if grad is None or not grad.isfinite().all()] == []


def test_the_plugin_lists_every_config():
    assert {ROOT / path for path in PLUGIN.variants} == set(FOLDER.glob("*.py"))
