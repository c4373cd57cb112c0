"""Wide transformers against an independent float64 form: encoders, stacked weights, pictures, the construction."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from center_cases import Golden, load_state, read_golden
from safetensors.torch import load_file
from torch import Tensor

from perception.models.classifier import BackboneClassifier
from perception_plugins.wide_transformer import (
    RidgeSum,
    UniversalRidge,
    WideTransformer,
    load_official,
    stack_weights,
)


def _sizes(config: dict[str, Any]) -> dict[str, Any]:
    assert config["eps"] == 1e-5
    return {
        "depth": config["depth"], "heads": config["heads"], "head_channels": config["head_dim"],
        "hidden": config["ffn_dim"], "activation": config["act"], "norm": config["norm"],
    }


def _encoder(golden: Golden, state: dict[str, Tensor]) -> WideTransformer:
    model = WideTransformer(golden.config["dim"], **_sizes(golden.config))
    load_state(model, load_official(state))
    return model


def _weights_of_last(model: WideTransformer, x: Tensor, mask: Tensor) -> Tensor:
    *before, last = model.layers
    for layer in before:
        x = layer(x, mask)
    return last.attn.weights(last.norm1(x) if last.is_pre else x, mask)


def _compare(name: str, found: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(found, expected, atol=2e-5, rtol=0, msg=lambda text: f"{name}: {text}")


def _tokens(golden: Golden, path: Path) -> None:
    model = _encoder(golden, golden.state)
    x, mask = golden.inputs["x"].requires_grad_(), golden.inputs["mask"]
    if "n_params" in golden.config:
        assert sum(parameter.numel() for parameter in model.parameters()) == golden.config["n_params"]
    y = model(x, mask)
    found = {"y": y, "attn_last": _weights_of_last(model, x, mask)}
    for name, expected in golden.out.items():
        _compare(name, found[name], expected)
    (y * golden.inputs["cotangent"]).sum().backward()
    for name, expected in golden.grad.items():
        grad = x.grad if name == "x" else model.get_parameter(name).grad
        assert grad is not None
        _compare(name, grad, expected)


def _stacked(golden: Golden, path: Path) -> None:
    deep = {key.removeprefix("deep."): value for key, value in load_file(path).items() if key.startswith("deep.")}
    stacked = stack_weights(deep, golden.config["from_depth"])
    assert stacked.keys() == golden.state.keys()
    for name, expected in golden.state.items():
        _compare(name, stacked[name], expected)
    model = _encoder(golden, stacked)
    x, mask = golden.inputs["x"], golden.inputs["mask"]
    _compare("y", model(x, mask), golden.out["y"])
    _compare("attn", _weights_of_last(model, x, mask), golden.out["attn"])


def _image(golden: Golden, path: Path) -> None:
    config, patch = golden.config, golden.config["patch_size"]
    assert config["pool"] == "mean"
    grid = (config["img_size"][0] // patch, config["img_size"][1] // patch)
    backbone = {
        "type": "WideVisionTransformer", "width": config["dim"], "patch": patch, "position": grid, **_sizes(config)
    }
    model = BackboneClassifier(backbone, config["num_classes"])
    load_state(model, load_official(golden.state, grid))
    image = golden.inputs["image"]
    found = {"tokens0": model.backbone.tokens(image)[0], "map": model.backbone(image)[0], "logits": model(image)}
    for name, expected in golden.out.items():
        _compare(name, found[name], expected)


def _universal(golden: Golden, path: Path) -> None:
    config, x = golden.config, golden.inputs["X"]
    target = RidgeSum(golden.inputs["A"], golden.inputs["phase"], golden.inputs["coef"])
    assert config["domain"] == "[0,1]"
    assert target.directions.shape == (config["n"], config["out_dim"], config["terms"], config["n"] * config["d"])
    _compare("target", target(x), golden.out["target"])
    model = UniversalRidge(target, config["d"], segments=config["segments"], sharpness=config["beta"])
    assert model.state_dict().keys() <= golden.state.keys() | {"attn.q.weight", "attn.q.bias"}
    for name, expected in golden.state.items():
        limit = 2e-5 * max(1.0, expected.abs().max().item())
        torch.testing.assert_close(model.state_dict()[name], expected, atol=limit, rtol=0)
    _compare("y", model(x), golden.out["y"])
    bounds = [target.error_bound(width, config["beta"]) for width in config["widths"]]
    torch.testing.assert_close(torch.tensor(bounds), golden.out["bound_per_width"], atol=1e-6, rtol=1e-4)
    for width, bound, expected in zip(config["widths"], bounds, golden.out["err_per_width"].tolist(), strict=True):
        error = (UniversalRidge(target, config["d"], segments=width)(x) - target(x)).abs().max().item()
        assert error == pytest.approx(expected, abs=2e-5)
        assert error <= bound + 2e-5


CASES: dict[str, Callable[[Golden, Path], None]] = {
    "encoder_tokens_deep": _tokens, "stacked_wide": _stacked, "image_wide": _image,
    "universal_construction": _universal,
}


@pytest.mark.golden_files("wide_transformer")
def test_wide_transformers_equal_their_definition(golden_file: Path):
    golden = read_golden(golden_file)
    CASES[golden.case](golden, golden_file)
