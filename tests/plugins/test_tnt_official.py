"""TNT's published variants: their configs, the number of their parameters, and the keys of checkpoints."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest
import timm
import torch
from mmengine.config import Config
from tnt_models import TNT_SIZES, small_tnt
from torch import nn

from perception.engine.checkpoint import load_weights
from perception.errors import CheckpointError
from perception.registry import MODELS, load_plugin
from perception_plugins.tnt import PLUGIN, TNTClassifier, load_official

CONFIGS = Path(__file__).resolve().parents[2] / "configs/tnt"
PARAMETERS = {                                       # those that are trained, of the authors' models
    "tnt_s_patch16_224": 23_768_584, "tnt_b_patch16_224": 65_428_680, "tnt_s_legacy_patch16_224": 23_755_336,
    "ptnt_ti_patch16_192": 10_578_529, "ptnt_s_patch16_256": 31_953_200, "ptnt_m_patch16_256": 84_943_572,
    "ptnt_b_patch16_256": 156_990_072,
}
PAPER_ONLY = "tnt_ti_patch16_224"


@cache
def network_of(name: str) -> nn.Module:
    """The network of a config, which gets no memory."""
    with torch.device("meta"):
        return MODELS.build(Config.fromfile(CONFIGS / f"{name}.py").model.network)


def parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def test_the_plugin_names_every_config_of_which_weights_were_made():
    assert {path.stem for path in CONFIGS.glob("*.py")} == {*PARAMETERS, PAPER_ONLY}
    assert {Path(path).stem for path in PLUGIN.checkpoints.values()} == set(PARAMETERS)


def test_the_plugin_tells_its_roles():
    info = load_plugin("tnt")
    assert {MODELS.roles[name] for name in ("TNT", "TNTClassifier", "TNTAttention")} == set(info.roles)


@pytest.mark.parametrize("name", PARAMETERS)
def test_parameters_are_as_many_as_published(name):
    assert parameters(network_of(name)) == PARAMETERS[name]


def test_the_smallest_tnt_is_about_as_large_as_the_paper_says():
    assert parameters(network_of(PAPER_ONLY)) == pytest.approx(6.1e6, abs=0.05e6)


@pytest.mark.parametrize(
    "name", ["tnt_s_patch16_224", "tnt_s_legacy_patch16_224", "ptnt_ti_patch16_192", "ptnt_b_patch16_256"]
)
def test_configs_classify_pictures_of_their_size(name):
    network, side = network_of(name), int(name.rpartition("_")[2])
    images = torch.zeros(2, 3, side, side, device="meta")
    assert network(images).shape == (2, 1000)
    assert [tuple(x.shape) for x in network.backbone(images)] == [
        (2, channels, side // stride, side // stride)
        for channels, stride in zip(network.backbone.channels, network.backbone.strides, strict=True)
    ]


@pytest.mark.parametrize("legacy", [False, True], ids=["official", "legacy"])
def test_weights_of_timm_give_timms_logits(legacy):
    theirs = timm.create_model(
        "tnt_s_legacy_patch16_224" if legacy else "tnt_s_patch16_224", img_size=48, embed_dim=24, inner_dim=8, depth=2,
        num_heads_outer=3, num_heads_inner=2, num_classes=5,
    ).eval()
    for parameter in theirs.parameters():
        nn.init.normal_(parameter, std=0.2)          # norms, tables and biases begin equal or as zeros
    sizes = {"img_size": 48, "channels": 24, "word_channels": 8, "depth": 2, "heads": 3, "word_heads": 2}
    ours = TNTClassifier({"type": "TNT", **sizes, "legacy": legacy}, num_classes=5).eval()
    load_weights(ours, {"state_dict": load_official(theirs.state_dict())})
    images = torch.randn(2, 3, 48, 48)
    torch.testing.assert_close(ours(images), theirs(images), atol=1e-5, rtol=1e-4)   # float32 sums in another order


def test_the_backbone_of_a_classifier_loads_into_a_backbone_alone():
    source = TNTClassifier({"type": "TNT", **TNT_SIZES}).state_dict()
    part = {key.removeprefix("backbone."): value for key, value in source.items() if key.startswith("backbone.")}
    backbone = small_tnt()
    load_weights(backbone, {"state_dict": part})
    assert torch.equal(backbone.sentence_position, source["backbone.sentence_position"])


@pytest.mark.parametrize(("official", "ours"), [
    ("cls_token", "backbone.class_token"),
    ("proj_norm1.weight", "backbone.project.norm1.weight"),
    ("blocks.3.proj.weight", "backbone.blocks.3.project.proj.weight"),
    ("blocks.3.se_layer.fc.3.bias", "backbone.blocks.3.sentences.se.expand.bias"),
    ("stages.1.blocks.0.outer_attn.linear.weight", "backbone.stages.1.blocks.0.sentences.attn.linear.weight"),
    ("stages.2.relative_pos", "backbone.stages.2.pair_bias"),
    ("word_merges.0.conv.0.weight", "backbone.stages.1.merge.words.conv.weight"),
    ("sentence_merges.2.norm.bias", "backbone.stages.3.merge.sentences.norm.bias"),
    ("patch_embed.common_conv.1.running_var", "backbone.stem.common.bn.running_var"),
    ("patch_embed.outer_convs.3.weight", "backbone.stem.sentences.1.conv.weight"),
    ("head.bias", "head.bias"),
])
def test_official_keys_have_their_place(official, ours):
    assert set(load_official({official: torch.ones(1)})) == {ours}


def test_the_frozen_zeros_of_the_authors_are_left_out():
    assert load_official({"outer_tokens": torch.zeros(1, 4, 8)}) == {}


def test_the_table_of_timms_words_is_laid_out_as_ours():
    table = torch.arange(8.0).view(1, 2, 2, 2)                                             # channels, rows, columns
    (ours,) = load_official({"pixel_pos": table}).values()
    assert ours.tolist() == [[[0, 4], [1, 5], [2, 6], [3, 7]]]


@pytest.mark.parametrize("key", ["blocks.0.attn.qkv.weight", "patch_embed.outer_convs.2.weight", "stages.0.norm.bias"])
def test_keys_of_another_architecture_are_told(key):
    with pytest.raises(CheckpointError, match="1 of 1 keys belong to another architecture"):
        load_official({key: torch.ones(1)})


def test_a_table_of_words_of_another_form_is_refused():
    with pytest.raises(CheckpointError, match=r"pixel_pos must be \(1, channels, rows, columns\), got \(1, 16, 24\)"):
        load_official({"pixel_pos": torch.ones(1, 16, 24)})
