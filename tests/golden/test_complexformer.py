"""Complex attention and its language models against the authors' own inputs, states, outputs and gradients."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from center_cases import Golden, load_state, read_golden
from torch import Tensor

from perception.models.key_map import rename_part
from perception_plugins.complexformer import ComplexAttention, ComplexFormerLM, load_official
from perception_plugins.complexformer.phase import polar

PART = ("transformer_blocks.0.attention.", "blocks.0.attention.")
LM = 1e-3                                            # a value at a tie may flip one step of bfloat16


def _check(name: str, found: Tensor, expected: Tensor, atol: float = 1e-5, rtol: float = 1e-4) -> None:
    torch.testing.assert_close(found, expected, atol=atol, rtol=rtol, msg=lambda text: f"{name}: {text}")


def _attention(golden: Golden, *, causal: bool = False) -> ComplexAttention:
    config = golden.config
    attention = ComplexAttention(
        config["d_model"], config["num_heads"], causal=causal, scale=config["scale"], freq_dtype=config["freq_dtype"]
    )
    load_state(attention, rename_part(golden.state, load_official, *PART))
    return attention


def _cmha(golden: Golden) -> None:
    x, attention = golden.inputs["x"].requires_grad_(), _attention(golden)
    query, key, value = attention.projected(x)
    magnitude, phase = polar(query)
    y = attention(x)
    found = {"y": y, "weights": attention.weights(x), "q_magnitude": magnitude, "q_phase": phase}
    found |= {"cache_k": key, "cache_v": value}          # as projected
    for name, mask in golden.inputs.items():
        if name.startswith("mask"):
            found |= {"y_masked": attention(x, mask), "weights_masked": attention.weights(x, mask)}
    if "prefill" in golden.config:
        found |= _decoded(golden, x.detach())
    for name, expected in golden.out.items():
        _check(name, found[name].detach(), expected)
    if golden.grad:
        (y * golden.inputs["cotangent"]).sum().backward()
    for name, expected in golden.grad.items():
        if name == "x":
            _check(name, x.grad, expected)
        else:
            ((ours, _),) = rename_part({name: expected}, load_official, *PART).items()
            _check(name, attention.get_parameter(ours).grad, expected)


@torch.no_grad()
def _decoded(golden: Golden, x: Tensor) -> dict[str, Tensor]:
    attention, first = _attention(golden, causal=True), golden.config["prefill"]
    begun, cache = attention.extend(x[:, :first])
    steps = []
    for token in x[:, first:].split(1, dim=1):
        y, cache = attention.extend(token, cache)
        steps.append(y)
    return {"y_prefill_causal": begun, "y_decode_steps": torch.cat(steps, dim=1), "y_full_causal": attention(x)}


@torch.no_grad()
def _lm(golden: Golden) -> None:
    config = golden.config
    options = {} if config["residual_scale"] is None else {"branch": config["residual_scale"]}
    model = ComplexFormerLM(
        config["vocab_size"], config["hidden_dim"], heads=config["num_attention_heads"],
        hidden=config["intermediate_size"], depth=config["n_layers"], form=config["block"],
        freq_dtype=config["freq_dtype"], bf16_product=config["ffn_bf16_product"], **options,
    )
    load_state(model, load_official(golden.state))
    mask, x = golden.inputs["mask_additive"], model.embed(golden.inputs["ids"])
    for number, block in enumerate(model.blocks):        # each from what the one before it gave there
        _check(f"block{number}", block(x, mask), golden.out[f"block{number}"], LM)
        x = golden.out[f"block{number}"]
    _check("logits", model.head(model.norm(x)), golden.out["logits"], LM)
    _check("logits of the whole", model(golden.inputs["ids"], mask), golden.out["logits"], LM)


CASES = {"cmha": _cmha, "lm": _lm}


@pytest.mark.golden_files("complexformer")
def test_complexformer_equals_its_authors_code(golden_file: Path):
    golden = read_golden(golden_file)
    CASES[golden.case](golden)
