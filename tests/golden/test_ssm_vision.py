"""Selective state spaces against the authors' own inputs, states, outputs and gradients."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from center_cases import Golden, load_state, read_golden
from torch import Tensor, nn

from perception.models.key_map import rename_part
from perception_ops import selective_scan
from perception_ops.selective_scan import selective_scan_reference
from perception_plugins.ssm_vision import (
    BEVSS2D,
    SS2D,
    BiMambaMixer,
    MambaMixer,
    VimClassifier,
    VMambaBackbone,
    cross_merge,
    cross_scan,
    load_mixer,
    load_official,
)

SCANS = (selective_scan, selective_scan_reference)
GATED = {"v0": True, "v05": True, "v05_noz": False}
STEMS, DOWNSAMPLES = {"v1": "patches", "v2": "convolutions"}, {"v1": "merging", "v3": "convolution"}


def assert_near(found: Mapping[str, Tensor], expected: Mapping[str, Tensor], limit: float) -> None:
    """Every expected tensor, within ``limit`` of the largest number in it, or of 1."""
    for name, value in expected.items():
        error = (found[name].detach() - value).abs().max().item()
        assert error <= limit * max(1.0, value.abs().max().item()), f"{name}: {error}"


def _scan(golden: Golden) -> None:
    softplus = golden.config["delta_softplus"]
    for scan in SCANS:
        given = {name: x.clone() for name, x in golden.inputs.items() if name != "cotangent"}
        leaves = {name: given[name].requires_grad_() for name in golden.grad}
        y, last = scan(**given, delta_softplus=softplus)
        assert y.isfinite().all()
        if not leaves:                                 # a hard one: relative to 1 + |y|, number by number
            assert ((y - golden.out["y"]).abs() <= 1e-4 * (1 + golden.out["y"].abs())).all()
            continue
        (y * golden.inputs["cotangent"]).sum().backward()
        plain, _ = scan(given["u"], 0.3 * given["delta"].abs(), given["A"], given["B"][:, 0], given["C"][:, 0])
        found = {"y": y, "last_state": last, "y_plain": plain, "states": _every_state(scan, given, softplus)}
        assert_near(found, golden.out, 1e-5)
        assert_near({name: _grad(leaf) for name, leaf in leaves.items()}, golden.grad, 1e-5)


def _every_state(scan: Callable[..., Any], given: Mapping[str, Tensor], softplus: bool) -> Tensor:
    """(b, D, L, N): the last state of every beginning of the sequence."""
    states = []
    for length in range(1, given["u"].shape[2] + 1):
        begun = {name: x[..., :length] if name in ("u", "delta", "B", "C", "z") else x for name, x in given.items()}
        states.append(scan(**begun, delta_softplus=softplus)[1])
    return torch.stack(states, 2)


def _grad(leaf: Tensor) -> Tensor:
    assert leaf.grad is not None
    return leaf.grad


def _with_gradients(
    golden: Golden, module: nn.Module, to_key: Callable[[str], str], limit: float, run: Callable[[Tensor], Tensor]
) -> None:
    """Output and gradients of a module; ``to_key`` gives our name of a parameter."""
    x = golden.inputs["x"].requires_grad_()
    y = run(x)
    assert_near({"y": y}, {"y": golden.out["y"]}, limit)
    (y * golden.inputs["cotangent"]).sum().backward()
    for name, expected in golden.grad.items():
        leaf = x if name == "x" else module.get_parameter(to_key(name))
        assert_near({name: _grad(leaf)}, {name: expected}, limit)


def _mamba_options(config: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "state": config["d_state"], "kernel": config["d_conv"], "expand": config["expand"],
        "rank": config.get("dt_rank"),
    }


def _both_ways(golden: Golden) -> None:
    assert golden.config["divide_out"]
    mixer = BiMambaMixer(golden.config["d_model"], **_mamba_options(golden.config))
    load_state(mixer, load_mixer(golden.state))

    def key(name: str) -> str:
        return next(iter(load_mixer({name: torch.ones(1), "A_b_log": torch.ones(1)})))

    _with_gradients(golden, mixer, key, 1e-5, mixer)


def _causal(golden: Golden) -> None:
    mixer = MambaMixer(golden.config["d_model"], **_mamba_options(golden.config))
    load_state(mixer, load_mixer(golden.state))
    x, prefill = golden.inputs["x"], golden.config["prefill"]
    _, state = mixer.stream(x[:, :prefill])
    steps = []
    for t in range(prefill, x.shape[1]):
        step, state = mixer.stream(x[:, t : t + 1], state)
        steps.append(step)
    found = {"y": mixer(x), "y_steps": torch.cat(steps, 1), "conv_state": state["conv"], "ssm_state": state["ssm"]}
    assert_near(found, golden.out, 1e-5)


def _cross(golden: Golden) -> None:
    y4 = golden.inputs["y4"]
    assert torch.equal(cross_scan(golden.inputs["x"]), golden.out["scan"])
    assert torch.equal(cross_merge(y4.flatten(3), (y4.shape[3], y4.shape[4])), golden.out["merge"])


def _ss2d_options(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    return {
        "state": config[f"{prefix}d_state"], "ratio": config["ssm_ratio"], "gated": GATED[config["forward_type"]],
        "conv_bias": config[f"{prefix}conv_bias"],
    }


def _ss2d(golden: Golden) -> None:
    config = golden.config
    op = SS2D(config["d_model"], rank=config.get("dt_rank"), **_ss2d_options(config))
    load_state(op, rename_part(golden.state, load_official, "layers.0.blocks.0.op.", "backbone.stages.0.0.op."))
    first = config["channel_first"]

    def run(x: Tensor) -> Tensor:
        return op(x.movedim(1, -1)).movedim(-1, 1) if first else op(x)

    _with_gradients(golden, op, lambda name: name, 2e-5, run)


def _bev(golden: Golden) -> None:
    config = golden.config
    assert (GATED[config["forward_type"]], config["conv_bias"]) == (False, False)
    mixer = BEVSS2D(
        config["channels"], depth=config["depth"], mlp_ratio=config["mlp_ratio"], state=config["d_state"],
        ratio=config["ssm_ratio"],
    )
    load_state(mixer, golden.state)
    x, mask = golden.inputs["x"].clone(), golden.inputs["mask"]
    with torch.no_grad():
        assert_near({"y": mixer(x, torch.ones_like(mask)), "y_masked": mixer(x, mask)}, golden.out, 2e-5)
    _with_gradients(golden, mixer, lambda name: name, 2e-5, mixer)


def _vim(golden: Golden) -> None:
    config = golden.config
    assert (config["norm"], config["eps"]) == ("rms", 1e-5)
    assert config["middle_cls_token"]
    assert config["divide_out"]
    patch, stride = config["patch_size"], config["stride"]
    network = VimClassifier({
        "type": "VisionMamba", "width": config["embed_dim"], "depth": config["depth"], "state": config["d_state"],
        "patch": patch, "stride": stride, "position": [(side - patch) // stride + 1 for side in config["img_size"]],
    }, config["num_classes"])
    load_state(network, load_official(golden.state))
    found: dict[str, Tensor] = {}
    for number, block in enumerate(network.backbone.blocks):
        def keep(_: nn.Module, __: Any, out: tuple[Tensor, Tensor], number: int = number) -> None:
            found[f"layer{number}_hidden"], found[f"layer{number}_residual"] = out

        block.register_forward_hook(keep)
    image = golden.inputs["image"]
    (tokens,), _ = network.backbone.tokens(image)
    found |= {"tokens_final": tokens, "cls_feature": network.class_feature(image), "logits": network(image)}
    assert_near(found, golden.out, 1e-4)


def _vmamba(golden: Golden) -> None:
    config = golden.config
    assert config["patch_size"] == 4
    assert config["norm_layer"] in ("ln", "ln2d")      # the same numbers in another memory order
    backbone = VMambaBackbone(
        widths=config["dims"], depths=config["depths"], mlp_ratio=config["mlp_ratio"],
        stem=STEMS[config["patchembed_version"]], downsample=DOWNSAMPLES[config["downsample_version"]],
        **_ss2d_options(config, "ssm_"),
    )
    load_state(backbone, rename_part(golden.state, load_official, "", "backbone."))
    maps = backbone(golden.inputs["image"])
    assert_near({f"c{number}": x for number, x in enumerate(maps, 2)}, golden.out, 1e-4)


CASES: dict[str, Callable[[Golden], None]] = {
    "selective_scan": _scan, "vim_mixer_bidirectional": _both_ways, "mamba_causal_step": _causal, "cross_scan": _cross,
    "ss2d": _ss2d, "bev_mixer": _bev, "vim_model": _vim, "vmamba_backbone": _vmamba,
}


@pytest.mark.golden_files("ssm_vision")
def test_ssm_vision_equals_the_authors_code(golden_file: Path):
    golden = read_golden(golden_file)
    CASES[golden.case](golden)
