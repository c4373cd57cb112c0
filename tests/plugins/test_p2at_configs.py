"""P2AT's published variants: parameters, recipes, and the keys of checkpoints."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from torch import nn

from perception.errors import CheckpointError
from perception.registry import MODELS
from perception.structures.segmentation import PixelLabels
from perception_plugins.p2at import PLUGIN, config_options, load_official

ROOT = Path(__file__).resolve().parents[2]
CONFIGS = sorted(path for path in (ROOT / "configs/p2at").glob("*.py") if "synthetic" not in path.name)
ENCODERS = {"s": (18, 11_176_512), "m": (34, 21_284_672), "l": (50, 23_508_032)}
# parameters by variant, classes and whether the heads for training are there
PUBLISHED = [
    ("s", 19, True, 12_812_729), ("m", 19, True, 22_920_889), ("l", 19, True, 25_353_145),
    ("s", 19, False, 12_736_019), ("m", 19, False, 22_844_179), ("l", 19, False, 25_276_435),
    ("s", 11, True, 12_811_169), ("m", 11, True, 22_919_329), ("l", 11, True, 25_351_585),
]
RECIPES = {                                          # lr, weight decay, iterations of the rate, of the run, and weights
    "p2at_s_camvid": (1e-3, 5e-4, 6440, 3680, 0.4, 1.0, 0.4),
    "p2at_s_camvid_trainval": (1e-3, 5e-4, 8260, 4720, 0.4, 1.0, 1.0),
    "p2at_m_camvid": (4e-3, 5e-4, 6440, 3680, 0.4, 1.0, 1.0),
    "p2at_m_camvid_trainval": (1e-3, 5e-3, 11800, 11800, 0.4, 1.0, 1.0),
    "p2at_l_camvid": (4e-3, 5e-4, 6440, 3680, 1.0, 1.0, 1.0),
    "p2at_s_cityscapes": (1e-2, 1e-4, 74400, 74400, 0.5, 0.5, 1.0),
    "p2at_m_cityscapes": (1e-2, 1e-4, 74400, 74400, 0.5, 0.5, 1.0),
    "p2at_l_cityscapes": (1e-2, 1e-4, 74400, 74400, 0.5, 0.5, 1.0),
}
BN = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")


def parts_of(cfg: Config, device: str = "meta", **head: object) -> nn.ModuleDict:
    """Backbone and head of a config, by the names that they have in a `Segmentor`; on "meta" they get no memory."""
    with torch.device(device):
        backbone = MODELS.build(cfg.model.backbone)
        given = {"in_channels": backbone.channels, "num_classes": len(cfg.model.classes)}
        return nn.ModuleDict({"backbone": backbone, "head": MODELS.build({**cfg.model.head, **given, **head})})


def parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize(("variant", "num_classes", "auxiliary", "expected"), PUBLISHED)
def test_parameters_are_as_many_as_published(variant, num_classes, auxiliary, expected):
    depth, encoder = ENCODERS[variant]
    cfg = Config.fromfile(ROOT / f"configs/p2at/p2at_{variant}_cityscapes.py")
    parts = parts_of(cfg, num_classes=num_classes, auxiliary=auxiliary, aux2_channels=None)
    assert cfg.model.backbone.depth == depth
    assert parameters(parts["backbone"]) == encoder
    assert parameters(parts) == expected


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_config_builds_the_published_variant_and_recipe(path):
    cfg = Config.fromfile(path)
    head = parts_of(cfg)["head"]
    (schedule,) = cfg.param_scheduler
    optimizer, criterion = cfg.optim_wrapper.optimizer, head.criterion
    assert cfg.plugins == ["p2at"]
    assert cfg.model.backbone.depth == ENCODERS[path.stem.split("_")[1]][0]
    assert head.num_classes == (11 if "camvid" in path.stem else 19)
    assert head.aux2_channels == 1
    assert RECIPES[path.stem] == (
        optimizer.lr, optimizer.weight_decay, schedule.end - 1, cfg.train_cfg.max_iters, criterion.auxiliary_weight,
        criterion.semantic_weight, criterion.boundary_semantic_weight,
    )


@pytest.mark.parametrize("variant", list(ENCODERS))
def test_a_config_learns_from_pictures_and_classifies_their_pixels(variant):
    parts = parts_of(Config.fromfile(ROOT / f"configs/p2at/p2at_{variant}_camvid.py"), device="cpu").train()
    images, labels = torch.rand(2, 3, 45, 64), [PixelLabels(torch.randint(11, (45, 64))) for _ in range(2)]
    losses = parts["head"].loss(parts["head"](parts["backbone"](images)), labels)
    assert all(torch.isfinite(value) for value in losses.values())
    with torch.no_grad():
        logits = parts.eval()["head"](parts["backbone"](images))
    assert logits.shape == (2, 11, 12, 16)
    assert parts["head"].resized_logits(logits, (45, 64)).argmax(dim=1).shape == (2, 45, 64)


def test_the_plugins_checkpoints_have_configs():
    assert all((ROOT / path).is_file() for path in PLUGIN.checkpoints.values())


def unit(prefix: str) -> list[str]:
    return [f"{prefix}.conv.weight", f"{prefix}.act.weight", *(f"{prefix}.bn.{name}" for name in BN)]


def pair(prefix: str) -> list[str]:
    return [f"{prefix}.0.conv.weight", *(f"{prefix}.1.{name}" for name in BN)]


def official_decoder_keys(heads: tuple[str, ...]) -> list[str]:
    """Every key of the authors' model but those of its encoder."""
    keys = [*unit("feature_reducer")]
    for layer in (f"deep_feature_processor.transformer_layers.{number}" for number in range(2)):
        attn = f"{layer}.attn"
        keys += [f"{attn}.to_{name}.conv.weight" for name in "qkv"] + [f"{attn}.proj_encode_column.conv.weight"]
        keys += [f"{attn}.pos_emb_{axis}_{name}.pos_embed" for axis in ("row", "column") for name in "qk"]
        keys += [*unit(f"{attn}.proj"), *unit(f"{attn}.proj_encode_row")]
        for number in (1, 2):
            keys += [*pair(f"{attn}.details_enhancer.conv{number}"), *unit(f"{attn}.pool_feats_processor.conv{number}")]
        keys += [f"{layer}.mlp.fc1.conv.weight", f"{layer}.mlp.fc2.conv.weight"]
        keys += [f"{layer}.mlp.dwconv.{name}" for name in ("weight", "bias")]
    for block in (f"P{number}_decoder" for number in (1, 2, 3)):
        keys += [f"{block}.gamma", *(f"{block}.dwconv.1.{name}" for name in BN)]
        keys += [f"{block}.{part}.{name}" for part in ("dwconv.0", "pwconv1.0", "pwconv2") for name in BN[:2]]
    for level in (3, 4):
        fusion, context = f"BiS{level}", f"pool_gce{level}"
        keys += [*unit(f"{fusion}.down_feat.conv1"), *unit(f"{fusion}.up_feat.conv1")]
        keys += [f"{fusion}.down_feat.{name}.conv.weight" for name in ("conv2", "conv3", "fuse")]
        keys += [f"{fusion}.up_feat.conv2.conv.{name}" for name in ("weight", "bias")]
        keys += [*pair(f"{fusion}.st_feat"), *pair(f"{fusion}.fuse"), *unit(f"{context}.conv2")]
        keys += [f"{context}.conv1.conv.weight", f"{context}.bn_scale.weight", f"{context}.bn_scale.bias"]
    for name in ("refine1.c2_", "refine2.c2_", "refine3.c2_", "fuse1", "fuse2"):
        keys += unit(name)
    for head in heads:
        keys += [f"{head}.{norm}.{name}" for norm in ("bn1", "bn2") for name in BN]
        keys += [f"{head}.conv1.weight", f"{head}.conv2.weight", f"{head}.conv2.bias"]
    return keys


