"""PoolFormer against the authors' own inputs, states, outputs and gradients."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from center_cases import Golden, load_state, read_golden
from torch import Tensor, nn

from perception.models.classifier import BackboneClassifier
from perception.models.token_layout import map_of, tokens_of
from perception.registry import MODELS
from perception_plugins.poolformer import PoolFormer, load_official

close = torch.testing.assert_close
NORMS = {"groupnorm": "group", "layernorm_channel": "layer"}


def _backbone_config(config: dict[str, Any]) -> dict[str, Any]:
    assert all(config["downsamples"])
    return {
        "type": "PoolFormer", "depths": config["layers"], "widths": config["embed_dims"],
        "ratios": config["mlp_ratios"], "pool_size": config.get("pool_size", 3), "norm": _norm(config),
        "layer_scale": 1e-5 if config.get("use_layer_scale", True) else 0.0,
        "out_norms": config.get("fork_feat", False),
    }


def _norm(config: dict[str, Any]) -> str:
    return NORMS[config.get("norm", "groupnorm")]


def _first_block(backbone: PoolFormer, image: Tensor) -> dict[str, Tensor]:
    """What the files have of the first block, which is taken apart for it."""
    x = backbone.stages[0].embed(image)
    size, tokens, block = (x.shape[2], x.shape[3]), tokens_of(x), backbone.stages[0].blocks[0]
    parts = {"block0_mixer": block.token_mixer(block.norm1(tokens), size), "block0": block(tokens, size)}
    return {"patch_embed": x, **{name: map_of(value, size) for name, value in parts.items()}}


def _classifier(golden: Golden) -> None:
    network = BackboneClassifier(_backbone_config(golden.config), golden.config["num_classes"], _norm(golden.config))
    _compare(golden, network, lambda image: {"logits": network(image)}, lambda found: found["logits"].sum())


def _features(golden: Golden) -> None:
    assert golden.config["fork_feat"]
    network = nn.ModuleDict({"backbone": MODELS.build(_backbone_config(golden.config))})

    def run(image: Tensor) -> dict[str, Tensor]:
        return {f"feat{number}": x for number, x in enumerate(network["backbone"](image))}

    _compare(golden, network, run, lambda found: sum((i + 1) * x.sum() for i, x in enumerate(found.values())))


def _compare(
    golden: Golden, network: Any, run: Callable[[Tensor], dict[str, Tensor]], total: Callable[[dict], Tensor]
) -> None:
    mapped = load_official(golden.state)
    load_state(network, mapped)
    backbone = network["backbone"] if isinstance(network, nn.ModuleDict) else network.backbone
    image = golden.inputs["image"].requires_grad_()
    found = run(image)
    total(found).backward()
    found |= _first_block(backbone, image)
    for name, expected in golden.out.items():
        close(found[name], expected, atol=1e-5, rtol=0, msg=lambda text, name=name: f"{name}: {text}")
    names = dict(zip(golden.state, mapped, strict=True))
    for name, expected in golden.grad.items():
        grad = image.grad if name == "image" else network.get_parameter(names[name]).grad.view_as(expected)
        limit = 1e-5 * max(1.0, expected.abs().max().item())     # sums over all pixels reach 100
        close(grad, expected, atol=limit, rtol=0, msg=lambda text, name=name: f"{name}: {text}")


CASES: dict[str, Callable[[Golden], None]] = {"classifier": _classifier, "features": _features}


@pytest.mark.golden_files("poolformer")
def test_poolformer_equals_the_authors_code(golden_file: Path):
    golden = read_golden(golden_file)
    CASES[golden.case](golden)
