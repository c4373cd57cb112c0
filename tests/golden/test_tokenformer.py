"""TokenFormer against the authors' own inputs, states, outputs and gradients."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from center_cases import Golden, load_state, read_golden
from torch import Tensor, nn

from perception_plugins.tokenformer import Pattention, TokenFormerLM, load_official
from perception_plugins.tokenformer.layer import extend_layer, tokenformer_layer

ROTARY = {"rotary": lambda config: config["rotary_pct"], "none": lambda config: 0.0}
NORMS = {"norm": "layernorm_nonparam", "final_norm": "layernorm"}


def assert_near(found: Mapping[str, Tensor], expected: Mapping[str, Tensor], atol: float) -> None:
    for name, value in expected.items():
        torch.testing.assert_close(
            found[name], value, atol=atol, rtol=1e-5, msg=lambda text, name=name: f"{name}: {text}"
        )


def gradients(module: nn.Module, golden: Golden) -> dict[str, Tensor]:
    """Of the inputs and parameters that the file names."""
    ours = {name: next(iter(load_official({name: value}))) for name, value in golden.grad.items() if name != "x"}
    found = {name: module.get_parameter(key).grad for name, key in ours.items()}
    return found | ({"x": golden.inputs["x"].grad} if "x" in golden.grad else {})


def _table(golden: Golden) -> None:
    config = golden.config
    table = Pattention(
        config["input_channels"], config["output_channels"], config["param_token_num"],
        activation=config["norm_activation_type"],
    )
    load_state(table, load_official(golden.state))
    x, mask = golden.inputs["x"].requires_grad_(), golden.inputs.get("attn_mask")
    y = table(x, mask)
    (y * golden.inputs["cotangent"]).sum().backward()
    assert_near({"weights": table.weights(x, mask), "y": y}, golden.out, 1e-5)
    assert_near(gradients(table, golden), golden.grad, 1e-5)


def _layer(golden: Golden) -> None:
    config = golden.config
    assert config["norm"] == NORMS["norm"]
    layer = tokenformer_layer(
        config["hidden_size"], qkv_slots=config["qkv_slot_num"], proj_slots=config["proj_slot_num"],
        ffn_slots=config["ffn_slot_num"], norm_eps=config["layernorm_epsilon"], heads=config["num_attention_heads"],
        causal=config["causal"], rotary_pct=ROTARY[config["pos_emb"]](config), rotary_base=config["rotary_emb_base"],
        tables={"activation": config["norm_activation_type"]},
    )
    load_state(layer, load_official(golden.state))
    x = golden.inputs["x"].requires_grad_()
    tokens = x.transpose(0, 1)                                                           # (B, T, C)
    y = layer(tokens).transpose(0, 1)
    (y * golden.inputs["cotangent"]).sum().backward()
    normed = layer.norm1(tokens)
    found = {"query": layer.token_mixer.query(normed), "attention": layer.token_mixer(normed)}
    found = {name: value.transpose(0, 1) for name, value in found.items()} | {"y": y}
    if "stream" in golden.out:
        found["stream"] = _streamed(layer, tokens).transpose(0, 1)
    assert_near(found, golden.out, 2e-5)
    assert_near(gradients(layer, golden), golden.grad, 2e-5)


def _streamed(layer: Any, tokens: Tensor) -> Tensor:
    """All tokens but two at once, then one and one."""
    cache, parts = None, []
    for part in tokens.split([tokens.shape[1] - 2, 1, 1], dim=1):
        y, cache = extend_layer(layer, part, cache)
        parts.append(y)
    return torch.cat(parts, dim=1)


def _growth(golden: Golden) -> None:
    config, x = golden.config, golden.inputs["x"]
    table = Pattention(
        config["input_channels"], config["output_channels"], config["old_tokens"],
        activation=config["norm_activation_type"],
    )
    states = {
        name: load_official({
            key.removeprefix(f"{name}."): value for key, value in golden.state.items() if key.startswith(f"{name}.")
        })
        for name in ("small", "grown")
    }
    load_state(table, states["small"])
    found = {"y_small": table(x)}
    table.grow(config["new_tokens"])
    with torch.no_grad():                                # new values are random: take those of the file
        for name in ("key_param_tokens", "value_param_tokens"):
            rows = states["grown"][name]
            assert torch.equal(table.get_parameter(name)[: config["old_tokens"]], rows[: config["old_tokens"]])
            table.get_parameter(name)[config["old_tokens"] :] = rows[config["old_tokens"] :]
    assert torch.equal(table.key_param_tokens, states["grown"]["key_param_tokens"])
    found["y_grown_pinned"] = table(x)
    load_state(table, states["grown"])
    found["y_grown_reference"] = table(x)
    assert_near(found, golden.out, 1e-5)


def _language_model(golden: Golden) -> None:
    config, inputs = golden.config, golden.inputs
    assert all(config[name] == kind for name, kind in NORMS.items())
    model = TokenFormerLM(
        vocab=config["vocab"], depth=config["num_layers"], width=config["hidden_size"],
        heads=config["num_attention_heads"], qkv_slots=config["qkv_slot_num"], proj_slots=config["proj_slot_num"],
        ffn_slots=config["ffn_slot_num"], rotary_pct=ROTARY[config["pos_emb"]](config),
        rotary_base=config["rotary_emb_base"], activation=config["norm_activation_type"],
        norm_eps=config["layernorm_epsilon"],
    )
    load_state(model, load_official(golden.state))
    loss = model.loss(inputs["ids"], inputs["labels"], inputs.get("loss_mask"))
    loss.backward()
    found, tokens = {"loss": loss}, model.embed(inputs["ids"])
    for number, block in enumerate(model.blocks):
        tokens = block(tokens)
        found[f"layer{number}"] = tokens.transpose(0, 1)                                 # (T, B, C)
    found |= {"hidden": model.hidden(inputs["ids"]), "logits": model(inputs["ids"])}
    assert_near(found, golden.out, 2e-5)
    assert_near(gradients(model, golden), golden.grad, 2e-5)


CASES: dict[str, Callable[[Golden], None]] = {
    "pattention": _table, "layer": _layer, "grow": _growth, "lm": _language_model,
}


@pytest.mark.golden_files("tokenformer")
def test_tokenformer_equals_the_authors_code(golden_file: Path):
    golden = read_golden(golden_file)
    CASES[golden.case](golden)
