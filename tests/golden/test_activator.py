"""Activator's gating unit, blocks and networks against the authors' own inputs, states, outputs and gradients."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from center_cases import Golden, load_state, read_golden
from torch import Tensor

from perception.models.key_map import rename_part
from perception.models.token_layout import tokens_of
from perception.registry import MODELS
from perception_plugins.activator import ActivatorBlock, load_official

PART = ("model.0.", "backbone.blocks.0.")


def _check(name: str, found: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5, msg=lambda text: f"{name}: {text}")


def _block(golden: Golden) -> None:
    config, x = golden.config, golden.inputs["x"].requires_grad_()
    block = ActivatorBlock(config["d_model"], config["d_ffn"], ffn=config["ffn"])
    load_state(block, rename_part(golden.state, load_official, *PART))
    y = block(x)
    found = {"y": y, "gating_unit": block.glu(block.norm(x))}
    for name, expected in golden.out.items():
        _check(name, found[name].detach(), expected)
    (y * golden.inputs["cotangent"]).sum().backward()
    _check("x", x.grad, golden.grad.pop("x"))
    for name, expected in rename_part(golden.grad, load_official, *PART).items():
        _check(name, block.get_parameter(name).grad, expected)


@torch.no_grad()
def _model(golden: Golden) -> None:
    config, image = golden.config, golden.inputs["image"]
    backbone = {
        "type": "Activator", "depth": config["num_layers"], "width": config["d_model"], "hidden": config["d_ffn"],
        "patch": config["patch_size"], "ffn": config["ffn"], "in_channels": config["in_channels"],
    }
    model = MODELS.build({"type": "BackboneClassifier", "backbone": backbone, "num_classes": config["num_classes"]})
    load_state(model, load_official(golden.state))
    found = {"tokens": tokens_of(model.backbone(image)[0]), "logits": model(image)}
    for name, expected in golden.out.items():
        _check(name, found[name], expected)


CASES = {"block": _block, "model": _model}


@pytest.mark.golden_files("activator")
def test_activator_equals_its_authors_code(golden_file: Path):
    golden = read_golden(golden_file)
    CASES[golden.case](golden)
