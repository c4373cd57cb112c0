"""The hosts of EcoFormer's attention: published sizes, any picture, training, export, and what they refuse."""

from __future__ import annotations

from pathlib import Path

import pytest
import timm
import torch
from torch import nn

from perception.engine.config import load_config
from perception.models.metaformer.block import MetaFormerBlock
from perception.models.token_layout import map_of
from perception.registry import MODELS
from perception.structures import Camera, Frame
from perception_plugins.ecoformer import PLUGIN, EcoFormerPVTv2, EcoFormerTwins, HashAttention, load_official
from perception_plugins.ecoformer.pvt_parts import ConvFeedForward, ReducedAttentionMixer
from perception_plugins.ecoformer.twins import ConditionalPosition

ROOT = Path(__file__).resolve().parents[2]
CONFIGS = sorted((ROOT / "configs/ecoformer").glob("*.py"))
PARAMETERS = {                                       # of classifiers of 1000 classes, with codes and with softmax
    "b0": (3_136_328, 3_198_280), "b1": (11_891_368, 12_138_152), "b2": (20_367_528, 21_062_376),
    "b3": (34_084_008, 36_011_496), "b4": (45_665_704, 48_583_720),
}
HASHING = {"anchors": 6, "learning": {"steps": 3, "learning_rate": 0.05}}
TINY = {"widths": (8, 16, 20, 24), "depths": (1, 2, 1, 1), "heads": (1, 2, 5, 4), "hashing": HASHING}
HOSTS = {"pvt_v2": EcoFormerPVTv2, "twins": EcoFormerTwins}
ATTENTIONS = ("ecoformer", "msa", "msa_share_qk", "sra")
close = torch.testing.assert_close
every_host = pytest.mark.parametrize("host", list(HOSTS))


def parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def tiny(host: str, **options) -> nn.Module:
    torch.manual_seed(0)
    ratios = (4, 4, 2, 2)
    return HOSTS[host](**{**TINY, "ratios": ratios, **options})


def learned(host: str, **options) -> nn.Module:
    """In evaluation, with hash functions that have learned."""
    model = tiny(host, **options).train()
    with torch.no_grad():
        model(torch.rand(2, 3, 64, 96))
    return model.eval()


@pytest.mark.parametrize("variant", list(PARAMETERS))
def test_a_variant_has_as_many_parameters_as_published(variant):
    configs = [load_config(ROOT / f"configs/ecoformer/pvt_v2_{variant}_{kind}.py") for kind in ("ecoformer", "msa")]
    with torch.device("meta"):
        assert tuple(parameters(MODELS.build(cfg.model)) for cfg in configs) == PARAMETERS[variant]


def test_twins_svt_s_has_the_parameters_of_its_layers():
    """Not published; counted from widths, depths and ratios by hand."""
    expected, before = 0, 3
    for stage, (width, depth) in enumerate(zip((64, 128, 256, 512), (2, 2, 10, 4), strict=True)):
        square = width * width + width                                                     # a linear layer
        attention = 3 * square if stage < 3 else 4 * square
        block = attention + (8 * width * width + 5 * width) + 4 * width                    # feed-forward net, two norms
        patch = before * width * (16 if stage == 0 else 4) + width + 2 * width
        expected += depth * block + patch + 10 * width                                     # the last: position code
        before = width
    with torch.device("meta"):
        model = MODELS.build(load_config(ROOT / "configs/ecoformer/twins_svt_s_ecoformer.py").model)
    assert parameters(model) == expected + 2 * 512 + 512 * 1000 + 1000


@pytest.mark.parametrize(("host", "image", "maps"), [
    ("pvt_v2", (224, 224), [(56, 56), (28, 28), (14, 14), (7, 7)]),
    ("pvt_v2", (225, 401), [(57, 101), (29, 51), (15, 26), (8, 13)]),
    ("pvt_v2", (1, 5), [(1, 2), (1, 1), (1, 1), (1, 1)]),
    ("twins", (225, 401), [(56, 100), (28, 50), (14, 25), (7, 12)]),
    ("twins", (32, 63), [(8, 15), (4, 7), (2, 3), (1, 1)]),
])
def test_maps_have_the_widths_and_strides_told(host, image, maps):
    with torch.device("meta"):
        model = tiny(host).eval()
        found = model(torch.empty(2, 3, *image))
    widths = zip(TINY["widths"], maps, strict=True)
    assert [tuple(x.shape) for x in found] == [(2, width, *size) for width, size in widths]
    assert (model.channels, model.strides) == (TINY["widths"], (4, 8, 16, 32))


