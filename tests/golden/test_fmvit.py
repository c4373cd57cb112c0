"""FMViT-style networks against an independent implementation in float64 of the same equations."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from center_cases import Golden, load_state, read_golden
from torch import Tensor, nn

from perception.compression.batch_norm import fold_batch_norms
from perception.models.key_map import rename_part
from perception.models.rep_conv import RepConv
from perception_plugins.fmvit import FMViT, load_official
from perception_plugins.fmvit.blocks import ConvFusionBlock, FrequencyMixingBlock

TOLERANCE = 2e-5
BLOCK = ("stages.0.0.", "backbone.stages.0.0.")


def _compare(found: Mapping[str, Tensor | None], expected: Mapping[str, Tensor]) -> None:
    for name, value in expected.items():
        torch.testing.assert_close(
            found[name], value, atol=TOLERANCE, rtol=0, msg=lambda text, name=name: f"{name}: {text}"
        )


def _of_part(tensors: Mapping[str, Tensor], part: str, prefix: tuple[str, str] = BLOCK) -> dict[str, Tensor]:
    own = {key.removeprefix(f"{part}."): value for key, value in tensors.items() if key.startswith(f"{part}.")}
    return rename_part(own, load_official, *prefix)


def _rep(golden: Golden) -> None:
    config = golden.config
    rep = RepConv(
        config["cin"], config["cout"], config["branches"], identity=config["identity"], stride=config["stride"],
        eps=config["bn_eps"],
    )
    load_state(rep, _of_part(golden.state, "rep", ("stem.0.", "backbone.stem.0.")))
    assert rep.groups == config["fused_groups"]
    weight, bias = rep.fused()
    with torch.no_grad():
        found = {"y": rep(golden.inputs["x"]), "fused_weight": weight.float(), "fused_bias": bias.float()}
        _compare(found, golden.out)
        fold_batch_norms(rep)
        _compare({**found, "y": rep(golden.inputs["x"])}, golden.out)


def _blocks(golden: Golden) -> None:
    config = golden.config
    assert config.get("bn_mode", "eval") == "eval"
    common: dict[str, Any] = {
        "conv_head_channels": config["conv_head_dim"], "mlp_ratio": config["mlp_ratio"],
        "mlp_branches": config["mlp_branches"], "eps": config["bn_eps"],
    }
    cfb = ConvFusionBlock(config["channels"], **common)
    fmb = FrequencyMixingBlock(
        config["channels"], reduction=config["sr_ratio"], head_channels=config["head_dim"],
        attention_branches=config["attn_branches"], low_ratio=config["low_ratio"], **common,
    )
    blocks = nn.ModuleDict({"cfb": cfb, "fmb": fmb})
    for name, block in blocks.items():
        load_state(block, _of_part(golden.state, name))
    blocks.eval()

    def run(x: Tensor) -> dict[str, Tensor]:
        first = cfb(x)
        low, high = fmb.mixed(first)
        return {"cfb": first, "fmb_low": low, "fmb_high": high, "fmb": fmb(first)}

    x = golden.inputs["x"].requires_grad_()
    found = run(x)
    _compare(found, golden.out)
    found["fmb"].sum().backward()
    _compare({"x": x.grad, **{name: parameter.grad for name, parameter in blocks.named_parameters()}}, golden.grad)
    with torch.no_grad():
        fold_batch_norms(blocks)
        _compare(run(golden.inputs["x"]), golden.out)


def _backbone(golden: Golden) -> None:
    config = golden.config
    network = nn.ModuleDict({"backbone": FMViT(
        widths=config["dims"], depths=config["depths"], reductions=config["sr"], head_channels=config["head_dim"],
        conv_head_channels=config["conv_head_dim"], mlp_ratio=config["mlp_ratio"], low_ratio=config["low_ratio"],
        mlp_branches=config["mlp_branches"], attention_branches=config["attn_branches"], norm_eps=config["bn_eps"],
    )})
    load_state(network, load_official(golden.state))
    backbone: Any = network["backbone"]

    @torch.no_grad()
    def compare() -> None:
        _compare({f"feat{level}": x for level, x in enumerate(backbone(golden.inputs["image"]))}, golden.out)

    compare()
    backbone.switch_to_deploy()
    compare()


CASES: dict[str, Callable[[Golden], None]] = {"backbone": _backbone, "blocks": _blocks, "rep": _rep}


@pytest.mark.golden_files("fmvit")
def test_fmvit_equals_the_equations(golden_file: Path):
    golden = read_golden(golden_file)
    CASES[golden.case](golden)
