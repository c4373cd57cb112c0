"""The published variants of PEM: their configs, and the number of their parameters."""

from __future__ import annotations

import pytest
import torch
from mmengine.config import Config
from pem_models import CONFIGS, parts_of
from torch import nn

from perception.engine.optim_wrapper import DecayGroupsConstructor
from perception.errors import CheckpointError
from perception_plugins.pem import PLUGIN, load_official

NAMES = sorted({path.stem for path in CONFIGS.glob("*.py")} - {"pem_small_synthetic"})
PUBLISHED = {                                        # trained parameters of the backbone and of both decoders
    "pem_r50_cityscapes_semantic": (23_508_032, 2_178_001, 9_846_548),
    "pem_r50_cityscapes_panoptic": (23_508_032, 2_178_001, 9_846_548),
    "pem_stdc1_cityscapes_semantic": (5_318_304, 1_792_977, 9_846_548),
    "pem_stdc2_cityscapes_semantic": (9_348_768, 1_792_977, 9_846_548),
    "pem_r50_ade20k_semantic": (23_454_912, 2_178_001, 9_880_215),
    "pem_r50_ade20k_panoptic": (23_454_912, 2_178_001, 9_880_215),
}
TOTALS = {"r50_cityscapes": 35_532_581, "stdc1_cityscapes": 16_957_829, "stdc2_cityscapes": 20_988_293,
          "r50_ade20k": 35_513_128}


def trained(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters() if parameter.requires_grad)


def test_the_plugin_names_every_config():
    assert sorted(PLUGIN.checkpoints) == NAMES
    assert all((CONFIGS.parents[1] / path).is_file() for path in PLUGIN.checkpoints.values())


@pytest.mark.parametrize("name", PUBLISHED)
def test_parameters_are_as_many_as_published(name):
    model = parts_of(name)
    head = model["head"]
    assert (trained(model["backbone"]), trained(head.pixel_decoder), trained(head.decoder)) == PUBLISHED[name]
    assert trained(model) == TOTALS[name.removeprefix("pem_").rpartition("_")[0]]


@pytest.mark.parametrize("name", NAMES)
def test_every_config_gives_predictions_of_its_classes(name):
    model, K = parts_of(name), 150 if "ade20k" in name else 19
    with torch.device("meta"):
        raw = model["head"].train()(model["backbone"](torch.zeros(2, 3, 64, 96)))
    assert raw.logits.shape == (2, 100, K + 1)
    assert raw.masks.shape == (2, 100, 16, 24)
    assert len(raw.auxiliary) == 6


@pytest.mark.parametrize(("data", "count"), [("cityscapes", 8), ("ade20k", 100)])
def test_only_panoptic_heads_tell_things_apart(data, count):
    panoptic, semantic = (Config.fromfile(CONFIGS / f"pem_r50_{data}_{task}.py") for task in ("panoptic", "semantic"))
    assert len(set(panoptic.model.head.things)) == count
    assert panoptic.model.things == panoptic.model.head.things
    assert semantic.model.things == ()
    assert "things" not in semantic.model.head


@pytest.mark.parametrize(("data", "iterations", "rate"), [("cityscapes", 90_000, 7e-4), ("ade20k", 160_000, 4e-4)])
def test_the_recipe_is_as_published(data, iterations, rate):
    cfg, model = Config.fromfile(CONFIGS / f"pem_stdc1_{data}_semantic.py"), parts_of(f"pem_stdc1_{data}_semantic")
    assert cfg.train_cfg.max_iters == iterations
    wrapper = {key: value for key, value in cfg.optim_wrapper.items() if key not in ("constructor", "paramwise_cfg")}
    groups = DecayGroupsConstructor(wrapper, cfg.optim_wrapper.paramwise_cfg)(model).optimizer.param_groups
    found = {(group["lr"], group["weight_decay"]): {id(p) for p in group["params"]} for group in groups}
    assert set(found) == {(factor * rate, decay) for factor in (1.0, 0.1) for decay in (0.05, 0.0)}
    head, backbone = model["head"], model["backbone"]
    codes = {id(head.decoder.query), id(head.decoder.query_code), id(head.decoder.level_code)}
    assert codes <= found[rate, 0.0]
    assert {id(head.decoder.norm.bias), id(backbone.features[0].bn.weight)} <= found[rate, 0.0] | found[0.1 * rate, 0.0]
    decayed = (head.decoder.label.bias, head.decoder.layers[0].cross_attention.query_proj.weight)
    assert {id(parameter) for parameter in decayed} <= found[rate, 0.05]
    assert id(backbone.features[0].conv.weight) in found[0.1 * rate, 0.05]


def test_a_classifier_gives_the_weights_of_its_backbone_alone():
    names = ["features.0.conv.weight", "x2.0.0.conv.weight", "fc.weight", "bn.bias", "linear.weight"]
    assert set(load_official(dict.fromkeys(names, torch.ones(1)))) == {"backbone.features.0.conv.weight"}


@pytest.mark.parametrize("key", ["in_projections.0.conv.weight", "pixel_decoder.in_projections.0.conv.weight"])
def test_files_from_before_a_renaming_are_read_too(key):
    ours = load_official({f"sem_seg_head.{key}": torch.ones(1)})
    assert set(ours) == {"head.pixel_decoder.projections.0.conv.weight"}


@pytest.mark.parametrize("name", ["query_feat", "static_query"])
def test_queries_are_read_by_either_name(name):
    assert set(load_official({f"sem_seg_head.predictor.{name}.weight": torch.ones(1)})) == {"head.decoder.query"}


def test_keys_of_another_architecture_are_told():
    with pytest.raises(CheckpointError, match=r"1 of 1 keys belong to another architecture: backbone\.patch_embed"):
        load_official({"backbone.patch_embed.weight": torch.ones(1)})


def test_norms_of_ade20k_stay_as_they_are():
    backbone = parts_of("pem_r50_ade20k_semantic")["backbone"].train()
    assert not backbone.bn1.training
    assert not backbone.bn1.weight.requires_grad
