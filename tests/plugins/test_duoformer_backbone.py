"""DuoFormer: published sizes, the order of its tokens, any pyramid and grid, and the keys of checkpoints."""

from __future__ import annotations

import copy
from functools import cache
from pathlib import Path

import pytest
import torch
import torchvision
from hypothesis import given
from hypothesis import strategies as st
from lived_in import lived_in
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from perception.compression.batch_norm import fold_batch_norms
from perception.engine.config import load_config
from perception.errors import CheckpointError
from perception.registry import MODELS, load_plugins
from perception.structures import Camera, Frame
from perception_plugins.duoformer import PLUGIN, DuoFormer, DuoFormerClassifier, DuoFormerNeck, load_official
from perception_plugins.duoformer.patch_block import PatchBlock
from perception_plugins.duoformer.regions import map_of_regions, region_tokens

ROOT = Path(__file__).resolve().parents[2]
CONFIGS = sorted((ROOT / "configs/duoformer").glob("*.py"))
R50, R18 = 23_508_032, 11_176_512
PARAMETERS = {                                       # of a classifier of 10 classes, and of its ResNet
    "r50_2scales": (139_325_514, R50), "r50_3scales": (139_731_786, R50), "r50_4scales": (139_978_314, R50),
    "r50_2scales_channel": (185_341_258, R50), "r50_4scales_channel": (185_994_058, R50),
    "r18_light": (25_694_026, R18),
}
RESNET = {"type": "ResNet", "depth": 18, "stem_channels": 4, "widths": (4, 6, 8, 10), "counts": (1, 1, 1, 1)}
SMALL = {"cnn": RESNET, "depth": 2, "width": 16, "heads": 2, "grid": (2, 3)}
SCALES = [(scales, token) for scales in (2, 3, 4) for token in ("random", "channel")]
close = torch.testing.assert_close


def small(**options) -> DuoFormer:
    torch.manual_seed(0)
    return DuoFormer(**{**SMALL, **options})


def parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


@cache
def published(name: str, *, qk_norm: bool = False) -> nn.Module:
    """The classifier of a row of the table, without numbers."""
    cfg = load_config(ROOT / f"configs/duoformer/duoformer_{name}.py", {"model.network.backbone.qk_norm": qk_norm})
    with torch.device("meta"):
        return MODELS.build(cfg.model)


@pytest.mark.parametrize("name", list(PARAMETERS))
def test_a_row_of_the_table_has_as_many_parameters_as_published(name):
    model = published(name)
    assert (parameters(model), parameters(model.network.backbone.cnn)) == PARAMETERS[name]


@pytest.mark.parametrize(("by_column", "expected"), [(False, [2, 3, 8, 9]), (True, [2, 8, 3, 9])])
def test_the_pixels_of_a_region_by_hand(by_column, expected):
    x = torch.arange(24.0).view(1, 1, 4, 6)                # two rows of three regions
    tokens = region_tokens(x, 2, by_column=by_column)
    assert tokens.shape == (1, 6, 4, 1)
    assert tokens[0, 1, :, 0].tolist() == expected
    assert tokens[0, 3, 0, 0] == 12


@given(rows=st.integers(1, 4), columns=st.integers(1, 4), side=st.sampled_from([1, 2, 4, 8]), by_column=st.booleans())
def test_tokens_of_regions_go_back_to_their_places(rows, columns, side, by_column):
    x = torch.rand(2, 3, rows * side, columns * side)
    tokens = region_tokens(x, side, by_column=by_column)
    assert torch.equal(map_of_regions(tokens, (rows, columns), by_column=by_column), x)


@pytest.mark.parametrize("scales", [2, 3, 4])
def test_the_order_of_a_regions_tokens(scales):
    """Level 3, then the four of level 2 by column, then levels 1 and 0 by row."""
    neck = DuoFormerNeck((1, 1, 1, 1), depth=1, width=2, heads=1, scales=scales, grid=(2, 3))
    for projection in neck.projections.values():
        nn.init.ones_(projection.weight)
    maps = [
        1000.0 * level + torch.arange(6.0 * 4 ** (3 - level)).view(1, 1, 2 * 2 ** (3 - level), 3 * 2 ** (3 - level))
        for level in range(4)
    ]
    tokens, grid = neck.tokens(maps)
    expected = []
    for level in (3, 2, 1, 0)[:scales]:
        side = 2 ** (3 - level)
        places = [(row, column) for row in range(side) for column in range(side)]
        places = [(column, row) for row, column in places] if level == 2 else places
        expected += [maps[level][0, 0, side + row, 2 * side + column] for row, column in places]
    assert grid == (2, 3)
    assert tokens.shape == (1, 6, (6, 22, 86)[scales - 2], 2)
    close(tokens[0, 1 * 3 + 2, 1:, 0], torch.stack(expected), atol=1e-3, rtol=0)           # biases of about 1e-6
    close(tokens[0, 0, 0], neck.scale_token.token[0, 0, 0])


