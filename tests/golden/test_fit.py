"""FIT's encoder, denoiser, sequence model and picture parts against the authors' own inputs, states and outputs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from center_cases import Golden, load_state, read_golden
from torch import Tensor, nn

from perception_plugins.fit import FITAutoregressive, FITDenoiser, FITEncoder, glimpse_tokens, load_official
from perception_plugins.fit.trunk import FITTrunk

OUTPUT, GRADIENT, TABLE = 2e-5, 5e-5, 1e-6
PARTS = {"x_network": "local", "l2x_cross_attn": "read", "l_network": "latent", "x2l_cross_attn": "write"}


def _check(name: str, found: Tensor, expected: Tensor, tolerance: float) -> None:
    torch.testing.assert_close(found, expected, atol=tolerance, rtol=0, msg=lambda text: f"{name}: {text}")


def _sizes(config: dict[str, Any]) -> dict[str, Any]:
    return {
        "groups": config["num_groups"], "tokens": config["x_size"] // config["num_groups"],
        "latents": config["latents_per_group"], "channels": config["x_dim"], "latent_channels": config["latent_dim"],
        "heads": config["x_num_heads"], "latent_heads": config["latent_num_heads"],
        "position": config["x_pos_encoding"], "latent_position": config["latent_pos_encoding"],
        "mlp_ratio": config["mlp_ratio"],
    }


def _causal_groups(config: dict[str, Any]) -> bool:
    return {"causal": True, None: False}[config.get("mask")]


def _loaded(model: nn.Module, golden: Golden) -> None:
    """Load the state; codes that are no parameters are compared instead."""
    codes = {name: golden.state.pop(name) for name in list(golden.state) if name.startswith("const.")}
    ours = {"const.x_pos_emb": "position.table", "const.latent_pos_emb": "latent_position.table"}
    for name, expected in codes.items():
        _check(name, model.get_buffer(ours[name]), expected, TABLE)
    load_state(model, load_official(golden.state))


def _watch(trunk: FITTrunk) -> dict[str, Tensor]:
    """What the parts of the blocks give, by the official name of each, as soon as they have run."""
    seen: dict[str, Tensor] = {}

    def keep(name: str) -> Callable[[nn.Module, Any, Tensor], None]:
        return lambda module, inputs, output: seen.update({name: output.detach()})

    for index, block in enumerate(trunk.blocks):
        for official, ours in PARTS.items():
            part = getattr(block, ours)
            if part is not None:
                part.register_forward_hook(keep(f"{official}.{index}"))
    return seen


def _encoder(golden: Golden) -> None:
    config, x = golden.config, golden.inputs["x"].requires_grad_()
    model = FITEncoder(
        config["layers"], in_channels=config["in_channels"], extra_channels=config["y_channels"],
        causal_groups=_causal_groups(config), **_sizes(config),
    )
    _loaded(model, golden)
    found = _watch(model.trunk)
    tokens, latents = model(x, golden.inputs.get("y"))
    found |= {"x": tokens.detach(), "latents": latents.detach()}
    for name, expected in golden.out.items():
        _check(name, found[name], expected, OUTPUT)
    (tokens * golden.inputs["cotangent_x"]).sum().add((latents * golden.inputs["cotangent_latents"]).sum()).backward()
    _check("x", x.grad, golden.grad.pop("x"), GRADIENT)
    for name, expected in load_official(golden.grad).items():
        _check(name, model.get_parameter(name).grad, expected, GRADIENT)


@torch.no_grad()
def _denoiser(golden: Golden) -> None:
    config = golden.config
    model = FITDenoiser(
        config["layers"], in_channels=config["in_channels"], out_channels=config["out_dim"],
        condition_channels=config["cond_channels"], remembers=config["self_cond"] == "latent",
        reading_mlp=config["xattn_with_mlp"], reading_norm=config["xattn_enc_ln"],
        self_attention=config["x_self_attention"], causal_groups=_causal_groups(config), **_sizes(config),
    )
    _loaded(model, golden)
    inputs = golden.inputs
    x, latents = model(inputs["x"], inputs["time"], inputs["cond"], inputs.get("latents_prev"))
    for name, found in {"x": x, "latents": latents}.items():
        _check(name, found, golden.out[name], OUTPUT)


@torch.no_grad()
def _autoregressive(golden: Golden) -> None:
    config, ids = golden.config, golden.inputs["ids"]
    model = FITAutoregressive(
        config["layers"], vocab=config["vocab_size"], shared_embedding=config["shared_embedding"], **_sizes(config)
    )
    _loaded(model, golden)
    changed = ids.clone()
    changed[:, 1, -1] = (ids[:, 1, -1] + 1) % config["vocab_size"]
    _check("logits", model(ids), golden.out["logits"], OUTPUT)
    _check("logits_perturbed", model(changed), golden.out["logits_perturbed"], OUTPUT)


def _glimpses(golden: Golden) -> None:
    config = golden.config
    assert config["layout"] == "NHWC"
    tokens, index = glimpse_tokens(
        golden.inputs["image"], config["sub_image"], config["patch"], minis=config["mini_x"]
    )
    _check("tokens", tokens, golden.out["tokens"], OUTPUT)
    assert torch.equal(index, golden.out["index_onehot"])


MODELS = {"FIT": _encoder, "FITDenoiser": _denoiser}
CASES = {
    "fit": lambda golden: MODELS[golden.config["class_"]](golden), "fitar": _autoregressive,
    "glimpse_tokens": _glimpses,
}


@pytest.mark.golden_files("fit")
def test_fit_equals_its_authors_code(golden_file: Path):
    golden = read_golden(golden_file)
    CASES[golden.case](golden)
