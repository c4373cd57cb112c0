"""PoolFormer: published sizes, any picture, pooling by hand, and the keys of checkpoints."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
import timm
import torch
from torch import nn

from perception.engine.checkpoint import save_checkpoint
from perception.engine.config import load_config
from perception.errors import CheckpointError
from perception.models.classifier import BackboneClassifier
from perception.models.metaformer.staged import MetaFormer
from perception.registry import MODELS
from perception.structures import Camera, Frame
from perception_plugins.poolformer import PLUGIN, PoolFormer, PoolingMixer, load_official

ROOT = Path(__file__).resolve().parents[2]
CONFIGS = sorted((ROOT / "configs/poolformer").glob("*.py"))
PARAMETERS = {                                       # classifier of 1000 classes, and dense form
    "s12": (11_915_176, 11_403_200), "s24": (21_388_968, 20_876_992), "s36": (30_862_760, 30_350_784),
    "m36": (56_172_520, 55_404_864), "m48": (73_473_448, 72_705_792),
}
TINY = {"depths": (1, 1, 2, 1), "widths": (8, 12, 16, 20)}
close = torch.testing.assert_close


def parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def tiny(**options) -> PoolFormer:
    torch.manual_seed(0)
    return PoolFormer(**{**TINY, "layer_scale": 0.1, **options})


@pytest.mark.parametrize("variant", list(PARAMETERS))
def test_a_variant_has_as_many_parameters_as_published(variant):
    cfg = load_config(ROOT / f"configs/poolformer/poolformer_{variant}.py")
    with torch.device("meta"):
        classifier, dense = MODELS.build(cfg.model), PoolFormer(variant, out_norms=True)
    assert (parameters(classifier), parameters(dense)) == PARAMETERS[variant]


@pytest.mark.parametrize(("image", "maps"), [
    ((224, 224), [(56, 56), (28, 28), (14, 14), (7, 7)]),
    ((375, 1242), [(94, 310), (47, 155), (24, 78), (12, 39)]),
    ((65, 97), [(16, 24), (8, 12), (4, 6), (2, 3)]),
    ((225, 401), [(56, 100), (28, 50), (14, 25), (7, 13)]),
])
def test_maps_have_the_sizes_of_the_authors_code(image, maps):
    with torch.device("meta"):
        model = tiny(out_norms=True)
        found = model(torch.empty(1, 3, *image))
    assert [tuple(x.shape[1:]) for x in found] == [(c, *size) for c, size in zip(TINY["widths"], maps, strict=True)]
    assert (model.channels, model.strides) == (TINY["widths"], (4, 8, 16, 32))


def test_it_is_a_config_of_the_skeleton():
    ours = tiny(out_norms=True)
    skeleton = MetaFormer(
        **TINY, token_mixer={"type": "PoolingMixer"}, norm="group", layer_scale=0.1, out_norms=True
    )
    skeleton.load_state_dict(ours.state_dict())
    images = torch.rand(1, 3, 64, 64)
    for got, expected in zip(skeleton(images), ours(images), strict=True):
        assert torch.equal(got, expected)


def test_pooling_by_hand():
    x = torch.arange(6.0).view(1, 6, 1)                      # 0 1 2 over 3 4 5
    mixed = PoolingMixer(1)(x, (2, 3))
    close(mixed.flatten(), torch.tensor([2.0, 2.5, 3.0, 2.0, 2.5, 3.0]) - x.flatten())


def test_pooling_takes_the_mean_of_real_tokens_alone():
    mask = torch.tensor([[True, True, False, True, False, False]])
    mixed = PoolingMixer(1)(torch.arange(6.0).view(1, 6, 1), (2, 3), mask)
    mean = (0 + 1 + 3) / 3
    close(mixed.flatten(), torch.tensor([mean, mean - 1, 0.0, mean - 3, 0.0, 0.0]))


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_the_order_of_a_picture_in_memory_changes_nothing(layout):
    model = tiny(out_norms=True).eval()
    images = torch.rand(2, 3, 75, 101)
    for got, expected in zip(model(images.contiguous(memory_format=layout)), model(images), strict=True):
        close(got, expected)
        assert got.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("size", [(64, 96), (96, 64)])
def test_under_a_mask_a_padded_picture_is_as_if_it_ended_there(size):
    """Both sides are multiples of 32, so that no window of a convolution differs."""
    model = tiny(norm="layer", out_norms=True, layer_scale=1.0).eval()
    images = torch.randn(2, 3, *size)
    padded, mask = torch.randn(2, 3, 128, 128), torch.zeros(2, 128, 128, dtype=torch.bool)
    padded[:, :, : size[0], : size[1]], mask[:, : size[0], : size[1]] = images, True
    for got, expected in zip(model(padded, mask), model(images), strict=True):
        close(got[:, :, : expected.shape[2], : expected.shape[3]], expected, atol=1e-5, rtol=1e-4)


def test_the_gradient_reaches_every_parameter():
    model = tiny(out_norms=True).train()
    sum(x.square().sum() for x in model(torch.rand(2, 3, 75, 101))).backward()
    assert [name for name, p in model.named_parameters() if not (p.grad is not None and p.grad.isfinite().all())] == []


def test_it_computes_in_bfloat16():
    model = tiny(out_norms=True)
    images = torch.rand(2, 3, 64, 64)
    with torch.autocast("cpu", torch.bfloat16):
        maps = model(images)
    sum(x.float().square().sum() for x in maps).backward()
    for got, expected in zip(maps, model(images), strict=True):
        close(got.float(), expected, atol=0.1, rtol=0.1)     # normed maps of about 1; bfloat16 keeps 8 bits
    assert all(p.grad.isfinite().all() for p in model.parameters())


def test_heads_that_begin_at_stride_8_need_no_first_norm():
    model = tiny(out_norms=True, skip_first_norm=True).eval()
    maps = model(torch.rand(1, 3, 64, 64))
    assert list(model.out_norms) == ["1", "2", "3"]
    assert len(maps) == 4


@pytest.mark.parametrize(("build", "message"), [
    (lambda: PoolFormer("s13"), "variant must be one of s12, s24, s36, m36, m48, got 's13'"),
    (lambda: tiny(pool_size=4), "pool_size must be odd and >= 1, got 4"),
    (lambda: tiny(ratios=(4, 4)), "channel_mixer must be one config, or one for each of the 4 stages, got 2"),
    (lambda: PoolingMixer(4)(torch.rand(1, 6, 4)), r"PoolingMixer needs the size \(H, W\)"),
    (lambda: PoolingMixer(4)(torch.rand(1, 6, 4), (2, 4)), "a map of 2 x 4 has other than 6 tokens"),
    (lambda: tiny()(torch.rand(1, 3, 31, 64)), "images must be at least 32 x 32 pixels, got 31 x 64"),
    (lambda: tiny()(torch.rand(1, 3, 0, 64)), "images must be at least 32 x 32 pixels, got 0 x 64"),
    (lambda: tiny()(torch.rand(1, 4, 64, 64)), r"images must be \(B, 3, H, W\), got \(1, 4, 64, 64\)"),
    (lambda: tiny()(torch.rand(1, 3, 64, 64), torch.ones(1, 64, 64, dtype=torch.bool)), 'a mask needs norm="layer"'),
])
def test_what_cannot_be_is_refused(build, message):
    with pytest.raises(ValueError, match=message):
        build()


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_config_builds_learns_and_predicts(path):
    cfg = load_config(path, {"model.network.num_classes": 7})
    cfg.model.network.backbone.update(widths=(32, 32, 64, 64), depths=(1, 1, 1, 1))
    model = MODELS.build(cfg.model)
    image = torch.randint(0, 256, (3, 224, 224), dtype=torch.uint8)
    frames = [Frame("a", 0, cameras={"front": Camera(None, 0, image=image, category=3)})]
    losses = model(**model.data_preprocessor(frames, True), mode="loss")
    sum(losses.values()).backward()
    assert all(parameter.grad is not None for parameter in model.parameters())
    (found,) = model.eval()(**model.data_preprocessor(frames), mode="predict")
    assert found.scores.shape == (7,)


def test_every_checkpoint_of_the_plugin_has_a_config():
    assert {ROOT / path for path in PLUGIN.checkpoints.values()} == set(CONFIGS)


def official_keys(positions: dict[int, str] | None = None) -> list[str]:
    """Every key of the authors' S12 classifier; stages named in ``positions`` have a position map and that mixer."""
    keys, entry = [f"{part}.{name}" for part in ("patch_embed.proj", "norm", "head") for name in ("weight", "bias")], 0
    mixers = {"attention": ["qkv.weight", "proj.weight", "proj.bias"], "linear": ["fc.weight"]}
    for stage, depth in enumerate((2, 2, 6, 2)):
        mixer = (positions or {}).get(stage)
        if stage:
            keys += [f"network.{entry}.proj.{name}" for name in ("weight", "bias")]
            entry += 1
        if mixer is not None:
            keys.append(f"network.{entry}.pos_embed")
            entry += 1
        for block in (f"network.{entry}.{number}" for number in range(depth)):
            parts = ("norm1", "norm2", "mlp.fc1", "mlp.fc2")
            keys += [f"{block}.{part}.{name}" for part in parts for name in ("weight", "bias")]
            keys += [f"{block}.layer_scale_{number}" for number in (1, 2)]
            keys += [f"{block}.token_mixer.{name}" for name in mixers.get(mixer, [])]
        entry += 1
    return keys


