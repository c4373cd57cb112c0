"""The key map of VectorMapNet's released checkpoint, and the published configs."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from perception.engine.config import load_config
from perception.errors import CheckpointError
from perception.registry import MODELS
from perception_plugins.vectormapnet import load_official

CONFIGS = Path(__file__).resolve().parents[2] / "configs/vectormapnet"
BN = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
WB = ("weight", "bias")
HEAD = "head.det_net.pre_branches.reg"
UNUSED = 3 * 256 + 256                               # two tables of the release that nothing reads


def with_names(prefix: str, names: tuple[str, ...]) -> list[str]:
    return [f"{prefix}.{name}" for name in names]


def encoder_keys() -> list[str]:
    """Keys of the camera branch and the neck."""
    image, keys = "backbone.img_backbone", ["backbone.img_backbone.conv1.weight"]
    keys += with_names(f"{image}.bn1", BN)
    for stage, blocks in enumerate((3, 4, 6, 3), start=1):
        for block in (f"{image}.layer{stage}.{i}" for i in range(blocks)):
            for conv in (1, 2, 3):
                keys += [f"{block}.conv{conv}.weight", *with_names(f"{block}.bn{conv}", BN)]
            keys += with_names(f"{block}.conv2.conv_offset", WB) if stage > 2 else []
        keys += [f"{image}.layer{stage}.0.downsample.0.weight"]
        keys += with_names(f"{image}.layer{stage}.0.downsample.1", BN)
    for convs in ("lateral_convs", "fpn_convs"):
        for level in (f"backbone.img_neck.{convs}.{i}" for i in range(4)):
            keys += [f"{level}.conv.weight", *with_names(f"{level}.bn", BN)]
    for level in (1, 2, 3):
        for part in (f"backbone.upsample.fscale.{level}.{j}.{part}" for j in range(level) for part in ("gn", "conv")):
            keys += with_names(part, WB)
    keys += [*with_names("backbone.outconvs", WB), "backbone.masked_embeds.weight", "backbone.bev_planes"]
    keys += ["neck.0.weight", *with_names("neck.1", BN), "neck.5.weight"]
    for unit in (f"neck.4.{b}.{{}}{i}" for b in range(2) for i in (1, 2)):
        keys += [f"{unit.format('conv')}.weight", *with_names(unit.format("bn"), BN)]
    return keys


def detector_keys() -> list[str]:
    net = "head.det_net"
    keys = [f"{net}.{name}" for name in ("canvas_size", "transformer.level_embeds", "label_embed.weight")]
    keys += [f"{net}.{name}.weight" for name in ("query_embedding", "bbox_embedding")]
    for part in ("transformer.reference_points_embed", "input_proj", "img_coord_embed"):
        keys += with_names(f"{net}.{part}", WB)
    for layer in range(6):
        keys += with_names(f"{net}.pre_branches.cls.{layer}", WB)
        for i in (0, 1, 3, 4, 6):
            keys += with_names(f"{net}.pre_branches.reg.{layer}.{i}", WB)
        prefix = f"{net}.transformer.decoder.layers.{layer}"
        keys += [f"{prefix}.attentions.0.attn.in_proj_{name}" for name in WB]
        deformable = ("sampling_offsets", "attention_weights", "value_proj", "output_proj")
        parts = [f"norms.{i}" for i in range(3)] + [f"attentions.1.{name}" for name in deformable]
        for part in ("attentions.0.attn.out_proj", "ffns.0.layers.0.0", "ffns.0.layers.1", *parts):
            keys += with_names(f"{prefix}.{part}", WB)
    return keys


def generator_keys() -> list[str]:
    net = "head.gen_net"
    keys = [f"{net}.canvas_size"]
    for part in ("_project_to_logits", "input_proj", "img_coord_embed"):
        keys += with_names(f"{net}.{part}", WB)
    tables = ("label_embed", "coord_embed", "pos_embeddings", "bbox_context_embed", "vertex_embed")
    keys += [f"{net}.{table}.weight" for table in tables]
    for layer in (f"{net}.decoder.layers.{i}" for i in range(6)):
        keys += [f"{layer}.res_weight{i}" for i in (1, 2, 3)]
        for attention in (f"{layer}.self_attn", f"{layer}.multihead_attn"):
            keys += [f"{attention}.in_proj_weight", f"{attention}.in_proj_bias"]
            keys += with_names(f"{attention}.out_proj", WB)
        for part in ("linear1", "linear2", "norm1", "norm2", "norm3"):
            keys += with_names(f"{layer}.{part}", WB)
    return keys


def official_keys() -> list[str]:
    """Every key of the authors' camera model."""
    augmentation = [f"head.augmentation.{name}" for name in ("canvas_size", "shift_scale", "scaling_size")]
    return [*encoder_keys(), *detector_keys(), *generator_keys(), *augmentation]


def model_of(name: str) -> torch.nn.Module:
    cfg = load_config(CONFIGS / f"{name}.py")
    with torch.device("meta"):
        return MODELS.build(cfg.model)


def test_every_official_key_has_its_place_and_every_place_its_key():
    assert len(official_keys()) == 799
    state = dict.fromkeys([*official_keys(), "conv1x1.weight"], torch.ones(1))
    assert set(load_official(state)) == set(model_of("vectormapnet_camera_nuscenes").state_dict())


def test_prediction_heads_that_differ_between_layers_are_refused():
    state = {f"{HEAD}.0.0.weight": torch.ones(1), f"{HEAD}.4.0.weight": torch.zeros(1)}
    with pytest.raises(CheckpointError, match=r"reg\.4\.0\.weight differs from .*reg\.0\.0\.weight"):
        load_official(state)


@pytest.mark.parametrize("key", ["head.gen_net.decoder.layers.0.norm4.weight", "head.cls.weight", "detector.weight"])
def test_a_key_of_another_architecture_is_told(key):
    with pytest.raises(CheckpointError, match=f"belong to another architecture: {key}"):
        load_official({key: torch.ones(1)})


def test_the_published_head_has_the_size_that_was_counted():
    head = model_of("vectormapnet_camera_nuscenes").head
    sizes = [sum(weight.numel() for weight in part.parameters()) for part in (head.detector, head.generator)]
    assert sizes == [4_335_687 - UNUSED, 5_011_675]


@pytest.mark.parametrize(
    ("name", "cameras", "points"),
    [
        ("vectormapnet_camera_nuscenes", 6, False),
        ("vectormapnet_camera_nuscenes_finetune", 6, False),
        ("vectormapnet_lidar_nuscenes", 0, True),
        ("vectormapnet_fusion_nuscenes", 6, True),
    ],
)
def test_every_published_config_looks_at_what_it_loads(name, cameras, points):
    model, dataset = model_of(name), load_config(CONFIGS / f"{name}.py").train_dataloader.dataset
    assert (model.bev_encoder.camera is not None, model.bev_encoder.lidar is not None) == (cameras > 0, points)
    assert (len(model.data_preprocessor.cameras), model.data_preprocessor.use_points) == (cameras, points)
    assert (len(dataset.cameras), dataset.num_sweeps) == (cameras, 9 if points else 0)
    assert model.head.joint == name.endswith("finetune")
