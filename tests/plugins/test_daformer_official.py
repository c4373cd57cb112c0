"""The authors' checkpoints: every key has its place, and every place its key."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from perception.engine.config import load_config
from perception.errors import CheckpointError
from perception.registry import MODELS
from perception_plugins.daformer import load_official

CONFIGS = Path(__file__).resolve().parents[2] / "configs/daformer"
BN = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
PUBLISHED_M = 85.16
WB = ("weight", "bias")


def encoder_keys(depths: tuple[int, ...], reductions: tuple[int, ...] = (8, 4, 2, 1)) -> list[str]:
    """Keys of an official MiT, without prefix."""
    modules = []
    for stage, (depth, reduction) in enumerate(zip(depths, reductions, strict=True), start=1):
        modules += [f"patch_embed{stage}.proj", f"patch_embed{stage}.norm", f"norm{stage}"]
        parts = ["norm1", "norm2", "attn.q", "attn.kv", "attn.proj", "mlp.fc1", "mlp.fc2", "mlp.dwconv.dwconv"]
        parts += ["attn.sr", "attn.norm"] if reduction > 1 else []
        modules += [f"block{stage}.{block}.{part}" for block in range(depth) for part in parts]
    return [f"{module}.{name}" for module in modules for name in WB]


def unit_keys(*units: str) -> list[str]:
    return [f"{unit}.{key}" for unit in units for key in ("conv.weight", *(f"bn.{name}" for name in BN))]


def head_keys() -> list[str]:
    fuse = "decode_head.fuse_layer"
    units = [f"{fuse}.aspp_modules.0", f"{fuse}.bottleneck"]
    units += [f"{fuse}.aspp_modules.{i}.{part}_conv" for i in (1, 2, 3) for part in ("depthwise", "pointwise")]
    plain = ["decode_head.conv_seg", *(f"decode_head.embed_layers.{level}.proj" for level in range(4))]
    return [f"{module}.{name}" for module in plain for name in WB] + unit_keys(*units)


def network_keys() -> list[str]:
    return [f"backbone.{key}" for key in encoder_keys((3, 6, 40, 3))] + head_keys()


def of_keys(keys: list[str], value: float = 1.0) -> dict[str, torch.Tensor]:
    return {key: torch.full((1,), value) for key in keys}


def model_of(config: str) -> torch.nn.Module:
    with torch.device("meta"):
        return MODELS.build(load_config(CONFIGS / f"{config}.py").model)


def test_every_official_key_has_its_place_and_every_place_its_key():
    ours = model_of("daformer_mitb5_cityscapes").state_dict()
    assert set(load_official(of_keys(network_keys()))) == set(ours)


def test_the_network_is_as_large_as_published():
    model = model_of("daformer_mitb5_cityscapes")
    total = sum(parameter.numel() for parameter in model.parameters())
    assert total == 81_443_008 + 3_712_275
    assert round(total / 1e6, 2) == PUBLISHED_M


def test_of_a_training_checkpoint_only_the_student_is_taken():
    state = {
        f"{owner}.{key}": torch.full((1,), value)
        for owner, value in (("ema_model", 2.0), ("model", 1.0), ("imnet_model", 3.0)) for key in network_keys()
    }
    assert all(value == 1 for value in load_official(state).values())


def test_an_imagenet_encoder_becomes_the_backbone_without_its_classifier():
    keys = [*encoder_keys((2, 2, 2, 2)), "head.weight", "head.bias"]
    with torch.device("meta"):
        backbone = MODELS.build({"type": "MixTransformer", "variant": "b1"})
    assert set(load_official(of_keys(keys))) == {f"backbone.{key}" for key in backbone.state_dict()}


@pytest.mark.parametrize(("options", "keys"), [
    ({"fusion": {"type": "ContextASPP", "separable": False, "pool": True}},
     unit_keys(*(f"decode_head.fuse_layer.{part}" for part in (
         "image_pool.1", "aspp_modules.0", "aspp_modules.1", "aspp_modules.2", "aspp_modules.3", "bottleneck")))),
    ({"fusion": {"type": "ConvFusion"}}, unit_keys("decode_head.fuse_layer")),
    ({"fusion": {"type": "InterlacedAttention"}},
     unit_keys("decode_head.fuse_layer.in_conv", *(
         f"decode_head.fuse_layer.{way}_relation.{part}_project"
         for way in ("global", "local") for part in ("query", "key", "output")))
     + [f"decode_head.fuse_layer.{way}_relation.value_project.{name}" for way in ("global", "local") for name in WB]),
    ({"fusion": {"type": "InterlacedAttention", "projections": 2}},
     unit_keys("decode_head.fuse_layer.in_conv", *(
         f"decode_head.fuse_layer.{way}_relation.{part}_project{number}"
         for way in ("global", "local") for part in ("query", "key", "output")
         for number in ((".0", ".1") if part != "output" else ("",))))
     + [f"decode_head.fuse_layer.{way}_relation.value_project.{name}" for way in ("global", "local") for name in WB]),
])
def test_the_options_of_the_fusion_have_their_keys_too(options, keys):
    with torch.device("meta"):
        head = MODELS.build({"type": "DAFormerHead", "in_channels": (8,) * 4, "num_classes": 2, **options})
    expected = {f"head.{key}" for key in head.state_dict() if key.startswith("fusion.")}
    assert set(load_official(of_keys(keys))) == expected


@pytest.mark.parametrize("key", ["decode_head.linear_fuse.conv.weight", "backbone.block5.0.norm1.weight", "neck.x"])
def test_a_key_of_another_architecture_is_told(key):
    with pytest.raises(CheckpointError, match="belong to another architecture"):
        load_official(of_keys([key]))


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("daformer_*.py")), ids=lambda path: path.stem)
def test_every_config_builds_the_published_network(path):
    model = model_of(path.stem)
    network = getattr(model, "student", model)
    assert len(network.classes) == 19
    assert sum(parameter.numel() for parameter in network.parameters()) == 85_155_283


def test_the_published_groups_of_parameters_are_those_of_the_schedule():
    keys = load_config(CONFIGS / "daformer_gta2cityscapes.py").optim_wrapper.paramwise_cfg.custom_keys
    assert {key: dict(value) for key, value in keys.items()} == {"head": {"lr_mult": 10.0}, "norm": {"decay_mult": 0.0}}
