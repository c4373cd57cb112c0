"""Keys of the authors' checkpoints of VMamba and Vision Mamba, as their state-dict layout has them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from perception.engine.checkpoint import load_checkpoint
from perception.engine.config import load_config
from perception.engine.convert import convert_checkpoint
from perception.errors import CheckpointError
from perception.registry import MODELS
from perception_plugins.ssm_vision import BiMambaMixer, MambaMixer, VMambaBackbone, load_mixer, load_official

CONFIGS = Path(__file__).resolve().parents[2] / "configs/ssm_vision"
WB = ("weight", "bias")
SCAN = ("x_proj_weight", "dt_projs_weight", "dt_projs_bias", "A_logs", "Ds", "in_proj.weight", "out_proj.weight")
PATH = ("A_log", "D", "conv1d.weight", "conv1d.bias", "x_proj.weight", "dt_proj.weight", "dt_proj.bias")
PATH_BACK = ("A_b_log", "D_b", *(name.replace(".", "_b.") for name in PATH[2:]))
DEPTHS = {
    "vmamba_tiny_s1l8": 8, "vmamba_small_s1l20": 20, "vmamba_tiny_s2l5": 5, "vmamba_vanilla_tiny": 9,
    "vmamba_vanilla_small": 27,
}


def layers(prefix: str, *names: str) -> list[str]:
    return [f"{prefix}{name}.{part}" for name in names for part in WB]


def vmamba_keys(depth: int, vanilla: bool) -> list[str]:
    keys = layers("", *(f"patch_embed.{at}" for at in ((0, 2) if vanilla else (0, 2, 5, 7))), "classifier.norm",
                  "classifier.head")
    for stage, blocks in enumerate((2, 2, depth, 2)):
        for block in (f"layers.{stage}.blocks.{number}." for number in range(blocks)):
            keys += [*layers(block, "norm", "op.out_norm"), *(f"{block}op.{name}" for name in SCAN)]
            keys += [f"{block}op.conv2d.weight"]
            keys += [f"{block}op.conv2d.bias"] if vanilla else layers(block, "norm2", "mlp.fc1", "mlp.fc2")
        if stage < 3:
            down = f"layers.{stage}.downsample."
            keys += [*layers(down, "norm"), f"{down}reduction.weight"] if vanilla else layers(down, "1", "3")
    return keys


def vim_keys(depth: int = 24) -> list[str]:
    keys = ["cls_token", "pos_embed", "norm_f.weight", *layers("", "patch_embed.proj", "head")]
    for layer in (f"layers.{number}." for number in range(depth)):
        names = ("in_proj.weight", "out_proj.weight", *PATH, *PATH_BACK)
        keys += [f"{layer}norm.weight", *(f"{layer}mixer.{name}" for name in names)]
    return keys


def old_name(key: str) -> str:
    """As the first release had it."""
    key = key.replace("patch_embed.0", "patch_embed.proj").replace("patch_embed.2", "patch_embed.norm")
    key = key.replace(".op.", ".self_attention.").removeprefix("classifier.")
    return key.replace(".norm.", ".ln_1.") if ".blocks." in key else key


def published(name: str) -> torch.nn.Module:
    with torch.device("meta"):
        return MODELS.build(load_config(CONFIGS / f"{name}.py").model).network


def numbered(keys: list[str]) -> dict[str, Tensor]:
    return {key: torch.tensor([float(number)]) for number, key in enumerate(keys)}


@pytest.mark.parametrize("name", DEPTHS)
def test_every_official_key_of_vmamba_has_its_place_and_every_place_its_key(name: str):
    mapped = load_official(numbered(vmamba_keys(DEPTHS[name], "vanilla" in name)))
    assert set(mapped) == set(published(name).state_dict())


def test_old_names_of_the_first_release_are_the_same_weights():
    state = numbered(vmamba_keys(9, vanilla=True))
    old = load_official({old_name(key): value for key, value in state.items()})
    assert old == load_official(state)


@pytest.mark.parametrize("name", ["vim_tiny", "vim_base"])
def test_every_official_key_of_vim_has_its_place_and_every_place_its_key(name: str):
    assert set(load_official(numbered(vim_keys()))) == set(published(name).state_dict())


def test_convolutions_of_one_pixel_become_linear_layers():
    sizes = {"layers.0.blocks.0.op.in_proj.weight": (6, 3, 1, 1), "classifier.head.weight": (5, 3, 1, 1)}
    state = {key: torch.rand(size) for key, size in sizes.items()}
    shapes = {key: tuple(value.shape) for key, value in load_official(state).items()}
    assert shapes == {"backbone.stages.0.0.op.in_proj.weight": (6, 3), "head.weight": (5, 3)}


def test_a_detectors_backbone_brings_its_norms_and_nothing_of_its_heads():
    keys = [f"backbone.{key}" for key in vmamba_keys(1, vanilla=False) if "classifier" not in key]
    keys += [*layers("backbone.", *(f"outnorm{stage}" for stage in range(4))), "rpn_head.rpn_conv.weight"]
    with torch.device("meta"):
        ours = VMambaBackbone(depths=(2, 2, 1, 2)).state_dict()
    assert set(load_official(numbered(keys))) == {f"backbone.{key}" for key in ours}


def test_lone_blocks_are_mapped_too():
    both = load_mixer(numbered(["in_proj.weight", "out_proj.weight", *PATH, *PATH_BACK]))
    assert set(both) == set(BiMambaMixer(8).state_dict())
    assert set(load_mixer(numbered(["in_proj.weight", "out_proj.weight", *PATH]))) == set(MambaMixer(8).state_dict())


def test_a_released_file_is_converted(tmp_path: Path):
    state = numbered(vim_keys())
    torch.save({"model": state, "epoch": 300}, tmp_path / "vim.pth")
    converted = convert_checkpoint("ssm_vision", tmp_path / "vim.pth", tmp_path / "ours.pth")
    assert converted.num_tensors == len(state)
    assert load_checkpoint(tmp_path / "ours.pth")["state_dict"] == load_official(state)


@pytest.mark.parametrize(
    "key", ["layers.0.mixer.A_c_log", "layers.0.blocks.0.attn.qkv.weight", "blocks.0.norm1.weight"]
)
def test_a_key_of_another_architecture_is_told(key: str):
    with pytest.raises(CheckpointError, match="belong to another architecture"):
        load_official({key: torch.ones(1)})
