"""Keys of the authors' SLAB checkpoints, as their state-dict layout has them."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
import torch
from slab_networks import published

from perception.errors import CheckpointError
from perception_plugins.slab import SlabSwin, load_official

WB = ("weight", "bias")
REP = ("alpha", *(f"bn.{name}" for name in (*WB, "running_mean", "running_var", "num_batches_tracked")))
PROGRESSIVE = ("warm", "iter", "total_step", *(f"norm1.{name}" for name in WB), *(f"norm2.{name}" for name in REP))
BOTH = {"rep": REP, "progressive": PROGRESSIVE}


def layers(prefix: str, *names: str) -> list[str]:
    return [f"{prefix}{name}.{part}" for name in names for part in WB]


def norms(prefix: str, kind: str, *names: str) -> list[str]:
    return [f"{prefix}{name}.{part}" for name in names for part in BOTH[kind]]


def block(prefix: str, kind: str) -> list[str]:
    return [*norms(prefix, kind, "norm1", "norm2"), *layers(prefix, "mlp.fc1", "mlp.fc2")]


def deit_keys(linear: bool, kind: str) -> list[str]:
    keys = ["cls_token", "pos_embed", *layers("", "patch_embed.proj", "head"), *norms("", kind, "norm")]
    for name in (f"blocks.{number}." for number in range(12)):
        keys += [*block(name, kind), *layers(f"{name}attn.", "qkv", "proj")]
        keys += [*layers(f"{name}attn.", "dwc"), f"{name}attn.positional_encoding"] if linear else []
    return keys


def pvt_keys(depths: Iterable[int], attention: str) -> list[str]:
    keys = layers("", "head")
    for stage, (depth, letter) in enumerate(zip(depths, attention, strict=True), 1):
        keys += [f"pos_embed{stage}", *layers(f"patch_embed{stage}.", "proj")]
        keys += norms(f"patch_embed{stage}.", "progressive", "norm")
        for name in (f"block{stage}.{number}." for number in range(depth)):
            keys += [*block(name, "progressive"), *layers(f"{name}attn.", "q", "kv", "proj")]
            if letter == "L":
                keys += [*layers(f"{name}attn.", "dwc"), f"{name}attn.positional_encoding"]
            elif stage < 4:
                keys += [*layers(f"{name}attn.", "sr"), *norms(f"{name}attn.", "progressive", "norm")]
    return keys


def swin_keys(depths: Iterable[int], attention: str, kind: str) -> list[str]:
    keys = [*layers("", "patch_embed.proj", "head"), *norms("", kind, "patch_embed.norm", "norm")]
    for stage, (depth, letter) in enumerate(zip(depths, attention, strict=True)):
        for number in range(depth):
            name = f"layers.{stage}.blocks.{number}."
            keys += [*block(name, kind), *layers(f"{name}attn.", "qkv", "proj")]
            if letter == "L":
                keys += [*layers(f"{name}attn.", "dwc"), f"{name}attn.positional_encoding"]
            else:
                keys += [f"{name}attn.relative_position_{part}" for part in ("bias_table", "index")]
                keys += [f"{name}attn_mask"] if number % 2 and stage < 3 else []
        if stage < 3:
            keys += [f"layers.{stage}.downsample.reduction.weight"]
            keys += norms(f"layers.{stage}.downsample.", kind, "norm")
    return keys


def cswin_keys(depths: Iterable[int]) -> list[str]:
    keys = [*layers("", "stage1_conv_embed.0", "head"), *norms("", "progressive", "stage1_conv_embed.2", "norm")]
    for stage, depth in enumerate(depths, 1):
        if stage < 4:
            keys += [*layers(f"merge{stage}.", "conv"), *norms(f"merge{stage}.", "progressive", "norm")]
        for name in (f"stage{stage}.{number}." for number in range(depth)):
            keys += [*block(name, "progressive"), *layers(name, "qkv", "proj")]
            for branch in (f"{name}attns.{number}." for number in range(2 if stage == 3 else 1)):
                keys += layers(branch, "get_v")
                keys += [*layers(branch, "dwc"), f"{branch}positional_encoding", f"{branch}scale"] if stage < 3 else []
    return keys


def state_of(keys: Iterable[str]) -> dict[str, torch.Tensor]:
    """A state of these keys; tables of positions are those of 3 x 3 places, and of a class token if one is used."""
    keys = list(keys)
    has_token = "cls_token" in keys and not any(key.endswith("positional_encoding") for key in keys)
    return {key: torch.ones(1, 9 + has_token if key.startswith("pos_embed") else 1, 4) for key in keys}


KEYS = {
    "deit_tiny_prepbn": deit_keys(False, "rep"), "slab_deit_tiny": deit_keys(True, "progressive"),
    "pvt_tiny_prepbn": pvt_keys((2, 2, 2, 2), "SSSS"), "slab_pvt_tiny": pvt_keys((2, 2, 2, 2), "LLLL"),
    "swin_tiny_prepbn": swin_keys((2, 2, 6, 2), "SSSS", "rep"),
    "slab_swin_tiny": swin_keys((2, 2, 6, 2), "LLSS", "progressive"),
    "slab_cswin_tiny": cswin_keys((2, 4, 18, 1)),
}


@pytest.mark.parametrize("name", list(KEYS))
def test_every_official_key_has_its_place_and_every_place_its_key(name):
    assert set(load_official(state_of(KEYS[name]))) == set(published(name).state_dict())


def test_every_key_of_a_detectors_backbone_has_its_place():
    keys = [key for key in KEYS["slab_swin_tiny"] if not key.startswith(("norm.", "head."))]
    keys = [key for key in keys if not key.endswith(".attn_mask")] + [f"norm{i}.{name}" for i in (1, 3) for name in WB]
    with torch.device("meta"):
        ours = SlabSwin("tiny", shift_all=True, out_norms=True, out_indices=(1, 3)).state_dict()
    assert set(load_official(state_of(keys))) == {f"backbone.{key}" for key in ours}


def test_positions_become_maps_and_the_class_token_takes_its_own_up():
    state = state_of(KEYS["deit_tiny_prepbn"])
    state["pos_embed"] = torch.arange(10.0).view(1, 10, 1).expand(1, 10, 4)
    mapped = load_official(state)
    assert mapped["backbone.position.table"][0, 0].tolist() == [[1, 2, 3], [4, 5, 6], [7, 8, 9]]
    assert mapped["backbone.class_token"].flatten().tolist() == [1, 1, 1, 1]
    state["pos_embed"] = state["pos_embed"] + 5
    assert load_official(state)["backbone.class_token"].flatten().tolist() == [6, 6, 6, 6]


@pytest.mark.parametrize("key", [
    "blocks.0.attn.rel_pos", "layers.0.blocks.0.norm1.weight", "block1.0.norm1.weight", "network.0.0.norm1.weight",
    "stage1.0.attn.qkv.weight",
])
def test_a_key_of_another_architecture_is_told(key):
    with pytest.raises(CheckpointError, match="belong to another architecture"):
        load_official({key: torch.ones(1)})


def test_positions_of_no_square_are_told():
    with pytest.raises(CheckpointError, match=r"backbone.position.table: positions \(1, 12, 4\) form no square map"):
        load_official({"pos_embed": torch.ones(1, 12, 4)})
