"""The published variants of kMaX-DeepLab: their configs, parameters and released keys."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from kmax_models import CONFIGS, config_of, model_of
from mmengine.config import Config

from perception.engine.optim_wrapper import DecayGroupsConstructor
from perception.errors import CheckpointError
from perception.registry import MODELS
from perception.structures import Camera, Frame, PixelLabels
from perception_plugins.kmax import PLUGIN, load_official

PUBLISHED = {                                        # backbone, pixel decoder, decoder with branch; the branch alone
    "r50_coco": (23_508_032, 21_151_040, 27_777_790, 15_856_742),
    "convnext_tiny_coco": (27_818_592, 21_197_440, 18_249_470, 6_328_422),
    "convnext_small_coco": (49_453_152, 21_197_440, 18_249_470, 6_328_422),
    "convnext_base_coco": (87_564_416, 22_027_840, 20_155_134, 8_234_086),
    "convnext_large_coco": (196_227_264, 23_688_640, 23_966_462, 12_045_414),
    "r50_cityscapes": (23_508_032, 21_170_240, 12_297_485, 584_979),
    "convnext_large_cityscapes": (196_227_264, 23_722_560, 12_152_589, 440_083),
    "r50_ade20k": (23_508_032, 21_151_040, 27_812_742, 15_861_111),
    "convnext_large_ade20k": (196_227_264, 23_688_640, 24_001_414, 12_049_783),
}
TOTALS = {
    "r50_coco": 72_436_862, "convnext_tiny_coco": 67_265_502, "convnext_small_coco": 88_900_062,
    "convnext_base_coco": 129_747_390, "convnext_large_coco": 243_882_366, "r50_cityscapes": 56_975_757,
    "convnext_large_cityscapes": 232_102_413, "r50_ade20k": 72_471_814, "convnext_large_ade20k": 243_917_318,
}
RULES = {                                            # pixel, thing, stuff, overlap, power of classes, of masks
    "coco": (0.4, 0.7, 0.5, 0.8, 1.0, 1.0), "cityscapes": (0.4, 0.5, 0.3, 0.9, 1.0, 0.0),
    "ade20k": (0.4, 0.4, 0.4, 0.8, 1.0, 1.0),
}
RECIPES = {"coco": (150_000, 5e-4), "cityscapes": (60_000, 3e-4), "ade20k": (100_000, 5e-4)}


def parameters(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def test_every_config_is_a_published_variant_and_told_by_the_plugin():
    names = {path.stem for path in CONFIGS.glob("*.py")} - {"kmax_small_synthetic"}
    assert names == {f"kmax_{name}" for name in PUBLISHED} == set(PLUGIN.checkpoints)
    assert all((CONFIGS.parents[1] / path).is_file() for path in PLUGIN.checkpoints.values())


@pytest.mark.parametrize("name", PUBLISHED)
def test_parameters_are_as_many_as_published(name):
    model = model_of(config_of(f"kmax_{name}"))
    head, branch = model["head"], parameters(model["head"].semantic_branch)
    counted = (parameters(model["backbone"]), parameters(head.pixel_decoder), parameters(head.decoder) + branch, branch)
    assert counted == PUBLISHED[name]
    assert parameters(model) == TOTALS[name]


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_published_image_size_gives_masks_at_stride_four(name):
    cfg = config_of(f"kmax_{name}")
    model = model_of(cfg)
    H, W = cfg.image_size
    with torch.device("meta"):
        raw = model["head"](model["backbone"](torch.empty(2, 3, H, W)))
    K, N, size = cfg.model.head.num_classes, cfg.model.head.num_queries, ((H - 1) // 4 + 1, (W - 1) // 4 + 1)
    assert raw.logits.shape == (2, N, K + 1)
    assert raw.masks.shape == (2, N, *size)
    assert len(raw.auxiliary) == 6
    assert all(layer.masks.shape == raw.masks.shape for layer in raw.auxiliary)
    is_light = cfg.model.head.semantic_branch == "light"
    expected = (2, K, (H - 1) // 32 + 1, (W - 1) // 32 + 1) if is_light else (2, K + 1, *size)
    assert raw.semantic.shape == expected


@pytest.mark.parametrize("name", PUBLISHED)
def test_thresholds_and_recipe_are_those_of_the_data_set(name):
    cfg, data = config_of(f"kmax_{name}"), name.split("_")[-1]
    rule = model_of(cfg)["head"].panoptic
    assert (rule.pixel, rule.thing, rule.stuff, rule.overlap, rule.class_power, rule.mask_power) == RULES[data]
    assert (cfg.train_cfg.max_iters, cfg.optim_wrapper.optimizer.lr) == RECIPES[data]


def test_the_recipe_slows_the_backbone_and_decays_kernels_alone():
    cfg = config_of("kmax_convnext_tiny_coco")
    model = model_of(cfg)
    constructor = DecayGroupsConstructor({"optimizer": cfg.optim_wrapper.optimizer}, cfg.optim_wrapper.paramwise_cfg)
    wrapper = constructor(model)
    group_of = {p: group for group in wrapper.optimizer.param_groups for p in group["params"]}
    expected = {
        "backbone.stages.0.0.gamma": (5e-5, 0.0), "backbone.stages.0.0.pwconv1.weight": (5e-5, 0.05),
        "backbone.downsample_layers.0.1.weight": (5e-5, 0.0), "head.decoder.centers": (5e-4, 0.0),
        "head.pixel_decoder.stages.0.0.middle.height.query_table": (5e-4, 0.0),
        "head.pixel_decoder.stages.0.0.middle.height.qkv.weight": (5e-4, 0.05),
        "head.decoder.predictor.classify.bias": (5e-4, 0.0), "head.decoder.predictor.classify.weight": (5e-4, 0.05),
    }
    found = {name: group_of[model.get_parameter(name)] for name in expected}
    assert {name: (pytest.approx(group["lr"]), group["weight_decay"]) for name, group in found.items()} == expected


def test_the_small_model_learns_from_a_batch_and_predicts_another():
    cfg = Config.fromfile(str(CONFIGS.parent / "_base_/models/kmax_small.py"))
    head = {**cfg.model.head, "things": (1,), "panoptic": {"pixel": 0.0, "thing": 0.0, "stuff": 0.0, "overlap": 0.0}}
    model = MODELS.build({**cfg.model, "head": head, "classes": [f"class{k}" for k in range(19)], "things": (1,)})
    label = torch.zeros(64, 96, dtype=torch.int64)
    label[:, 40:] = 1
    images = torch.randint(0, 256, (2, 3, 64, 96), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    frames = [
        Frame(str(seed), seed, cameras={"front": Camera(None, 0, image=image, labels=PixelLabels(truth, truth))})
        for seed, (image, truth) in enumerate(zip(images, (label, label.flip(1)), strict=True))
    ]
    losses = model(**model.data_preprocessor(frames, training=True), mode="loss")
    assert all(value.isfinite() for value in losses.values())
    found = model.eval()(**model.data_preprocessor(frames), mode="predict")
    assert [one.token for one in found] == ["0", "1"]
    for one in found:
        assert one.classes.shape == one.panoptic.ids.shape == one.instances.masks.shape[1:] == (64, 96)
        assert len(one.panoptic) > 0
        assert set(one.instances.labels.tolist()) <= {1}


@pytest.mark.golden_files("kmax", pattern="*.json")
def test_every_released_key_has_its_place_and_every_place_its_key(golden_file: Path):
    data, backbone = golden_file.stem.removeprefix("keys_").split("_", 1)
    shapes = json.loads(golden_file.read_text())
    ours = load_official({name: torch.empty(shape, device="meta") for name, shape in shapes.items()})
    expected = model_of(config_of(f"kmax_{backbone}_{data}")).state_dict()
    assert {name: value.shape for name, value in ours.items()} == {k: value.shape for k, value in expected.items()}


@pytest.mark.parametrize("key", [
    "sem_seg_head.pixel_decoder.transformer.level_embed", "backbone.stages.0.blocks.0.norm1.weight",
    "sem_seg_head.predictor._kmax_transformer_layers.0._query_conv1_bn_act.bias",
])
def test_a_key_of_another_architecture_is_told(key):
    with pytest.raises(CheckpointError, match="belong to another architecture"):
        load_official({key: torch.ones(1)})
