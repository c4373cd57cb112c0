"""MatFormer's language model and vision transformer against the authors' inputs, states, outputs and gradients."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from center_cases import Golden, load_state, read_golden
from torch import Tensor, nn

from perception.models.metaformer.block import MetaFormerBlock
from perception_plugins.matformer import MatLM, MatViTClassifier, active_widths, load_official

ALIBI_MAX, BLOCKED = 8.0, -1e9                           # what stands for minus infinity in the files
OLMO = {                                                 # what the files say of the model beside its sizes
    "block_type": "sequential", "include_bias": True, "attention_layer_norm": False, "attention_dropout": 0.0,
    "residual_dropout": 0.0, "embedding_dropout": 0.0,
}


def assert_near(found: Mapping[str, Tensor], expected: Mapping[str, Tensor], atol: float = 1e-5) -> None:
    for name, value in expected.items():
        torch.testing.assert_close(
            found[name], value.view_as(found[name]), atol=atol, rtol=1e-5,
            msg=lambda text, name=name: f"{name}: {text}",
        )


def olmo_options(config: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments that a block and the whole model have in common."""
    assert {key: config[key] for key in OLMO} == OLMO
    position = "alibi" if config["alibi"] else "rotary" if config["rope"] else "learned"
    return {
        "heads": config["n_heads"], "multi_query": config["multi_query_attention"], "position": position,
        "alibi_max": config.get("alibi_bias_max", ALIBI_MAX),
    }


def olmo_gradients(module: nn.Module, golden: Golden) -> dict[str, Tensor | None]:
    ours = {name: next(iter(load_official({name: value}))) for name, value in golden.grad.items() if name != "x"}
    return {name: module.get_parameter(key).grad for name, key in ours.items()}


def _block(golden: Golden) -> None:
    config, inputs = golden.config, golden.inputs
    channels, hidden = config["d_model"], config["mlp_ratio"] * config["d_model"]
    options = olmo_options(config)
    block = MetaFormerBlock(
        channels, {"type": "OlmoAttention", **options},
        {"type": "NestedFeedForward", "hidden": hidden, "activation": config["activation_type"]},
    )
    load_state(block, load_official(golden.state))
    x = inputs["x"].requires_grad_()
    bias = block.token_mixer.bias(x.shape[1]).clamp(min=BLOCKED)
    torch.testing.assert_close(bias, inputs["attention_bias"].expand_as(bias))
    found = {}
    for factor in config["factors"]:
        with active_widths(block, hidden // factor):
            found[f"y_1_{factor}"] = block(x)
    assert_near(found, golden.out)
    (found["y_1_4"] * inputs["cotangent"]).sum().backward()
    assert_near({**olmo_gradients(block, golden), "x": x.grad}, golden.grad)


def _language_model(golden: Golden) -> None:
    config, ids = golden.config, golden.inputs["ids"]
    model = MatLM(
        vocab=config["embedding_size"], depth=config["n_layers"], width=config["d_model"], ratio=config["mlp_ratio"],
        max_length=config["max_sequence_length"], activation=config["activation_type"], **olmo_options(config),
    )
    load_state(model, load_official(golden.state))
    hidden = config["mlp_ratio"] * config["d_model"]
    widths = {factor: int(hidden / factor) for factor in config["factors"]}
    losses = {f"loss_1_{factor}": model.loss(ids, width) for factor, width in widths.items()}
    sum(losses.values()).backward()
    mixed = [int(hidden / factor) for factor in config["mixnmatch"]]
    found = {f"logits_1_{factor}": model(ids, width) for factor, width in widths.items()}
    assert_near({**found, **losses, "logits_mixnmatch": model(ids, mixed)}, golden.out, 3e-5)
    torch.testing.assert_close(model.extract(mixed)(ids), model(ids, mixed), atol=1e-6, rtol=1e-5)
    assert_near(olmo_gradients(model, golden), golden.grad)


def _vision(golden: Golden) -> None:
    config, inputs = golden.config, golden.inputs
    grid = tuple(side // config["patch"] for side in config["image"])
    network = MatViTClassifier({
        "type": "MatViT", "width": config["hidden_size"], "depth": config["num_layers"], "heads": config["num_heads"],
        "hidden": config["mlp_dim"], "widths": config["matvit_dims"], "patch": config["patch"],
        "position": {"learned_1d": grid, "sinusoidal_2d": "sincos"}[config["positional_embedding"]],
        "class_token": {"token": True, "gap": False}[config["classifier"]],
        "in_channels": config["channels"],
    }, config["num_classes"])
    load_state(network, load_official(golden.state, grid))
    x = inputs["x"].requires_grad_()
    images, mixed = x.permute(0, 3, 1, 2), config["mixnmatch"]
    found = {f"logits_{width}": network(images, width) for width in config["matvit_dims"]}
    losses = [network.loss(logits, inputs["labels"])["loss_class"] for logits in found.values()]
    found["logits_mixnmatch"] = network(images, mixed)
    found |= {"features_mixnmatch": network.backbone.pooled(images, mixed), "loss_sum": sum(losses)}
    found["loss_sum"].backward()
    assert_near(found, golden.out)
    torch.testing.assert_close(network.extract(mixed)(images), found["logits_mixnmatch"], atol=1e-6, rtol=1e-5)
    assert_near({**_flax_gradients(network, golden), "x": x.grad}, golden.grad)


def _flax_gradients(network: nn.Module, golden: Golden) -> dict[str, Tensor]:
    """Of the parameters named, each laid out as in the file."""
    found = {}
    for name, value in golden.grad.items():
        if name != "x":
            (ours,) = load_official({name: value})
            grad = network.get_parameter(ours).grad
            found[name] = grad.T if value.dim() == 2 else grad
    return found


CASES: dict[str, Callable[[Golden], None]] = {"olmo_block": _block, "olmo_lm": _language_model, "matvit": _vision}


@pytest.mark.golden_files("matformer")
def test_matformer_equals_the_authors_code(golden_file: Path):
    golden = read_golden(golden_file)
    CASES[golden.case](golden)
