"""RMT's checkpoints and configs: every key has its place, and every place its key."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from rmt_models import TINY, tiny_backbone

from perception.engine.checkpoint import load_weights, save_checkpoint
from perception.engine.convert import convert_checkpoint
from perception.errors import CheckpointError
from perception.registry import MODELS, load_plugins
from perception_plugins.rmt import PLUGIN, config_options, load_official

ROOT = Path(__file__).resolve().parents[2]
CONFIGS = sorted((ROOT / "configs/rmt").glob("*.py"))
WB, BN = ("weight", "bias"), ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
PARAMETERS = {                                       # as the released logs print them
    "rmt_t_imagenet": 14_334_216, "rmt_s_imagenet": 26_967_240, "rmt_b_imagenet": 54_154_896,
    "rmt_l_imagenet": 95_464_864, "rmt_s_token_label_imagenet": 27_480_240, "rmt_b_token_label_imagenet": 54_667_896,
    "rmt_l_token_label_imagenet": 96_105_864,
}
ENTRIES = {"t": 374, "s": 704, "b": 1122, "l": 1122}  # tensors of a classifier's state
DEPTHS = {"t": (2, 2, 8, 2), "s": (3, 4, 18, 4), "b": (4, 8, 25, 8), "l": (4, 8, 25, 8)}
BLOCK = (
    "retention_layer_norm", "final_layer_norm", "pos.conv", "ffn.fc1", "ffn.fc2", "ffn.dwconv.conv",
    "retention.q_proj", "retention.k_proj", "retention.v_proj", "retention.out_proj", "retention.lepe.conv",
)


def encoder_keys(depths: tuple[int, ...], scaled: tuple[int, ...] = ()) -> list[str]:
    """Keys of the authors' encoder; ``scaled`` are the stages with layer scale."""
    layers = [f"patch_embed.proj.{place}" for place in (0, 3, 6, 9)]
    norms = [f"patch_embed.proj.{place}" for place in (1, 4, 7, 10)]
    keys = []
    for stage, depth in enumerate(depths):
        keys += [f"layers.{stage}.Relpos.{name}" for name in ("angle", "decay")]
        layers += [f"layers.{stage}.blocks.{block}.{part}" for block in range(depth) for part in BLOCK]
        if stage in scaled:
            keys += [f"layers.{stage}.blocks.{block}.gamma_{branch}" for block in range(depth) for branch in (1, 2)]
        if stage < 3:
            layers.append(f"layers.{stage}.downsample.reduction")
            norms.append(f"layers.{stage}.downsample.norm")
    return keys + [f"{x}.{name}" for x in layers for name in WB] + [f"{x}.{name}" for x in norms for name in BN]


def head_keys() -> list[str]:
    return [f"{layer}.{name}" for layer in ("proj", "head") for name in WB] + [f"norm.{name}" for name in BN]


def of_keys(keys: list[str]) -> dict[str, torch.Tensor]:
    return dict.fromkeys(keys, torch.ones(1))


def network_of(path: Path) -> torch.nn.Module:
    """The network of a config, which gets no memory."""
    cfg = Config.fromfile(str(path), lazy_import=False)
    load_plugins(cfg.plugins)
    with torch.device("meta"):
        return MODELS.build(cfg.model.network)


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_a_config_has_the_published_parameters_and_a_place_for_every_official_key(path):
    variant, network = path.stem.split("_")[1], network_of(path)
    keys = encoder_keys(DEPTHS[variant], (2, 3) if variant in "bl" else ()) + head_keys()
    assert len(keys) == ENTRIES[variant]
    if "token_label" in path.stem:
        keys += [f"aux_head.{name}" for name in WB]
    assert set(load_official(of_keys(keys))) == set(network.state_dict())
    assert sum(parameter.numel() for parameter in network.parameters()) == PARAMETERS[path.stem]


def test_every_released_model_has_its_config_and_every_config_its_model():
    assert sorted(PLUGIN.checkpoints.values()) == [str(path.relative_to(ROOT)) for path in CONFIGS]


