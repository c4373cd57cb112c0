"""RMT as a backbone: published sizes, pictures of any size, training, export, and what it refuses."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from rmt_models import TINY, tiny_backbone
from torch import Tensor

from perception.compression.batch_norm import fold_batch_norms
from perception.registry import MODELS
from perception_plugins.rmt import RMT
from perception_plugins.rmt.backbone import VARIANTS

DENSE_PARAMETERS = {"t": 12_783_776, "s": 25_416_800, "b": 52_604_680, "l": 93_784_280}
ROUNDING = 2e-5                                      # of float32 sums in another order


def weighted_sum(maps: Sequence[Tensor]) -> Tensor:
    """Of maps whose plain sum of squares may be fixed by their norms."""
    return sum((x.float() * torch.linspace(-1, 1, x.numel()).view(x.shape)).sum() for x in maps)


@pytest.mark.parametrize("variant", list(DENSE_PARAMETERS))
def test_a_variant_is_as_large_and_decomposed_and_scaled_where_published(variant):
    with torch.device("meta"):
        model = MODELS.build({"type": "RMT", "variant": variant})
    assert sum(parameter.numel() for parameter in model.parameters()) == DENSE_PARAMETERS[variant]
    decomposed = [stage.position.decomposed for stage in model.stages]
    scaled = [stage.blocks[0].scale1 is not None for stage in model.stages]
    assert decomposed == ([True, True, False, False] if variant == "t" else [True, True, True, False])
    assert scaled == ([False, False, True, True] if variant in "bl" else [False] * 4)


@pytest.mark.parametrize("size", [(64, 96), (225, 401), (29, 33), (1, 1), (3, 130)])
def test_maps_have_the_strides_told_rounded_up(size):
    model = tiny_backbone()
    with torch.no_grad():
        maps = model(torch.rand(1, 3, *size))
    assert [tuple(x.shape) for x in maps] == [
        (1, channels, *(-(-length // stride) for length in size))
        for channels, stride in zip(model.channels, model.strides, strict=True)
    ]
    assert all(torch.isfinite(x).all() for x in maps)


def test_chosen_maps_are_those_of_all():
    every, some = tiny_backbone(), tiny_backbone(out_indices=(1, 2))
    some.load_state_dict(every.state_dict())
    images = torch.rand(1, 3, 40, 56)
    assert (some.channels, some.strides) == ((8, 16), (8, 16))
    for got, wanted in zip(some(images), every(images)[1:3], strict=True):
        assert torch.equal(got, wanted)


def test_norms_of_maps_that_are_not_given_do_not_learn():
    model = tiny_backbone(out_indices=(1, 3))
    assert [norm.weight.requires_grad for norm in model.norms] == [False, True, False, True]


def test_without_norms_the_maps_are_those_before_them():
    normed, plain = tiny_backbone(), tiny_backbone(out_norms=False)
    assert {key for key in normed.state_dict() if key.startswith("norms.")} == (
        set(normed.state_dict()) - set(plain.state_dict())
    )
    images = torch.rand(1, 3, 40, 56)
    for norm, x, wanted in zip(normed.norms, plain(images), normed(images), strict=True):
        torch.testing.assert_close(norm(x.movedim(1, -1)).movedim(-1, 1), wanted)


def test_stages_can_be_decomposed_otherwise_than_in_the_variant():
    with torch.device("meta"):
        model = RMT("t", decomposed=(True, True, True, False))
    assert [stage.position.decomposed for stage in model.stages] == [True, True, True, False]
    assert model.channels == VARIANTS["t"].channels


@pytest.mark.parametrize("options", [{}, {"short_stem": True}, {"checkpointing": True}, {"in_channels": 4}])
def test_the_gradient_reaches_every_parameter(options):
    model = tiny_backbone(**options).train()
    weighted_sum(model(torch.rand(2, model.in_channels, 64, 64))).backward()
    assert all(torch.isfinite(parameter.grad).all() for parameter in model.parameters())
    assert all(parameter.grad.any() for name, parameter in model.named_parameters() if name.endswith("weight"))


def test_recomputed_blocks_give_the_same_gradients():
    images, grads = torch.rand(2, 3, 48, 64), []
    for checkpointing in (False, True):
        model = tiny_backbone(checkpointing=checkpointing, drop_path=0.5).train()
        torch.manual_seed(1)                         # of the branches left out
        weighted_sum(model(images)).backward()
        grads.append({name: parameter.grad for name, parameter in model.named_parameters()})
    torch.testing.assert_close(grads[1], grads[0])


def test_stochastic_depth_rises_from_none_to_the_last_block():
    model = tiny_backbone(drop_path=0.4)
    rates = [getattr(block.drop_path, "drop_prob", 0.0) for stage in model.stages for block in stage.blocks]
    assert rates == pytest.approx([0.0, 0.1, 0.2, 0.3, 0.4])


def test_autocast_keeps_the_maps():
    model, images = tiny_backbone(), torch.rand(1, 3, 64, 96)
    with torch.no_grad():
        exact = model(images)
        with torch.autocast("cpu", torch.bfloat16):
            rough = model(images)
    for got, wanted in zip(rough, exact, strict=True):
        assert (got.float() - wanted).abs().mean() < 0.05        # maps are normed to 1; bfloat16 has 8 bits


def test_folded_batch_norms_change_no_map():
    model, images = tiny_backbone(), torch.rand(1, 3, 64, 96)
    with torch.no_grad():
        wanted = model(images)
        assert fold_batch_norms(model) == 4 + 3      # convolutions of the stem and between stages
        for got, expected in zip(model(images), wanted, strict=True):
            torch.testing.assert_close(got, expected, atol=ROUNDING, rtol=ROUNDING)


@pytest.mark.parametrize(("options", "message"), [
    ({"variant": "xl"}, "variant must be one of t, s, b, l, got 'xl'"),
    ({"depths": (1, 1)}, r"depths must be four, one a stage, got \(1, 1\)"),
    ({"decomposed": (True,)}, r"decomposed must be four, one a stage, got \(True,\)"),
    ({"heads": (3, 4, 8, 16)}, r"channels \(64\) must be divisible by twice the heads \(3\)"),
    ({"heads": (64, 4, 8, 16)}, r"channels \(64\) must be divisible by twice the heads \(64\)"),
    ({"decay_starts": (0, 2, 2, 2)}, "start must be > 0 and span >= 0, got 0 and 4"),
    ({"out_indices": (2, 1)}, r"out_indices must be ascending stages 0 to 3, got \(2, 1\)"),
    ({"out_indices": (4,)}, r"out_indices must be ascending stages 0 to 3, got \(4,\)"),
    ({"out_indices": ()}, r"out_indices must be ascending stages 0 to 3, got \(\)"),
])
def test_impossible_settings_are_refused(options, message):
    with pytest.raises(ValueError, match=message), torch.device("meta"):
        RMT(**options)


@pytest.mark.parametrize("shape", [(1, 1, 32, 32), (1, 3, 0, 32), (1, 3, 32, 0), (3, 32, 32)])
def test_pictures_of_another_shape_are_refused(shape):
    with pytest.raises(ValueError, match=r"images must be (\(B, 3, H, W\)|at least 1 x 1 pixels), got"):
        RMT(**TINY)(torch.rand(shape))