@pytest.mark.parametrize(("scales", "token"), SCALES)
def test_maps_have_the_widths_and_strides_told(scales, token):
    model = small(scales=scales, scale_token=token).eval()
    images = torch.rand(2, 3, 64, 96)
    assert model.strides == (4, 8, 16, 32)[-scales:]
    assert model.channels == (16,) * scales
    assert [tuple(x.shape) for x in model(images)] == [(2, 16, 64 // s, 96 // s) for s in model.strides]


def test_tokens_go_back_to_all_four_grids():
    model = small(scales=4, out_indices=(0, 1, 2, 3), region_map=False).eval()
    assert (model.strides, model.channels) == ((4, 8, 16, 32), (16,) * 4)
    assert not hasattr(model.neck, "patch_blocks")
    with torch.no_grad():
        for block in model.neck.scale_blocks:              # silent blocks: what comes out is the projected map
            for layer in (block.token_mixer.out_proj, block.channel_mixer.fc2):
                nn.init.zeros_(layer.weight)
        nn.init.zeros_(model.neck.scale_position)
        pyramid = model.pyramid(torch.rand(1, 3, 64, 96))
        for level, x in enumerate(model.neck(pyramid)):
            close(x, model.neck.projections[str(level)](pyramid[level]))


@pytest.mark.parametrize("out_indices", [(2, 3), (3,), ()])
def test_any_of_the_used_levels_can_be_given_beside_the_regions(out_indices):
    model = small(out_indices=out_indices)
    assert model.strides == (*((16, 32)[level - 2] for level in out_indices), 32)
    assert len(model(torch.rand(2, 3, 64, 96))) == len(model.channels) == len(out_indices) + 1


@torch.no_grad()
def test_scale_attention_stays_within_a_region_and_patch_attention_does_not():
    model = small(scales=4, out_indices=(0, 3)).eval()
    pyramid = [x.clone() for x in model.pyramid(torch.rand(1, 3, 64, 96))]
    before = model.neck(pyramid)
    pyramid[1][:, :, 4:8, 8:12] += 1.0                     # a region's pixels at stride 8: row 1, column 2
    fine, coarse, regions = (got - was for got, was in zip(model.neck(pyramid), before, strict=True))
    assert fine[:, :, 8:, 16:].abs().sum() > 0
    assert coarse[:, :, 1, 2].abs().sum() > 0
    fine[:, :, 8:, 16:], coarse[:, :, 1, 2] = 0, 0
    assert fine.abs().sum() == coarse.abs().sum() == 0
    assert (regions.abs().sum(dim=1) > 0).all()


@torch.no_grad()
def test_another_grid_has_the_position_of_the_regions_resized():
    model = small().eval()
    nn.init.constant_(model.neck.position, 0.3)
    same, other = model.neck._position_on((2, 3)), model.neck._position_on((5, 7))
    assert (same.shape, other.shape) == ((1, 7, 16), (1, 36, 16))
    close(other, torch.full_like(other, 0.3))
    assert model(torch.rand(1, 3, 160, 224))[-1].shape == (1, 16, 5, 7)


def test_it_sits_on_any_pyramid_whose_strides_double():
    load_plugins(["fmvit"])
    mit = {"type": "MixTransformer", "channels": (8, 8, 8, 8), "depths": (1, 1, 1, 1), "heads": (1, 1, 1, 1),
           "reductions": (1, 1, 1, 1)}
    fmvit = {"type": "FMViT", "widths": (8, 8, 8, 8), "depths": (1, 1, 1, 1), "head_channels": 4,
             "conv_head_channels": 4}
    for cnn in (mit, fmvit, {"type": "TimmBackbone", "name": "resnet10t"}, {"type": "STDC", "base_channels": 4}):
        model = small(cnn=cnn, scales=4, scale_token="channel").eval()
        maps = model(torch.rand(1, 3, 64, 96))
        assert [tuple(x.shape[1:]) for x in maps] == [(16, 64 // s, 96 // s) for s in (4, 8, 16, 32)], cnn["type"]


def test_it_is_a_neck_of_a_segmentor():
    MODELS.register_module("FirstMapOfThisTest", force=True, module=FirstMap)
    model = MODELS.build({
        "type": "Segmentor", "backbone": RESNET, "classes": ("road", "sky"), "head": {"type": "FirstMapOfThisTest"},
        "neck": {"type": "DuoFormerNeck", "depth": 1, "width": 8, "heads": 2, "scales": 4},
    })
    assert model.neck.in_channels == (4, 6, 8, 10)
    assert model({"images": torch.rand(1, 3, 64, 64)}).shape[1] == 2


class FirstMap(nn.Module):
    """A head without weights."""

    def __init__(self, in_channels: tuple[int, ...], num_classes: int) -> None:
        super().__init__()
        assert in_channels == (8,) * 4
        self.num_classes = num_classes

    def forward(self, maps: tuple[torch.Tensor, ...]) -> torch.Tensor:
        return maps[0][:, : self.num_classes]


def test_a_patch_block_is_attention_alone_unless_it_is_told_to_add_its_input():
    plain, residual = PatchBlock(8, heads=2), PatchBlock(8, heads=2, residual=True)
    residual.load_state_dict(plain.state_dict())
    tokens = torch.rand(2, 5, 8)
    q, k, v = (x.view(2, 5, 2, 4).transpose(1, 2) for x in plain.attention.in_proj(tokens).split(8, dim=2))
    mixed = ((q @ k.mT / 2).softmax(dim=3) @ v).transpose(1, 2).reshape(2, 5, 8)
    close(plain(tokens), plain.attention.out_proj(mixed))
    close(residual(tokens), tokens + plain(tokens))


def test_without_shortcuts_the_regions_grow_alike_and_with_them_they_do_not():
    def spread(patch_residual: bool) -> float:
        model = small(depth=8, patch_residual=patch_residual).eval()
        with torch.no_grad():
            regions = model(torch.rand(1, 3, 64, 96))[-1].flatten(2)
        return (regions.std(dim=2).mean() / regions.abs().mean()).item()

    assert spread(False) < 0.1 * spread(True)


def test_normed_queries_and_keys_keep_attention_apart_from_the_size_of_tokens():
    block = PatchBlock(8, heads=2, qk_norm=True).double()
    for layer in (block.attention.in_proj, block.attention.out_proj):
        nn.init.zeros_(layer.bias)
    for norm in (block.attention.q_norm, block.attention.k_norm):
        norm.eps = 0.0
    tokens = torch.rand(1, 5, 8, dtype=torch.float64)
    close(block(100 * tokens), 100 * block(tokens))        # equal weights, values 100 times as large


@pytest.mark.parametrize(
    ("scales", "token", "checkpointing"), [*((*one, False) for one in SCALES), (3, "random", True)]
)
def test_the_gradient_reaches_every_parameter(scales, token, checkpointing):
    model = small(
        scales=scales, scale_token=token, checkpointing=checkpointing, drop_path=0.1, qk_norm=True, patch_residual=True
    ).train()
    images = torch.rand(2, 3, 64, 96)
    sum((x * torch.randn_like(x)).sum() for x in model(images)).backward()
    assert [name for name, p in model.named_parameters() if p.grad is None or not p.grad.isfinite().all()] == []


def test_checkpointing_changes_no_gradient():
    models = [small(checkpointing=checkpointing).train() for checkpointing in (False, True)]
    images = torch.rand(2, 3, 64, 96)
    for model in models:
        sum(x.square().sum() for x in model(images)).backward()
    close([p.grad for p in models[1].parameters()], [p.grad for p in models[0].parameters()])


@pytest.mark.parametrize("token", ["random", "channel"])
@torch.inference_mode()
def test_folded_norms_change_nothing(token):
    model = lived_in(small(scales=4, scale_token=token))
    folded = copy.deepcopy(model)
    fold_batch_norms(folded)
    images = torch.randn(1, 3, 64, 96)
    assert not any(isinstance(part, _BatchNorm) for part in folded.modules())
    for got, expected in zip(folded(images), model(images), strict=True):
        close(got, expected, atol=1e-5 * max(1.0, expected.abs().max().item()), rtol=0)


def test_it_computes_in_bfloat16():
    model = small(scales=4, scale_token="channel", patch_residual=True).eval()
    images = torch.rand(2, 3, 64, 96)
    with torch.autocast("cpu", torch.bfloat16):
        maps = model(images)
    sum(x.float().square().mean() for x in maps).backward()
    for got, expected in zip(maps, model(images), strict=True):
        close(got.float(), expected, atol=0.05 * expected.abs().max().item(), rtol=0)      # bfloat16 keeps 8 bits
    assert all(p.grad.isfinite().all() for p in model.parameters())


def classifier(*, use_fc_norm: bool = False, **options) -> DuoFormerClassifier:
    """With shortcuts, since without them all that is left of fresh weights is nearly 0."""
    torch.manual_seed(0)
    backbone = {"type": "DuoFormer", **SMALL, "depth": 1, "patch_residual": True, **options}
    return DuoFormerClassifier(backbone, 5, use_fc_norm=use_fc_norm)


def test_the_class_token_is_normed_only_if_asked_and_the_unused_norm_is_not_trained():
    plain, normed = classifier().eval(), classifier(use_fc_norm=True).eval()
    assert plain.state_dict().keys() == normed.state_dict().keys()
    normed.load_state_dict(plain.state_dict())
    images = torch.rand(2, 3, 64, 96)
    token = plain.backbone.class_token(images)
    close(plain(images), plain.head(token))
    close(normed(images), plain.head(nn.functional.layer_norm(token, (16,), eps=1e-6)))
    trained = {name for name, parameter in plain.named_parameters() if parameter.requires_grad}
    assert {name for name, _ in plain.named_parameters()} - trained == {"norm.weight", "norm.bias"}
    assert normed.norm.weight.requires_grad


def test_an_exported_classifier_gives_the_same_logits():
    model = classifier(scales=4, scale_token="channel").eval()
    images = torch.rand(1, 3, 96, 64)                      # not the grid that the position is learned for
    close(torch.export.export(model, (images,)).module()(images), model(images), atol=0, rtol=1e-4)


def test_a_classifier_begins_anew_with_other_classes():
    model = classifier().eval()
    model.reset_classifier(3)
    assert (model.num_classes, model(torch.rand(1, 3, 64, 96)).shape) == (3, (1, 3))


def test_a_dense_backbone_takes_the_weights_of_a_classifiers():
    theirs, ours = classifier().backbone, small(depth=1, out_indices=(2, 3))
    ours.load_state_dict(theirs.state_dict())
    assert torch.equal(ours.neck.position, theirs.neck.position)


@pytest.mark.parametrize(("build", "message"), [
    (lambda: small(variant="large"), "variant must be one of default, light, got 'large'"),
    (lambda: small(scales=1), "scales must be 2, 3 or 4, got 1"),
    (lambda: small(scale_token="learned"), "scale_token must be one of random, channel, got 'learned'"),
    (lambda: small(depth=0), "depth must be >= 1, got 0"),
    (lambda: small(heads=3), r"channels \(16\) must be divisible by heads \(3\)"),
    (lambda: small(grid=(7,)), "grid must be two numbers >= 1"),
    (lambda: small(out_indices=(1, 2)), r"out_indices must be ascending levels 2 to 3, got \(1, 2\)"),
    (lambda: small(out_indices=(3, 2)), "out_indices must be ascending levels"),
    (lambda: small(out_indices=(), region_map=False), "without region_map there would be no map"),
    (lambda: small(cnn={**RESNET, "out_indices": (1, 2, 3)}), r"strides double, got strides \(8, 16, 32\)"),
    (lambda: small(cnn={"type": "TimmBackbone", "name": "vit_tiny_patch16_224"}), r"strides \(16, 16, 16, 16\)"),
    (lambda: DuoFormerNeck((4, 8)), r"in_channels must be the widths of four maps, got \(4, 8\)"),
    (lambda: DuoFormerClassifier(RESNET), "backbone must be a DuoFormer with region_map=True"),
    (lambda: DuoFormerClassifier({"type": "DuoFormer", **SMALL, "region_map": False}), "with region_map=True"),
    (lambda: classifier().reset_classifier(0), "num_classes must be >= 1, got 0"),
    (lambda: small()(torch.rand(1, 3, 225, 401)), "multiples of 32 pixels, got 225 x 401"),
    (lambda: small()(torch.rand(1, 3, 64, 97)), "multiples of 32 pixels, got 64 x 97"),
    (lambda: small()(torch.rand(1, 3, 0, 64)), "images must be at least 32 x 32 pixels, got 0 x 64"),
    (lambda: small()(torch.rand(1, 1, 64, 64)), r"images must be \(B, 3, H, W\), got \(1, 1, 64, 64\)"),
    (lambda: small().neck([torch.rand(1, 4, 8, 8)]), "maps must be four, from the finest, got 1"),
    (lambda: small().neck([torch.rand(1, c, s, s) for c, s in zip((4, 6, 8, 10), (57, 29, 15, 8), strict=True)]),
     r"got \{2: \(8, 15, 15\), 3: \(10, 8, 8\)\}"),
])
def test_what_cannot_be_is_refused(build, message):
    with pytest.raises(ValueError, match=message):
        build()


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_config_builds_learns_and_predicts(path):
    cfg = load_config(path, {"model.network.num_classes": 7})
    cfg.model.network.backbone.update({key: SMALL[key] for key in ("cnn", "depth", "width", "heads")})
    model = MODELS.build(cfg.model)
    image = torch.randint(0, 256, (3, 75, 90), dtype=torch.uint8)          # padded to 96 x 96
    frames = [Frame("a", 0, cameras={"front": Camera(None, 0, image=image, category=3)})]
    losses = model(**model.data_preprocessor(frames, True), mode="loss")
    sum(losses.values()).backward()
    assert all(p.grad is not None for p in model.parameters() if p.requires_grad)
    (found,) = model.eval()(**model.data_preprocessor(frames), mode="predict")
    assert found.scores.shape == (7,)


def test_every_checkpoint_of_the_plugin_has_a_config():
    assert {ROOT / path for path in PLUGIN.checkpoints.values()} == set(CONFIGS)


@cache
def resnet_keys(depth: int) -> tuple[str, ...]:
    """Keys of torchvision's ResNet without its classifier, its children numbered."""
    with torch.device("meta"):
        resnet = getattr(torchvision.models, f"resnet{depth}")()
    numbers = {name: number for number, (name, _) in enumerate(resnet.named_children())}
    keys = [key.split(".", 1) for key in resnet.state_dict() if not key.startswith("fc.")]
    return tuple(f"resnet_projector.{numbers[child]}.{rest}" for child, rest in keys)


def official_keys(name: str, qk_norm: bool = False) -> list[str]:
    """Every key of the authors' classifier of a row of the table."""
    depth, resnet = (6, 18) if name == "r18_light" else (12, 50)
    scales = int(name[4]) if name != "r18_light" else 2
    wb = ("weight", "bias")
    parts = [f"projection.proj_heads{level}" for level in (3, 2, 1, 0)[:scales]]
    vit = "vision_transformer."
    keys = [*resnet_keys(resnet), *(vit + one for one in ("pos_embed_for_scale", "cls_token", "pos_embed"))]
    if name.endswith("channel"):
        parts += ["channel_proj1.conv1", "channel_proj1.conv2", "channel_proj2.conv1"]
        for unit in (f"channel_proj_all.nConvs.{number}" for number in range(4)):
            parts += [f"{unit}.conv", f"{unit}.norm"]
            keys += [f"{unit}.norm.{one}" for one in ("running_mean", "running_var", "num_batches_tracked")]
    else:
        keys.append("channel_token")
    for number in range(depth):
        norms = ("q_norm", "k_norm") if qk_norm else ()
        attention = [f"attn.{one}" for one in ("qkv", "proj", *norms)]
        parts += [f"{vit}blocks.{number}.{one}" for one in attention]
        parts += [f"{vit}scale_blocks.{number}.{one}" for one in (*attention, "norm1", "norm2", "mlp.fc1", "mlp.fc2")]
    parts += [f"{vit}fc_norm", f"{vit}head"]
    return keys + [f"{part}.{one}" for part in parts for one in wb]


@pytest.mark.parametrize(("name", "qk_norm"), [*((name, False) for name in PARAMETERS), ("r18_light", True)])
def test_every_official_key_has_its_place_and_every_place_its_key(name, qk_norm):
    places = set(published(name, qk_norm=qk_norm).state_dict())
    assert set(load_official(dict.fromkeys(official_keys(name, qk_norm), torch.ones(1)))) == places


@pytest.mark.parametrize("key", [
    "vision_transformer.scale_blocks.0.attn.qkv1.weight", "resnet_projector.layer1.0.conv1.weight",
    "vision_transformer.norm.weight",
])
def test_a_key_of_another_architecture_is_told(key):
    with pytest.raises(CheckpointError, match="belong to another architecture"):
        load_official({key: torch.ones(1)})
