"""MemoryFormer against the authors' own modules: codes, scores, layers, blocks and gradients."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from center_cases import Golden, load_state, read_golden
from torch import Tensor

from perception.models.key_map import rename_part
from perception_ops import hash_lookup
from perception_plugins.memoryformer import (
    HashCodes,
    MemoryLayer,
    load_official,
    memory_block,
    sign_codes,
    sign_scores,
)

LAYER, BLOCK = ("sequential.2.mlp.0.", "blocks.0.channel_mixer.fc1."), ("sequential.2.", "blocks.0.")
ROWS = "_first"                                      # of a gradient that the file holds the first rows of


def assert_near(found: Mapping[str, Tensor], expected: Mapping[str, Tensor], atol: float, rtol: float = 1e-5) -> None:
    """Every expected tensor, by name."""
    assert set(found) == set(expected)
    for name, value in expected.items():
        error = (found[name].detach() - value).abs() - rtol * value.abs()
        assert found[name].shape == value.shape, name
        assert error.max().item() <= atol, f"{name}: {error.max().item()}"


def _hashed(at: HashCodes, prefix: str = "") -> dict[str, Tensor]:
    return {f"{prefix}code": at.codes.int(), f"{prefix}score": at.scores}


def _grads(module: torch.nn.Module, x: Tensor, golden: Golden, names: tuple[str, str]) -> dict[str, Tensor]:
    """Those that the file holds, of the input and of parameters by official name; of some the first rows only."""
    found = {}
    for name, expected in golden.grad.items():
        parameter = name.partition(ROWS)[0]
        if parameter == "x":
            grad = x.grad
        else:
            (key,) = rename_part({parameter: expected}, load_official, *names)
            grad = module.get_parameter(key).grad
        assert grad is not None
        found[name] = grad[: len(expected)]
    return found


def _layer(golden: Golden) -> None:
    config = golden.config
    layer = MemoryLayer(
        config["hidden_size"], config["output_size"], config["ffn_num_table"], config["code_length"],
        projection=not config["remove_projection"],
    )
    load_state(layer, rename_part(golden.state, load_official, *LAYER))
    x = golden.inputs["x"].requires_grad_()
    y = layer(x)
    assert_near({**_hashed(layer.hash(x)), "y": y}, golden.out, 1e-5)
    (y * golden.inputs["cotangent"]).sum().backward()
    assert_near(_grads(layer, x, golden, LAYER), golden.grad, 1e-5)


def _mixers(config: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Arguments of the two parts of a block."""
    attention, feed_forward = config["attn_memory_config"], config["memory_config"]
    has_projection, rotary = not attention["remove_projection"], config["pos_emb"] == "rotary"
    each = "each" if has_projection else "none"
    return {
        "attention": {
            "heads": config["num_attention_heads"], "tables": attention["ffn_num_table"],
            "bits": attention["code_length"], "causal": config["causal"],
            "projection": "shared" if attention["shared_projection"] else each,
            "rotary_pct": config["rotary_pct"] if rotary else 0.0, "rotary_base": float(config["rotary_emb_base"]),
        },
        "feed_forward": {
            "tables": feed_forward["ffn_num_table"], "bits": feed_forward["code_length"],
            "expand": config["mlp_expand_type"], "projection": not feed_forward["remove_projection"],
        },
    }


def _block(golden: Golden) -> None:
    config = golden.config
    norm = {"type": "MemoryRMSNorm", "eps": config["rms_norm_epsilon"]}
    block = memory_block(config["hidden_size"], **_mixers(config), norm=norm)
    load_state(block, rename_part(golden.state, load_official, *BLOCK))
    x = golden.inputs["x"].requires_grad_()                                                # (T, B, C)
    normed = block.norm1(x.transpose(0, 1))
    found = dict(zip(("query", "key", "value"), block.token_mixer.read(normed), strict=True))
    found |= {"attention": block.token_mixer(normed), "y": block(x.transpose(0, 1))}
    found = {name: value.transpose(0, 1) for name, value in found.items()}
    if block.token_mixer.hash is not None:
        found |= _hashed(block.token_mixer.hash(block.norm1(x)), "hash_")
    assert_near(found, golden.out, 1e-4)
    (found["y"] * golden.inputs["cotangent"]).sum().backward()
    assert_near(_grads(block, x, golden, BLOCK), golden.grad, 3e-3)


def _weighting_variants(golden: Golden) -> None:
    z, tables, temperature = golden.inputs["z"], golden.inputs["tables"], golden.config["temperature"]
    codes = sign_codes(z)
    found = {"code": codes}
    for weighting in ("prob", "cosine"):
        found[weighting] = sign_scores(z, weighting, temperature)
        found[f"y_{weighting}"] = hash_lookup(found[weighting], codes, tables)
    assert_near(found, golden.out, 1e-5)


CASES: dict[str, Callable[[Golden], None]] = {
    "memory_layer": _layer, "block": _block, "weighting_variants": _weighting_variants,
}


@pytest.mark.golden_files("memoryformer")
def test_memoryformer_equals_the_authors_code(golden_file: Path):
    golden = read_golden(golden_file)
    CASES[golden.case](golden)