@every_host
def test_there_are_no_stages_behind_the_last_map(host):
    model = tiny(host, out_indices=(0, 2))
    assert (model.channels, model.strides, len(model.stages)) == ((8, 20), (4, 16), 3)
    assert [x.shape for x in model(torch.rand(1, 3, 32, 32))] == [(1, 8, 8, 8), (1, 20, 2, 2)]


@every_host
def test_softmax_attention_is_left_to_the_last_stage(host):
    kinds = [[type(m.token_mixer).__name__ for m in stage.blocks if isinstance(m, MetaFormerBlock)]
             for stage in tiny(host).stages]
    assert kinds == [["HashAttention"], ["HashAttention"] * 2, ["HashAttention"], ["AttentionMixer"]]


@every_host
def test_drop_path_rises_from_none_to_the_last_block(host):
    blocks = [m for m in tiny(host, drop_path=0.4).modules() if isinstance(m, MetaFormerBlock)]
    rates = [getattr(block.drop_path, "drop_prob", 0.0) for block in blocks]
    assert rates == pytest.approx([0.0, 0.1, 0.2, 0.3, 0.4])


@every_host
def test_the_gradient_reaches_every_parameter(host):
    model = tiny(host, **({"out_norms": True} if host == "twins" else {})).train()
    sum(x.square().sum() for x in model(torch.rand(2, 3, 75, 101))).backward()
    assert [name for name, p in model.named_parameters() if not (p.grad is not None and p.grad.isfinite().all())] == []


@every_host
def test_checkpointing_changes_no_gradient_even_while_hash_functions_learn(host):
    found = []
    for checkpointing in (False, True):
        model = tiny(host, checkpointing=checkpointing, drop_path=0.5).train()
        images = torch.rand(4, 3, 64, 96, generator=torch.Generator().manual_seed(0))
        sum(x.square().sum() for x in model(images)).backward()
        found.append([*(p.grad for p in model.parameters()), *model.buffers()])
    for plain, again in zip(*found, strict=True):
        close(plain, again)


@every_host
def test_a_picture_does_not_depend_on_the_others_of_its_batch(host):
    model, images = learned(host), torch.rand(3, 3, 64, 64)
    with torch.no_grad():
        for alone, together in zip(model(images[1:2]), model(images), strict=True):
            close(alone[0], together[1], atol=1e-4, rtol=1e-4)


def in_our_names(key: str) -> str:
    """A key of timm's PVTv2 as an official one of ours."""
    stage, _, rest = key.removeprefix("stages.").partition(".")
    if not key.startswith("stages."):
        return key.replace("patch_embed.", "patch_embed1.")
    number = int(stage) + 1
    if rest.startswith("downsample."):
        return f"patch_embed{number}.{rest.removeprefix('downsample.')}"
    if rest.startswith("norm."):
        return f"norm{number}.{rest.removeprefix('norm.')}"
    return f"block{number}.{rest.removeprefix('blocks.')}".replace("mlp.dwconv.", "mlp.dwconv.dwconv.")


def test_with_its_own_attention_it_is_the_pvt_v2_of_timm():
    theirs = timm.create_model("pvt_v2_b0", num_classes=7).eval()
    ours = MODELS.build({
        "type": "BackboneClassifier", "num_classes": 7, "backbone": {"type": "EcoFormerPVTv2", "attention": "sra"},
    }).eval()
    ours.load_state_dict(load_official({in_our_names(key): value for key, value in theirs.state_dict().items()}))
    images = torch.randn(2, 3, 64, 96)
    with torch.no_grad():
        close(ours(images), theirs(images), atol=1e-5, rtol=1e-4)


def test_twins_may_have_norms_of_its_maps():
    plain, normed = learned("twins"), tiny("twins", out_norms=True).eval()
    normed.load_state_dict(plain.state_dict(), strict=False)
    assert all(key.startswith(normed.dense_only) for key in normed.state_dict().keys() - plain.state_dict().keys())
    images = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        for got, x in zip(normed(images), plain(images), strict=True):
            close(got, nn.functional.layer_norm(x.permute(0, 2, 3, 1), x.shape[1:2], eps=1e-6).permute(0, 3, 1, 2))