@pytest.mark.parametrize(("config", "positions"), [
    ("poolformer_s12", {}), ("metaformer_id_s12", {}),
    ("metaformer_pppa_s12_224", {3: "attention"}), ("metaformer_ppaa_s12_224", {2: "attention", 3: "attention"}),
    ("metaformer_pppf_s12_224", {3: "linear"}), ("metaformer_ppff_s12_224", {2: "linear", 3: "linear"}),
])
def test_every_official_key_has_its_place_and_every_place_its_key(config, positions):
    with torch.device("meta"):
        model = MODELS.build(load_config(ROOT / f"configs/poolformer/{config}.py").model)
    assert set(load_official(dict.fromkeys(official_keys(positions), torch.ones(1)))) == set(model.state_dict())


def test_every_key_of_the_dense_form_has_its_place():
    keys = [key for key in official_keys() if not key.startswith(("norm.", "head."))]
    keys += [f"norm{entry}.{name}" for entry in (0, 2, 4, 6) for name in ("weight", "bias")]
    with torch.device("meta"):
        ours = PoolFormer("s12", out_norms=True).state_dict()
    assert set(load_official(dict.fromkeys(keys, torch.ones(1)))) == {f"backbone.{key}" for key in ours}


def test_timms_network_gives_the_same_maps_with_the_same_weights():
    """Its logits are others, since it takes the mean of the last map before the norm."""
    theirs = timm.create_model("poolformer_s12").eval()
    for name, parameter in theirs.named_parameters():
        if "layer_scale" in name:                            # at first so small that no block would count
            nn.init.constant_(parameter, 0.5)
    ours = BackboneClassifier({"type": "PoolFormer"}, norm="group").eval()
    ours.load_state_dict(load_official(theirs.state_dict()))
    images = torch.rand(1, 3, 64, 96)
    with torch.no_grad():
        maps = theirs.forward_intermediates(images, indices=4, intermediates_only=True)
        for got, expected in zip(ours.backbone(images), maps, strict=True):
            close(got, expected, atol=1e-5, rtol=1e-4)


