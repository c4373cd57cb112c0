from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest
import torch
from torch import nn

from perception.engine.config import load_config
from perception.errors import CheckpointError
from perception.registry import MODELS, check_types
from perception_plugins.mqbank import load_official

CONFIGS = Path(__file__).resolve().parents[2] / "configs/mqbank"
LANESEGNET, MQBANK = "lanesegnet_r50_8x1_24e_olv2_subset_A", "mqbank_r50_olv2_subset_A"
WB = ("weight", "bias")
DEFORMABLE = ("sampling_offsets", "attention_weights", "value_proj", "output_proj")


@cache
def model_of(name: str) -> nn.Module:
    """The model of a config, which gets no memory."""
    cfg = load_config(CONFIGS / f"{name}.py")
    with torch.device("meta"):
        return MODELS.build(cfg.model)


def parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def official_keys() -> list[str]:
    """Every key of the released model but those of its ResNet, whose names are torchvision's behind a prefix."""
    lift = ["bev_constructor.level_embeds", "bev_constructor.cams_embeds", "bev_constructor.bev_embedding.weight"]
    lift += [f"bev_constructor.positional_encoding.{axis}_embed.weight" for axis in ("row", "col")]
    linear = [f"bev_constructor.can_bus_mlp.{part}" for part in ("0", "2", "norm")]
    for layer in (f"bev_constructor.encoder.layers.{n}" for n in range(3)):
        linear += [f"{layer}.attentions.0.{part}" for part in DEFORMABLE]
        linear += [f"{layer}.attentions.1.deformable_attention.{part}" for part in DEFORMABLE[:3]]
        linear += [f"{layer}.attentions.1.output_proj", *rest_of_layer(layer)]
    head = ["pts_bbox_head.code_weights", "pts_bbox_head.query_embedding.weight"]
    linear.append("pts_bbox_head.transformer.reference_points")
    for n in range(6):
        layer = f"pts_bbox_head.transformer.decoder.layers.{n}"
        head += [f"{layer}.attentions.0.attn.in_proj_{part}" for part in WB]
        linear += [f"{layer}.attentions.0.attn.out_proj", *(f"{layer}.attentions.1.{part}" for part in DEFORMABLE)]
        linear += rest_of_layer(layer)
        for branch in ("cls_branches", "cls_left_type_branches", "cls_right_type_branches"):
            linear += [f"pts_bbox_head.{branch}.{n}.{place}" for place in (0, 1, 3, 4, 6)]
        for branch in ("reg_branches", "reg_branches_offset", "mask_embed"):
            linear += [f"pts_bbox_head.{branch}.{n}.{place}" for place in (0, 2, 4)]
    linear += [f"lclc_head.{part}.layers.{n}" for part in ("MLP_o1", "MLP_o2", "classifier") for n in range(3)]
    linear += [f"img_neck.lateral_convs.{n}.conv" for n in range(3)]
    linear += [f"img_neck.fpn_convs.{n}.conv" for n in range(4)]
    return lift + head + [f"{name}.{part}" for name in linear for part in WB]


def rest_of_layer(layer: str) -> list[str]:
    return [f"{layer}.{part}" for part in ("ffns.0.layers.0.0", "ffns.0.layers.1", "norms.0", "norms.1", "norms.2")]


def test_every_official_key_of_lanesegnet_has_its_place_and_every_place_its_key():
    model = model_of(LANESEGNET)
    backbone = [f"img_backbone.{key}" for key in model.bev_encoder.image_backbone.state_dict()]
    mapped = load_official(dict.fromkeys([*official_keys(), *backbone], torch.ones(1)))
    assert set(mapped) == set(model.state_dict())


def test_parameters_of_lanesegnet_are_as_many_as_published():
    model = model_of(LANESEGNET)
    encoder, head = model.bev_encoder, model.head
    assert parameters(encoder.image_backbone) == 23_508_032
    assert parameters(encoder.neck) == 3_278_592
    assert parameters(encoder.lift) == 7_667_648
    assert parameters(head.topology) == 460_801
    code_weights = 90                                # ones that the release counts; here they are not kept
    assert parameters(head) - parameters(head.topology) == 10_497_781 - code_weights
    assert parameters(model) == 45_412_854 - code_weights


def test_the_bank_is_what_mqbank_has_more():
    decoder = model_of(MQBANK).head.decoder
    assert parameters(decoder.bank) == 256 * 50 * 100
    assert not model_of(MQBANK).head.double_last_refine


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.py")), ids=lambda path: path.stem)
def test_every_config_names_what_there_is_and_builds_a_model(path):
    check_types(load_config(path).to_dict())
    model = model_of(path.stem)
    assert model.classes == ("ped_crossing", "divider", "boundary")


def test_mqbank_differs_from_its_base_in_the_decoder_and_the_navigation_map():
    base, bank = (load_config(CONFIGS / f"{name}.py") for name in (LANESEGNET, MQBANK))
    assert base.model.bev_encoder == bank.model.bev_encoder
    assert base.train_dataloader.dataset.get("sd_map") is None
    assert bank.test_dataloader.dataset.sd_map.modified
    kinds = [step.type for step in bank.train_dataloader.dataset.transforms]
    assert kinds == [*(step.type for step in base.train_dataloader.dataset.transforms), "DropSDMap", "JitterSDMap"]


@pytest.mark.parametrize(
    "key", ["lste_head.MLP_o1.layers.0.weight", "pts_bbox_head.reg_branches.0.1.weight", "area_head.x.weight"]
)
def test_a_key_of_another_architecture_is_told(key):
    with pytest.raises(CheckpointError, match="belong to another architecture"):
        load_official({key: torch.ones(1)})
