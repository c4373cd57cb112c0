"""EcoFormer against the authors' own inputs, states, outputs and gradients."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from center_cases import Golden, load_state, read_golden
from torch import Tensor

from perception.models.classifier import BackboneClassifier
from perception.models.key_map import rename_part
from perception.models.token_layout import tokens_of
from perception_plugins.ecoformer import HashAttention, KernelHash, agreement_attention, load_official
from perception_plugins.ecoformer.hash_learning import BitObjective, HashLearning, find_pairs
from perception_plugins.ecoformer.kernel_hash import directions, kernel_features

CODES = ("codes", "S0", "anchor")                    # what is decided, not computed
OFFICIAL, OURS = "block1.0.attn.", "backbone.stages.0.blocks.0.token_mixer."


def _compare(found: Mapping[str, Tensor], expected: Mapping[str, Tensor], tolerance: float) -> None:
    for name, value in expected.items():
        rtol = 0 if name in CODES else tolerance
        atol = 0 if name in CODES else tolerance
        torch.testing.assert_close(found[name], value, atol=atol, rtol=rtol, msg=lambda text, n=name: f"{n}: {text}")


def _of_attention(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The state of a first block's attention by our keys."""
    return rename_part(state, load_official, OFFICIAL, OURS)


def _mean_of_line(y: Tensor) -> Tensor:
    """What the gradients of the attention's files are of."""
    return (y * torch.linspace(-1, 1, y.shape[-1])).sum()


def _hash_attention(golden: Golden) -> None:
    config, line = golden.config, "sum(y*linspace(-1,1,D))"
    assert config["grad_scalar"] == line
    state = _of_attention({f"fast_attention.{key}": value for key, value in golden.state.items()})
    kernel_hash = KernelHash(config["num_heads"], config["dim_head"], bits=config["nbits"], anchors=config["m"])
    load_state(kernel_hash, {key.removeprefix("hash."): value for key, value in state.items()})
    qk, v = (golden.inputs[name].requires_grad_() for name in ("qk", "v"))
    codes = kernel_hash(qk)
    y = agreement_attention(codes, v)
    found = {"codes": codes, "pre_sign": kernel_hash.signed_distances(directions(qk)), "y": y}
    _compare(found, golden.out, 1e-5)
    _mean_of_line(y).backward()
    _compare({"qk": qk.grad, "v": v.grad}, golden.grad, 1e-5)


def _self_attention(golden: Golden) -> None:
    config = golden.config
    assert config["grad_scalar"] == "sum(y*linspace(-1,1,C))"
    attention = HashAttention(
        config["dim"], heads=config["num_heads"], qkv_bias=config["qkv_bias"], bits=config["nbits"],
        anchors=config["m"],
    )
    load_state(attention, _of_attention(golden.state))
    x = golden.inputs["x"].requires_grad_()
    y = attention(x)
    _compare({"y": y}, golden.out, 1e-5)
    _mean_of_line(y).backward()
    grads = {"x": x.grad}
    for name in golden.grad.keys() - {"x"}:
        (ours,) = _of_attention({name: golden.grad[name]})
        grads[name] = attention.get_parameter(ours).grad
    _compare(grads, golden.grad, 1e-5)


def _hash_learning(golden: Golden) -> None:
    config, units, start = golden.config, golden.inputs["X"], golden.inputs["A_init"]
    assert config["nesterov"]
    assert start.shape == (config["num_heads"], config["nbits"], config["m"])
    learning = HashLearning(config["topk"], config["iterations"], config["lr"], config["momentum"])
    anchors = units[:1, :, golden.inputs["anchor_index"]]
    features, pairs = kernel_features(units, anchors), find_pairs(units, config["topk"])
    learned = learning.fit(units, features, start)
    centred = features - learned.mean
    a, losses = learning.descend(BitObjective(centred, pairs, config["nbits"]), start[:, 0])
    found = {
        "S0": pairs.dense(), "anchor": anchors, "mvec": learned.mean, "K_centered": centred, "bit0_loss": losses,
        "bit0_a": a, "A": learned.projections, "codes": learned.codes,
    }
    _compare(found, golden.out, 1e-4)


def _host(golden: Golden, name: str, attention: list[str], **norm: Any) -> BackboneClassifier:
    """The classifier of a file, with its weights."""
    config = golden.config
    assert (config["patch_size"], config["in_chans"]) == (4, 3)
    network = BackboneClassifier(
        {
            "type": name, "widths": config["embed_dims"], "depths": config["depths"], "heads": config["num_heads"],
            "ratios": config["mlp_ratios"], "attention": attention, "qkv_bias": config["qkv_bias"],
            "norm_eps": config["ln_eps"], "patch_norm_eps": config["patch_ln_eps"],
            "out_indices": range(len(config["depths"])),
            "hashing": {"bits": config.get("nbits", 16), "anchors": config.get("m", 25)},
            **({"reductions": config["sr_ratios"]} if name == "EcoFormerPVTv2" else {}),
        },
        config["num_classes"],
        **norm,
    )
    load_state(network, load_official(golden.state))
    return network


@torch.no_grad()
def _pvt_v2(golden: Golden) -> None:
    kind, stages = golden.config["attn_type"], len(golden.config["depths"])
    attention = [*["ecoformer"] * (stages - 1), "msa"] if kind == "ecoformer" else [kind] * stages
    network, image = _host(golden, "EcoFormerPVTv2", attention), golden.inputs["image"]
    maps = network.backbone(image)
    found = {f"stage{number}_tokens": tokens_of(x) for number, x in enumerate(maps, start=1)}
    _compare({**found, "logits": network(image)}, golden.out, 1e-4)


@torch.no_grad()
def _twins(golden: Golden) -> None:
    attention = ["ecoformer" if ratio > 1 else "msa" for ratio in golden.config["sr_ratios"]]
    network = _host(golden, "EcoFormerTwins", attention, norm="layer", norm_eps=golden.config["ln_eps"])
    image = golden.inputs["image"]
    pooled = network.norm(tokens_of(network.backbone(image)[-1])).mean(dim=1)
    _compare({"pooled": pooled, "logits": network(image)}, golden.out, 1e-4)


CASES: dict[str, Callable[[Golden], None]] = {
    "hash_attention": _hash_attention, "self_attention": _self_attention, "hash_learning": _hash_learning,
    "pvt_v2_ecoformer": _pvt_v2, "pvt_v2_msa": _pvt_v2, "twins_svt_ecoformer": _twins,
}


@pytest.mark.golden_files("ecoformer")
def test_ecoformer_equals_the_authors_code(golden_file: Path):
    golden = read_golden(golden_file)
    CASES[golden.case](golden)
