from __future__ import annotations

from pathlib import Path

import pytest
import torch

from perception.engine.config import load_config
from perception.errors import CheckpointError
from perception.registry import MODELS
from perception_plugins.centerpoint_pillar import config_options
from perception_plugins.flatformer import load_official

CONFIG = Path(__file__).resolve().parents[2] / "configs/flatformer/flatformer_waymo_D1_2x_3class.py"
BN = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")


def official_flatformer_keys() -> list[str]:
    """Every key of the authors' Waymo model."""
    keys = [f"voxel_encoder.vfe_layers.{i}.linear.weight" for i in range(2)]
    keys += [f"voxel_encoder.vfe_layers.{i}.norm.{name}" for i in range(2) for name in BN]
    for layer in (f"middle_encoder.block_list.{b}.block.{position}" for b in range(2) for position in range(4)):
        keys += [f"{layer}.attn.attn.in_proj_weight", f"{layer}.attn.attn.in_proj_bias"]
        parts = ("attn.attn.out_proj", "fc1", "fc2", "norm1", "norm2")
        keys += [f"{layer}.{part}.{name}" for part in parts for name in ("weight", "bias")]
    norms = ["bbox_head.shared_conv.bn", *(f"neck.deblocks.{s}.1" for s in range(2))]
    convs = ["bbox_head.shared_conv.conv", *(f"neck.deblocks.{s}.0" for s in range(2))]
    for unit in (f"backbone.blocks.{s}.{u}" for s in range(2) for u in range(4)):
        norms.append(f"{unit}.1")
        convs.append(f"{unit}.0")
    for branch in ("reg", "height", "dim", "rot", "vel", "iou", "heatmap"):
        prefix = f"bbox_head.task_heads.0.{branch}"
        norms.append(f"{prefix}.0.bn")
        convs += [f"{prefix}.0.conv", f"{prefix}.1"]
        keys.append(f"{prefix}.1.bias")
    return keys + [f"{conv}.weight" for conv in convs] + [f"{norm}.{name}" for norm in norms for name in BN]


def test_every_official_key_of_flatformer_has_its_place_and_every_place_its_key():
    with torch.device("meta"):
        ours = MODELS.build(load_config(CONFIG).model).state_dict()
    assert set(load_official(dict.fromkeys(official_flatformer_keys(), torch.ones(1)))) == set(ours)


@pytest.mark.parametrize(
    "key",
    ["middle_encoder.block_list.0.block.4.fc1.weight", "backbone.block_list.0.encoder_list.0.linear1.weight",
     "model.diffusion.weight"],
    ids=["fifth_layer", "sst", "other"],
)
def test_a_key_of_another_architecture_is_told(key):
    with pytest.raises(CheckpointError, match="belong to another architecture"):
        load_official({key: torch.ones(1)})


@pytest.mark.parametrize(
    ("state", "message"),
    [({}, "it is no pillar or voxel model"),
     ({"pts_voxel_encoder.pfn_layers.0.linear.weight": torch.ones(64, 9)}, "takes 9 inputs, expected 10 or 11")],
)
def test_a_pillar_encoder_of_another_width_is_refused(state, message):
    with pytest.raises(CheckpointError, match=message):
        config_options(state)