@pytest.mark.parametrize("build", [
    lambda: ConvFeedForward(6), lambda: ConditionalPosition(6),
], ids=["feed_forward", "position"])
def test_masked_places_change_no_real_one(build):
    module, mask = build(), torch.rand(2, 20) > 0.3
    tokens = torch.randn(2, 20, 6)
    changed = torch.where(mask[:, :, None], tokens, torch.randn_like(tokens))
    with torch.no_grad():
        close(module(changed, (4, 5), mask)[mask], module(tokens, (4, 5), mask)[mask])


def test_a_position_code_is_a_depthwise_convolution_beside_a_shortcut():
    module, x = ConditionalPosition(4), torch.randn(1, 4, 3, 5)
    tokens = x.flatten(2).transpose(1, 2)
    close(map_of(module(tokens, (3, 5)), (3, 5)), x + module.conv(x))


@pytest.mark.parametrize(("build", "message"), [
    (lambda: EcoFormerPVTv2("b5"), "variant must be one of b0, b1, b2, b3, b4, got 'b5'"),
    (lambda: EcoFormerTwins("svt_b"), "variant must be one of svt_s, got 'svt_b'"),
    (lambda: tiny("pvt_v2", widths=(8, 16)), r"widths must be one for each of the 4 depths, got \(8, 16\)"),
    (lambda: tiny("twins", heads=(1, 2)), r"heads must be one for each of the 4 depths, got \(1, 2\)"),
    (lambda: tiny("pvt_v2", heads=(3, 2, 5, 4)), r"channels \(8\) must be divisible by heads \(3\)"),
    (lambda: tiny("pvt_v2", out_indices=(1, 0)), r"out_indices must be ascending stages 0 to 3, got \(1, 0\)"),
    (lambda: tiny("twins", out_indices=()), "out_indices must be ascending stages 0 to 3"),
    (lambda: tiny("twins", attention="performer"), "attention must be one of ecoformer, msa, msa_share_qk, sra"),
    (lambda: tiny("twins", attention=("msa", "msa")), "for each of the 4 stages, got"),
    (lambda: tiny("twins")(torch.rand(1, 3, 31, 64)), "images must be at least 32 x 32 pixels, got 31 x 64"),
    (lambda: tiny("pvt_v2")(torch.rand(1, 3, 0, 64)), "images must be at least 1 x 1 pixels, got 0 x 64"),
    (lambda: tiny("pvt_v2")(torch.rand(1, 4, 64, 64)), r"images must be \(B, 3, H, W\), got \(1, 4, 64, 64\)"),
    (lambda: tiny("pvt_v2", attention="sra")(torch.rand(1, 3, 16, 64)), r"a map of 4 x 16 .* reduction \(8\)"),
    (lambda: ReducedAttentionMixer(4, 1)(torch.rand(1, 6, 4), (2, 3), torch.ones(1, 6).bool()), "takes no mask"),
    (lambda: ReducedAttentionMixer(4, 1)(torch.rand(1, 6, 4)), r"ReducedAttentionMixer needs the size \(H, W\)"),
    (lambda: ConvFeedForward(4)(torch.rand(1, 6, 4), (2, 2)), "a map of 2 x 2 has other than 6 tokens"),
    (lambda: ConditionalPosition(4)(torch.rand(1, 6, 4)), r"ConditionalPosition needs the size \(H, W\)"),
])
def test_what_cannot_be_is_refused(build, message):
    with pytest.raises(ValueError, match=message):
        build()


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_config_builds_learns_and_predicts(path):
    cfg = load_config(path, {"model.network.num_classes": 7})
    cfg.model.network.backbone.update(widths=(16, 16, 40, 64), depths=(1, 1, 1, 1), heads=(1, 2, 5, 8), hashing=HASHING)
    model = MODELS.build(cfg.model)
    image = torch.randint(0, 256, (3, 64, 96), dtype=torch.uint8)
    frames = [Frame("a", 0, cameras={"front": Camera(None, 0, image=image, category=3)})]
    losses = model(**model.data_preprocessor(frames, True), mode="loss")
    sum(losses.values()).backward()
    assert all(parameter.grad is not None for parameter in model.parameters())
    assert all(module.hash.anchors.any() for module in model.modules() if isinstance(module, HashAttention))
    (found,) = model.eval()(**model.data_preprocessor(frames), mode="predict")
    assert found.scores.shape == (7,)


def test_every_checkpoint_of_the_plugin_has_a_config():
    assert {ROOT / path for path in PLUGIN.checkpoints.values()} == set(CONFIGS)
