"""Mix Transformers: published sizes, odd pictures, and what they refuse."""

from __future__ import annotations

import pytest
import torch

from perception.models.image_backbones.mit import MiTBlock, MixTransformer, ReducedAttention
from perception.registry import MODELS

PARAMETERS = {
    "b0": 3_319_392, "b1": 13_151_424, "b2": 24_196_288, "b3": 44_072_128, "b4": 60_842_688, "b5": 81_443_008,
}
TINY = {"channels": (8, 8, 16, 16), "depths": (1, 1, 1, 1), "heads": (1, 2, 2, 4)}


@pytest.mark.parametrize("variant", list(PARAMETERS))
def test_a_variant_has_as_many_parameters_as_published(variant):
    with torch.device("meta"):
        model = MODELS.build({"type": "MixTransformer", "variant": variant})
    assert sum(parameter.numel() for parameter in model.parameters()) == PARAMETERS[variant]


@pytest.mark.parametrize(("height", "width"), [(64, 96), (75, 101), (29, 33)])
def test_maps_have_the_strides_told_rounded_up(height, width):
    model = MixTransformer(**TINY).eval()
    maps = model(torch.rand(1, 3, height, width))
    assert [tuple(x.shape[1:]) for x in maps] == [
        (channels, -(-height // stride), -(-width // stride))
        for channels, stride in zip(model.channels, model.strides, strict=True)
    ]


def test_the_gradient_reaches_every_parameter():
    model = MixTransformer(**TINY)
    sum(maps.square().sum() for maps in model(torch.rand(2, 3, 64, 64))).backward()
    assert all(parameter.grad.abs().sum() > 0 for name, parameter in model.named_parameters() if "q.bias" not in name)


def test_stochastic_depth_rises_from_none_to_the_last_block():
    model = MixTransformer("b0", drop_path=0.7)
    rates = [getattr(block.drop_path, "drop_prob", 0.0) for stage in model.stages for block in stage.blocks]
    assert rates == pytest.approx([0.1 * number for number in range(8)])


def test_attention_without_reduction_sees_every_token():
    """Swapping two tokens that attention looks at changes no other token's answer: it is a sum over all of them."""
    attend = ReducedAttention(8, 2)
    tokens = torch.rand(1, 6, 8)
    swapped = tokens[:, [0, 1, 2, 3, 5, 4]]
    torch.testing.assert_close(attend(tokens, (2, 3))[:, :4], attend(swapped, (2, 3))[:, :4])


def test_what_does_not_fill_a_window_of_the_reduction_is_seen_by_no_other_token():
    attend = ReducedAttention(8, 1, 2)
    tokens = torch.rand(1, 15, 8)                    # 3 rows of 5: the last row and the last column are left over
    changed = tokens.clone()
    changed[:, 14] += 1
    torch.testing.assert_close(attend(tokens, (3, 5))[:, :14], attend(changed, (3, 5))[:, :14])


@pytest.mark.parametrize(("options", "message"), [
    ({"variant": "b6"}, "variant must be one of b0, b1, b2, b3, b4, b5, got 'b6'"),
    ({"depths": (1, 1)}, r"depths must be four, one a stage, got \(1, 1\)"),
    ({"heads": (3, 3, 3, 3)}, r"channels \(32\) must be divisible by heads \(3\)"),
])
def test_impossible_settings_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        MixTransformer(**options)


def test_a_picture_that_does_not_fill_a_window_of_the_reduction_is_refused():
    model = MixTransformer(**TINY)
    with pytest.raises(ValueError, match="at least 29 x 29 pixels, got 28 x 64"):
        model(torch.rand(1, 3, 28, 64))


def test_a_block_keeps_the_shape_of_its_tokens():
    assert MiTBlock(8, 2, 2)(torch.rand(2, 35, 8), (5, 7)).shape == (2, 35, 8)