def test_the_layers_of_the_feed_forward_nets_become_linear():
    state = {"network.0.0.mlp.fc1.weight": torch.rand(8, 4, 1, 1), "patch_embed.proj.weight": torch.rand(4, 3, 7, 7)}
    shapes = [tuple(value.shape) for value in load_official(state).values()]
    assert shapes == [(8, 4), (4, 3, 7, 7)]


@pytest.mark.parametrize("key", ["network.0.0.mlp.fc3.weight", "patch_embed1.proj.weight", "blocks.0.norm1.weight"])
def test_a_key_of_another_architecture_is_told(key):
    with pytest.raises(CheckpointError, match="belong to another architecture"):
        load_official({key: torch.ones(1)})


class FinestMap(nn.Module):
    """A head without weights."""

    def __init__(self, in_channels: tuple[int, ...], num_classes: int) -> None:
        super().__init__()
        self.num_classes = num_classes

    def forward(self, maps: tuple[torch.Tensor, ...]) -> torch.Tensor:
        return maps[0][:, : self.num_classes]


def test_a_segmentor_begins_with_a_classifiers_backbone_and_tells_what_is_absent_and_left_out(tmp_path, caplog):
    MODELS.register_module("HeadOfThisTest", force=True, module=FinestMap)
    classifier = MODELS.build({"type": "Classifier", "network": {
        "type": "BackboneClassifier", "num_classes": 5, "norm": "group", "backbone": {"type": "PoolFormer", **TINY},
    }})
    save_checkpoint({"state_dict": classifier.state_dict()}, tmp_path / "classifier.pth")
    model = MODELS.build({
        "type": "Segmentor", "classes": ("road", "sky"), "pretrained": tmp_path / "classifier.pth",
        "backbone": {"type": "PoolFormer", "out_norms": True, **TINY},
        "head": {"type": "HeadOfThisTest"},
    })
    with caplog.at_level(logging.INFO, logger="perception"):
        model.init_weights()
    theirs = classifier.network.backbone.state_dict()
    assert all(torch.equal(model.backbone.state_dict()[key], value) for key, value in theirs.items())
    norms = [f"out_norms.{stage}.{name}" for stage in range(4) for name in ("weight", "bias")]
    assert f"lacks {', '.join(norms)}, which begin anew" in caplog.text
    assert "no part of the backbone: norm.*, head.*" in caplog.text