def test_a_dense_state_has_norms_of_its_own():
    keys = encoder_keys((1, 1, 2, 1), (2, 3)) + [f"extra_norms.{stage}.{name}" for stage in range(4) for name in WB]
    assert set(load_official(of_keys(keys))) == {f"backbone.{key}" for key in tiny_backbone().state_dict()}


def test_of_a_detector_the_backbone_alone_is_taken():
    keys = [f"backbone.{key}" for key in encoder_keys((1, 1, 1, 1))]
    heads = ["neck.lateral_convs.0.conv.weight", "rpn_head.rpn_conv.weight"]
    mapped = load_official(of_keys(keys + heads))
    assert len(mapped) == len(keys)
    assert all(key.startswith("backbone.") for key in mapped)


@pytest.mark.parametrize("key", [
    "layers.0.blocks.0.retention.g_proj.weight", "patch_embed.proj.2.weight", "layers.0.blocks.0.gamma_3", "neck.x",
])
def test_a_key_of_another_architecture_is_told(key):
    with pytest.raises(CheckpointError, match="belong to another architecture"):
        load_official(of_keys([key]))


@pytest.mark.parametrize(("width", "options"), [(1024, {"model.network.projected_tokens": True}), (512, {})])
def test_what_the_second_head_reads_is_seen_by_its_width(width, options):
    state = {"proj.weight": torch.zeros(1024, 512), "aux_head.weight": torch.zeros(1000, width)}
    assert config_options(state) == options


def test_a_state_without_second_head_needs_no_options():
    assert config_options({"proj.weight": torch.zeros(1024, 512)}) == {}


def segmentor_from(path: Path) -> torch.nn.Module:
    load_plugins(["daformer"])
    return MODELS.build({
        "type": "Segmentor", "backbone": {"type": "RMT", **TINY}, "classes": ("road", "sky"), "pretrained": path,
        "head": {"type": "DAFormerHead", "channels": 8, "embed_channels": 8,
                 "fusion": {"type": "ContextASPP", "dilations": (1, 2)}},
    })


def test_a_dense_backbone_begins_with_a_classifiers_weights_and_norms_of_its_own(tmp_path):
    torch.manual_seed(0)
    backbone = {"type": "RMT", **TINY}
    classifier = MODELS.build({"type": "RMTClassifier", "backbone": backbone, "num_classes": 5, "hidden": 8})
    save_checkpoint({"state_dict": classifier.state_dict()}, tmp_path / "classifier.pth")
    model = segmentor_from(tmp_path / "classifier.pth")
    model.init_weights()
    loaded = model.backbone.state_dict()
    for key, value in classifier.backbone.state_dict().items():
        assert torch.equal(loaded[key], value), key
    assert all((norm.weight == 1).all() and (norm.bias == 0).all() for norm in model.backbone.norms)


def test_a_classifiers_weights_without_a_stage_are_refused(tmp_path):
    state = {f"backbone.{key}": value for key, value in tiny_backbone().state_dict().items() if "stages.3" not in key}
    save_checkpoint({"state_dict": state}, tmp_path / "short.pth")
    with pytest.raises(CheckpointError, match=r"missing: stages\.3"):
        segmentor_from(tmp_path / "short.pth").init_weights()


def test_a_converted_checkpoint_loads_whole(tmp_path):
    backbone = {"type": "RMT", **TINY}
    model = MODELS.build({"type": "RMTTokenLabelClassifier", "backbone": backbone, "num_classes": 5, "hidden": 8})
    own = model.state_dict()
    keys = encoder_keys(TINY["depths"], (2, 3)) + head_keys() + [f"aux_head.{name}" for name in WB]
    places = {key: next(iter(load_official(of_keys([key])))) for key in keys}
    official = {key: torch.zeros_like(own[place]) for key, place in places.items()}
    torch.save({"model": official, "epoch": 300}, tmp_path / "official.pth")
    converted = convert_checkpoint("rmt", tmp_path / "official.pth", tmp_path / "ours.pth")
    assert converted.num_tensors == len(own)
    load_weights(model, tmp_path / "ours.pth")
    assert not any(value.any() for value in model.state_dict().values())
