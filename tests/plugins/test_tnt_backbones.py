"""TNT and PyramidTNT as backbones: maps, sizes, export, precision, gradients, and what they refuse."""

from __future__ import annotations

import logging

import pytest
import torch
from tnt_models import MULTIPLES, NAMES, small, small_pyramid, small_tnt
from torch import nn

from perception.registry import MODELS
from perception_plugins.tnt.layers import SqueezeExcitation

close = torch.testing.assert_close


@pytest.mark.parametrize("name", NAMES)
def test_both_are_image_backbones(name):
    assert MODELS.roles[name] == "image_backbone"


@pytest.mark.parametrize("size", [(32, 48), (64, 80)], ids=["own", "other"])
def test_tnt_gives_maps_of_one_stride_after_chosen_blocks(size):
    model = small_tnt(depth=3, out_indices=(0, 2))
    maps = model(torch.rand(2, 3, *size))
    assert (model.channels, model.strides) == ((16, 16), (16, 16))
    assert [tuple(x.shape) for x in maps] == [(2, 16, size[0] // 16, size[1] // 16)] * 2
    assert model.tokens(torch.rand(2, 3, *size)).shape == (2, 1 + size[0] * size[1] // 256, 16)


def test_the_last_map_of_tnt_holds_its_sentences_row_by_row():
    model, images = small_tnt(), torch.rand(1, 3, 32, 48)
    (plane,) = model(images)
    close(plane[0, :, 1, 2], model.tokens(images)[0, 1 + 1 * 3 + 2])


@pytest.mark.parametrize("size", [(128, 64), (96, 160), (64, 32)], ids=["own", "odd_grid", "half"])
def test_pyramid_tnt_gives_maps_of_four_strides_rounded_up(size):
    model = small_pyramid()
    maps = model(torch.rand(2, 3, *size))
    assert model.strides == (8, 16, 32, 64)
    assert [tuple(x.shape) for x in maps] == [
        (2, channels, -(-size[0] // stride), -(-size[1] // stride))
        for channels, stride in zip(model.channels, model.strides, strict=True)
    ]


def test_chosen_stages_of_pyramid_tnt_are_those_of_all():
    torch.manual_seed(0)
    model, images = small_pyramid(), torch.rand(1, 3, 128, 64)
    chosen = small_pyramid(out_indices=(1, 2))
    chosen.load_state_dict(model.state_dict())
    assert (chosen.channels, chosen.strides) == ((16, 16), (16, 32))
    close(chosen(images), model(images)[1:3])


@pytest.mark.parametrize("name", NAMES)
def test_a_picture_is_none_of_its_neighbours_business(name):
    model, images = small(name), torch.rand(3, 3, 64, 64)
    for batch, alone in zip(model(images), model(images[1:2]), strict=True):
        close(batch[1:2], alone, atol=1e-5, rtol=1e-5)             # sums over batches of another size


@pytest.mark.parametrize("name", NAMES)
def test_the_gradient_reaches_every_parameter(name):
    model = small(name, se=True, qkv_bias=True)          # evaluation: a bias before batch statistics gets no gradient
    for module in model.modules():
        if isinstance(module, SqueezeExcitation):
            nn.init.ones_(module.reduce.bias)            # else a ReLU of few channels may be dead
    sum((x * torch.randn_like(x)).sum() for x in model(torch.rand(2, 3, 128, 64))).backward()
    assert [key for key, value in model.named_parameters() if value.grad is None or not value.grad.any()] == []


@pytest.mark.parametrize("name", NAMES)
def test_checkpointing_changes_no_gradient(name):
    images, gradients = torch.rand(2, 3, 64, 64), []
    for checkpointing in (False, True):
        torch.manual_seed(0)
        model = small(name, checkpointing=checkpointing, drop_path=0.3).train()
        sum(x.square().sum() for x in model(images)).backward()
        gradients.append([value.grad for value in model.parameters()])
    close(gradients[1], gradients[0])


@pytest.mark.parametrize("name", NAMES)
def test_stochastic_depth_rises_from_none_to_the_last_block_at_both_levels(name):
    model = small(name, drop_path=0.4)
    blocks = model.blocks if name == "TNT" else [block for stage in model.stages for block in stage.blocks]
    expected = [0.4 * number / (len(blocks) - 1) for number in range(len(blocks))]
    for level in ("words", "sentences"):
        layers = [getattr(block, level) for block in blocks]
        rates = [None if layer is None else getattr(layer.drop_path, "drop_prob", 0.0) for layer in layers]
        assert all(rate is None or rate == pytest.approx(x) for rate, x in zip(rates, expected, strict=True))


@pytest.mark.parametrize(("blocks", "with_words"), [(1, [0]), (6, [0]), (7, [0, 1])])
def test_words_are_in_the_first_block_and_in_the_second_of_more_than_six(blocks, with_words):
    stage = small_pyramid(depths=(1, blocks, 1, 1)).stages[1]
    assert [number for number, block in enumerate(stage.blocks) if block.words is not None] == with_words


@pytest.mark.parametrize(("name", "size", "options"), [
    ("TNT", (32, 48), {}), ("TNT", (96, 160), {}), ("PyramidTNT", (96, 160), {"depths": (1, 1, 1, 1)}),
], ids=["own", "other", "pyramid"])
def test_an_exported_model_gives_the_same_maps(name, size, options):
    model, images = small(name, **options), torch.rand(1, 3, *size)
    exported = torch.export.export(model, (images,)).module()
    close(exported(images), model(images))


@pytest.mark.parametrize("name", NAMES)
def test_bfloat16_gives_nearly_the_same_maps_and_finite_gradients(name):
    torch.manual_seed(0)
    model, images = small(name), torch.rand(2, 3, 128, 64)
    with torch.autocast("cpu", torch.bfloat16):
        maps = model(images)
    sum(x.float().square().sum() for x in maps).backward()
    for ours, exact in zip(maps, model(images), strict=True):
        close(ours.float(), exact, atol=0.05 * exact.abs().max().item(), rtol=0)     # 8 bits, several layers
    assert all(value.grad.isfinite().all() for value in model.parameters())


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("shape", "message"), [
    ((1, 3, 225, 401), r"images must be multiples of {multiple} in height and width, got 225 x 401"),
    ((1, 3, 0, 64), r"images must be at least 1 x 1 pixels, got 0 x 64"),
    ((1, 4, 64, 64), r"images must be \(B, 3, H, W\), got \(1, 4, 64, 64\)"),
    ((3, 64, 64), r"images must be \(B, 3, H, W\), got \(3, 64, 64\)"),
])
def test_impossible_pictures_are_refused(name, shape, message):
    with pytest.raises(ValueError, match=message.format(multiple=MULTIPLES[name])):
        small(name)(torch.zeros(shape))


@pytest.mark.parametrize(("name", "options", "message"), [
    ("TNT", {"variant": "xl"}, "variant must be one of ti, s, b, got 'xl'"),
    ("TNT", {"img_size": (32, 40)}, "img_size must be multiples of 16 in height and width, got 32 x 40"),
    ("TNT", {"out_indices": (1, 0)}, r"out_indices must be ascending blocks 0 to 1, got \(1, 0\)"),
    ("TNT", {"out_indices": (2,)}, r"out_indices must be ascending blocks 0 to 1, got \(2,\)"),
    ("TNT", {"word_heads": 3}, r"channels \(4\) must be divisible by heads \(3\)"),
    ("TNT", {"inner_stride": 3, "legacy": True}, r"patch_size \(16\) must be divisible by inner_stride \(3\)"),
    ("PyramidTNT", {"variant": "xl"}, "variant must be one of ti, s, m, b, got 'xl'"),
    ("PyramidTNT", {"img_size": 48}, "img_size must be multiples of 32 in height and width, got 48 x 48"),
    ("PyramidTNT", {"out_indices": ()}, r"out_indices must be ascending stages 0 to 3, got \(\)"),
    ("PyramidTNT", {"depths": (1, 1)}, r"depths must be 4, one a stage, got \(1, 1\)"),
    ("PyramidTNT", {"reductions": (4, 2, 1, 0)}, "reduction must be >= 1, got 0"),
])
def test_impossible_settings_are_refused(name, options, message):
    with pytest.raises(ValueError, match=message):
        small(name, **options)


def test_a_pyramid_without_reduction_takes_multiples_of_its_stride():
    assert [x.shape[2] for x in small_pyramid(reductions=(1, 1, 1, 1))(torch.rand(1, 3, 72, 40))] == [9, 5, 3, 2]


def test_resized_pairs_are_warned_of_once_and_only_at_another_size(caplog):
    model = small_pyramid()
    with caplog.at_level(logging.WARNING):
        model(torch.rand(1, 3, 128, 64))
        assert caplog.records == []
        for _ in range(2):
            model(torch.rand(1, 3, 64, 64))
    assert [record.getMessage() for record in caplog.records] == [
        "PyramidTNT: pictures of 8 x 8 sentences get tables of 16 x 8 resized, the attention's pairs too: set img_size "
        "to the pictures' size and train"
    ]


def test_a_simple_pyramid_makes_four_strides_of_tnt():
    model = small_tnt()
    neck = MODELS.build({"type": "SimplePyramid", "in_channels": model.channels, "channels": 8})
    levels = neck(model(torch.rand(1, 3, 64, 96)))
    assert [tuple(x.shape) for x in levels] == [(1, 8, 64 // stride, 96 // stride) for stride in (4, 8, 16, 32)]
