"""The linear attention zoo against an independent float64 implementation: outputs, gradients, and who sees whom."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from center_cases import Golden, load_state, read_golden
from torch import Tensor, nn

from perception.models.attention.heads import by_head
from perception.models.mixers.attention import AttentionMixer
from perception_plugins.linear_attention_zoo import (
    LinearAttentionMixer,
    LinformerMixer,
    LongformerMixer,
    PerformerMixer,
    ReformerMixer,
)

TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-6}
Arguments = Mapping[str, Any]


def assert_near(found: Tensor, expected: Tensor, limit: float, name: str) -> None:
    torch.testing.assert_close(
        found, expected.to(found.dtype), atol=limit, rtol=0, msg=lambda text: f"{name}: {text}"
    )


def _full(arguments: Arguments) -> nn.Module:
    return AttentionMixer(
        arguments["dim"], heads=arguments["num_heads"], qkv_bias=True, causal=arguments.get("causal", False)
    )


def _longformer(arguments: Arguments) -> nn.Module:
    return LongformerMixer(
        arguments["dim"], heads=arguments["num_heads"], window=arguments["window"],
        dilation=arguments.get("dilation", 1), global_tokens=arguments.get("num_global", 0),
        causal=arguments.get("causal", False),
    )


def _reformer(arguments: Arguments) -> nn.Module:
    return ReformerMixer(
        arguments["dim"], heads=arguments["num_heads"], buckets=arguments["n_buckets"], rounds=arguments["n_hashes"],
        chunk=arguments["chunk"], causal=arguments.get("causal", False),
    )


def _linformer(arguments: Arguments) -> nn.Module:
    return LinformerMixer(
        arguments["dim"], heads=arguments["num_heads"], tokens=arguments["n_max"], rank=arguments["k"],
        share=arguments.get("share", "none"), per_head=arguments.get("per_head", False),
    )


def _performer(arguments: Arguments) -> nn.Module:
    assert (arguments["eps"], arguments["relu_eps"]) == (1e-4, 1e-3)
    return PerformerMixer(
        arguments["dim"], heads=arguments["num_heads"], features=arguments["num_features"],
        kind=arguments.get("kind", "softmax"), causal=arguments.get("causal", False), future_max=True,
    )


def _linear(arguments: Arguments) -> nn.Module:
    assert arguments["eps"] == 1e-6
    return LinearAttentionMixer(
        arguments["dim"], heads=arguments["num_heads"], causal=arguments.get("causal", False)
    )


CASES: dict[str, Callable[[Arguments], nn.Module]] = {
    "full": _full, "longformer": _longformer, "reformer": _reformer, "linformer": _linformer,
    "performer": _performer, "linear": _linear,
}
OURS = {"full": {"qkv.": "in_proj.", "proj.": "out_proj."}}        # the core's names; the plugin has those of the files


def our_name(case: str, key: str) -> str:
    for theirs, ours in OURS.get(case, {}).items():
        if key.startswith(theirs):
            return ours + key.removeprefix(theirs)
    return key


def build(golden: Golden, arguments: Arguments, dtype: torch.dtype) -> nn.Module:
    """The mixer of a variant with the weights of the file, of whose rotations it takes the first rounds."""
    mixer = CASES[golden.case](arguments)
    state = {our_name(golden.case, key): value for key, value in golden.state.items()}
    if isinstance(mixer, ReformerMixer):
        state["rotations"] = state["rotations"][:, : arguments["n_hashes"]]
    load_state(mixer, state)
    return mixer.to(dtype)


@pytest.mark.parametrize("dtype", TOLERANCE, ids=["float32", "float64"])
@pytest.mark.golden_files("linear_attention_zoo")
def test_the_zoo_equals_an_independent_implementation(golden_file: Path, dtype: torch.dtype):
    golden, limit = read_golden(golden_file), TOLERANCE[dtype]
    x = golden.inputs["x"].to(dtype).requires_grad_()
    for number, (name, changes) in enumerate(golden.config["variants"].items()):
        arguments = {**golden.config, **changes}
        mixer = build(golden, arguments, dtype)
        y = mixer(x, mask=golden.inputs["mask"] if arguments.get("use_mask") else None)
        assert_near(y, golden.out[name], limit, name)
        if number == 0:                              # which the gradients are of
            (y * torch.linspace(-1, 1, y.shape[-1], dtype=dtype)).sum().backward()
            for key, expected in golden.grad.items():
                grad = x.grad if key == "x" else mixer.get_parameter(our_name(golden.case, key)).grad
                assert_near(grad, expected, limit * (1 + expected.abs().max().item()), f"grad {key}")


@pytest.mark.golden_files("linear_attention_zoo", pattern="reformer*.safetensors")
def test_tokens_fall_into_the_same_buckets_and_see_the_same_others(golden_file: Path):
    golden = read_golden(golden_file)
    mixer = build(golden, golden.config, torch.float32)
    assert isinstance(mixer, ReformerMixer)
    with torch.no_grad():
        hashed = mixer.hashed(by_head(mixer.to_qk(golden.inputs["x"]), mixer.heads))
    rows = -(-golden.inputs["x"].shape[1] // hashed.chunk) + 1
    assert torch.equal(hashed.code // rows, golden.out["buckets"])
    assert torch.equal(hashed.rank, golden.out["sorted_rank"])
    step = hashed.code[..., None] - hashed.code[..., None, :]                                  # (B, heads, R, N, N)
    seen = ((step == 0) | (step == 1)).any(dim=2) | torch.eye(step.shape[-1], dtype=torch.bool)
    assert torch.equal(seen, golden.out["allowed"].bool())