@pytest.mark.parametrize("prefix", ["", "model."])
@pytest.mark.parametrize("heads", [("final_seg_head",), ("final_seg_head", "aux_seg_head1", "aux_seg_head2")])
@pytest.mark.parametrize("variant", list(ENCODERS))
def test_every_official_key_has_its_place_and_every_place_its_key(variant, heads, prefix):
    cfg = Config.fromfile(ROOT / f"configs/p2at/p2at_{variant}_cityscapes.py")
    parts = parts_of(cfg, auxiliary=len(heads) > 1)
    encoder = [name.replace("conv1.", "conv1_x.", 1) if name.startswith("conv1.") else name
               for name in parts["backbone"].state_dict()]
    official = {prefix + name: torch.ones(1) for name in [*encoder, *official_decoder_keys(heads)]}
    assert set(load_official(official)) == set(parts.state_dict())


def test_a_checkpoint_tells_the_width_of_its_auxiliary_head():
    state = {"model.aux_seg_head2.conv2.bias": torch.zeros(19)}
    assert config_options(state) == {"model.head.aux2_channels": 19}
    assert config_options({"final_seg_head.conv2.bias": torch.zeros(19)}) == {"model.head.auxiliary": False}


@pytest.mark.parametrize("key", ["P4_decoder.gamma", "compression3.0.weight", "conv1_x.bias", "BiS4.gate.weight"])
def test_a_key_of_another_architecture_is_told(key):
    with pytest.raises(CheckpointError, match="belong to another architecture"):
        load_official({key: torch.ones(1)})
