"""Nested feed-forward nets: by hand, against masks, gradients, gates, widths for a while, and extraction for good."""

from __future__ import annotations

import math
from itertools import pairwise, product
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from perception.models.mixers.feed_forward import FeedForward
from perception.registry import MODELS
from perception_plugins.matformer import (
    Candidate,
    NestedFeedForward,
    active_widths,
    balanced_profiles,
    checked_widths,
    cost_of_layers,
    extract,
    level_widths,
    nested_layers,
    parameters_at,
    within_budget,
)

KINDS: dict[str, dict[str, Any]] = {
    "plain": {}, "tanh": {"activation": "gelu_tanh"}, "gated": {"gated": True, "activation": "silu"},
    "bare": {"bias": False}, "bare_gated": {"bias": False, "gated": True},
}
every_kind = pytest.mark.parametrize("kind", list(KINDS))
close = torch.testing.assert_close


def net(kind: str = "plain", **options: Any) -> NestedFeedForward:
    torch.manual_seed(0)
    return NestedFeedForward(6, **{"hidden": 16, **KINDS[kind], **options}).eval()


def tokens(*shape: int) -> Tensor:
    return torch.randn(*shape, 6, generator=torch.Generator().manual_seed(1))


def stack() -> nn.Module:
    """Three blocks with nested nets of 16 hidden units."""
    torch.manual_seed(0)
    return MODELS.build({
        "type": "ColumnarFormer", "depth": 3, "width": 8, "token_mixer": {"type": "AttentionMixer", "heads": 2},
        "channel_mixer": {"type": "NestedFeedForward", "hidden": 16},
        "stem": {"type": "PatchEmbedding", "kernel": 4, "stride": 4, "padding": 0}, "position": None,
    })


def test_two_units_by_hand():
    small = NestedFeedForward(1, hidden=2, activation="relu")
    with torch.no_grad():
        small.fc1.weight.copy_(torch.tensor([[2.0], [3.0]]))
        small.fc1.bias.copy_(torch.tensor([1.0, -1.0]))
        small.fc2.weight.copy_(torch.tensor([[10.0, 100.0]]))
        small.fc2.bias.fill_(0.5)
    x = torch.tensor([[[1.0]]])
    assert small(x, width=1).item() == 30.5                  # (2 + 1) * 10, and all of the last bias
    assert small(x).item() == 230.5


def test_widths_are_halvings_unless_told():
    assert net(hidden=100).widths == (12, 25, 50, 100)
    assert net(hidden=3).widths == (1, 3)
    assert net(widths=(5, 16)).widths == (5, 16)


@every_kind
@pytest.mark.parametrize("width", [1, 5, 16])
def test_a_slice_is_the_whole_with_a_mask_of_its_units(kind, width):
    built, x = net(kind), tokens(2, 7)
    units = (torch.arange(16) < width).float()
    first = built.fc1(x)
    if built.gated:
        hidden = first[..., :16] * units * built.activate(first[..., 16:] * units)
    else:
        hidden = built.activate(first * units)               # all activations leave 0 as it is
    close(built(x, width=width), built.fc2(hidden))


def test_without_a_width_it_is_a_feed_forward_net_of_the_core():
    built, plain = net(), FeedForward(6, hidden=16)
    plain.load_state_dict(built.state_dict())
    close(built(tokens(2, 7)), plain(tokens(2, 7)))


@pytest.mark.parametrize("width", [5, 16])
@pytest.mark.parametrize("kind", ["plain", "gated"])
def test_a_norm_before_it_can_be_taken_over(kind, width):
    built, x = net(kind), tokens(2, 7)
    scale, shift = torch.rand(6) + 0.5, torch.randn(6)
    before = built(scale * x + shift, width=width)
    built.absorb_affine(scale, shift)
    close(built(x, width=width), before)


@every_kind
def test_what_lies_beyond_a_width_has_no_gradient(kind):
    built = net(kind)
    built(tokens(2, 7), width=5).square().sum().backward()
    for rows in built.fc1.weight.grad.split(16):
        assert (rows[:5] != 0).any(dim=1).all()
        assert not rows[5:].any()
    assert not built.fc2.weight.grad[:, 5:].any()
    assert built.fc2.weight.grad[:, :5].all()


@every_kind
@pytest.mark.parametrize("width", [1, 5, 16])
def test_what_is_extracted_gives_the_same_and_is_its_own(kind, width):
    built, x = net(kind), tokens(2, 7)
    small = extract(built, width)
    close(small(x), built(x, width=width), atol=1e-6, rtol=1e-5)
    assert sum(parameter.numel() for parameter in small.parameters()) == built.parameters_at(width)
    assert isinstance(small, FeedForward) == (kind in ("plain", "tanh"))
    before = small(x)
    with torch.no_grad():
        built.fc1.weight.zero_()
    assert torch.equal(small(x), before)


@pytest.mark.parametrize("shape", [(0, 3), (2, 0), (1, 1), (4,)])
def test_any_number_of_tokens_is_taken_in_any_precision(shape):
    built, x = net(), tokens(*shape)
    assert built(x, width=3).shape == x.shape
    assert built.double()(x.double()).dtype == torch.float64
    with torch.autocast("cpu", torch.bfloat16):
        assert built.float()(x).isfinite().all()


def test_masked_tokens_become_zero_and_an_export_gives_the_same():
    built, x, mask = net(), tokens(2, 7), torch.arange(7).repeat(2, 1) < 4
    assert not built(x, mask=mask)[~mask].any()
    exported = torch.export.export(built, (x, None, mask)).module()
    close(exported(x + 1, None, mask), built(x + 1, mask=mask))


def active(model: nn.Module) -> list[int | None]:
    return [layer.active for layer in nested_layers(model).values()]


def test_widths_are_active_within_a_context():
    model, images = stack(), torch.rand(1, 3, 8, 8)
    full = model(images)[0]
    with active_widths(model, 4):
        with active_widths(model, (2, 4, 16)):
            assert active(model) == [2, 4, 16]
        assert active(model) == [4, 4, 4]
        with active_widths(model, None):                     # changes nothing
            assert active(model) == [4, 4, 4]
        assert not torch.equal(model(images)[0], full)
    assert torch.equal(model(images)[0], full)


def test_an_evaluation_that_fails_leaves_no_width_behind():
    model = stack()
    with pytest.raises(ValueError, match="images must be"), active_widths(model, 4):
        model(torch.rand(1, 3, 2, 2))
    assert active(model) == [None] * 3


def test_a_width_of_the_call_goes_before_one_of_the_context():
    built, x = net(), tokens(2, 7)
    with active_widths(built, 3):
        close(built(x, width=9), net()(x, width=9))
        close(built(x), net()(x, width=3))


@pytest.mark.parametrize("widths", list(product((2, 16), (4, 7), (1,))))
def test_any_widths_of_the_layers_can_be_extracted(widths):
    model, images = stack().eval(), torch.rand(2, 3, 12, 8)
    small = extract(model, widths)
    with active_widths(model, widths):
        close(small(images)[0], model(images)[0], atol=1e-6, rtol=1e-5)
    assert [block.channel_mixer.fc1.out_features for block in small.blocks] == list(widths)
    assert [block.channel_mixer.hidden for block in model.blocks] == [16, 16, 16]
    assert sum(parameter.numel() for parameter in small.parameters()) == parameters_at(model, widths)
    assert not small.training


def test_blocks_that_run_again_for_the_gradient_have_the_same_widths():
    images, grads = torch.rand(2, 3, 12, 8), []
    for checkpointing in (False, True):
        model = stack().train()
        model.checkpointing = checkpointing
        with active_widths(model, (2, 4, 16)):
            model(images)[0].square().sum().backward()
        grads.append([parameter.grad for parameter in model.parameters()])
    for one, other in zip(*grads, strict=True):
        close(one, other)


def test_levels_are_those_of_each_layer():
    model = nn.Sequential(net(hidden=16), net(hidden=40))
    assert [level_widths(model, level) for level in range(4)] == [[2, 5], [4, 10], [8, 20], [16, 40]]


def brute_force(layers: int, widths: tuple[int, ...], max_jump: int) -> list[tuple[int, ...]]:
    places = {width: place for place, width in enumerate(widths)}
    return [
        profile for profile in product(widths, repeat=layers)
        if all(0 <= places[b] - places[a] <= max_jump for a, b in pairwise(profile))
    ]


@pytest.mark.parametrize(("layers", "widths", "max_jump"), [
    (1, (2, 4), 1), (4, (16, 32, 64, 128), 1), (5, (1, 3, 9), 2), (3, (7,), 1), (4, (1, 2, 3), 0),
])
def test_profiles_are_all_that_rise_by_small_jumps(layers, widths, max_jump):
    assert balanced_profiles(layers, widths, max_jump=max_jump) == brute_force(layers, widths, max_jump)


@pytest.mark.parametrize("layers", [1, 4, 12, 32])
def test_profiles_are_as_many_as_told(layers):
    count = sum((4 - rises) * math.comb(layers - 1, rises) for rises in range(4))
    assert len(balanced_profiles(layers, (1, 2, 4, 8))) == count


def test_those_within_a_budget_come_dearest_first():
    calls = []
    found = within_budget([(1, 1), (1, 2), (2, 2)], lambda profile: calls.append(profile) or sum(profile), 3)
    assert found == [Candidate((1, 2), 3), Candidate((1, 1), 2)]
    assert calls == [(1, 1), (1, 2), (2, 2)]


def test_a_budget_of_parameters_is_kept_by_what_is_extracted():
    model = stack()
    candidates = within_budget(
        balanced_profiles(3, (2, 4, 8, 16)), lambda profile: parameters_at(model, profile), parameters_at(model, 8)
    )
    assert candidates[0].cost == parameters_at(model, 8)
    for candidate in candidates[::4]:
        small = extract(model, candidate.profile)
        assert sum(parameter.numel() for parameter in small.parameters()) == candidate.cost


def test_costs_that_add_up_are_known_from_uniform_profiles():
    measured = []

    def measure(profile: tuple[int, ...]) -> float:
        measured.append(profile)
        return 5.0 + sum(width**2 for width in profile)

    cost = cost_of_layers(measure, 3, (1, 2, 4))
    assert cost((1, 2, 4)) == pytest.approx(5 + 1 + 4 + 16)
    assert cost((2, 2, 4)) == pytest.approx(5 + 4 + 4 + 16)
    assert measured == [(1, 1, 1), (2, 2, 2), (4, 4, 4)]


@pytest.mark.parametrize(("name", "function"), [
    ("gelu", F.gelu), ("gelu_tanh", lambda x: F.gelu(x, approximate="tanh")), ("relu", F.relu), ("silu", F.silu),
])
def test_a_feed_forward_net_of_the_core_has_the_activation_told(name, function):
    plain, x = FeedForward(6, hidden=5, activation=name), tokens(2, 3)
    close(plain(x), plain.fc2(function(plain.fc1(x))))


@pytest.mark.parametrize(("build", "message"), [
    (lambda: net(hidden=0), "the hidden width must be >= 1, got 0 for 6 channels"),
    (lambda: net(widths=(2, 8)), r"widths must be ascending, >= 1 and end with 16, got \(2, 8\)"),
    (lambda: net(widths=(0, 16)), r"end with 16, got \(0, 16\)"),
    (lambda: net(widths=()), r"end with 16, got \(\)"),
    (lambda: net(activation="tanh"), "activation must be one of gelu, gelu_tanh, relu, silu, got 'tanh'"),
    (lambda: FeedForward(4, activation="gelutanh"), "got 'gelutanh'"),
    (lambda: net()(tokens(1, 1), width=0), "a width must lie in 1 to 16, got 0"),
    (lambda: net().extract(17), "a width must lie in 1 to 16, got 17"),
    (lambda: checked_widths(stack(), (4, 4)), "one for each of the 3 nested nets, got 2"),
    (lambda: checked_widths(stack(), 17), "a width must lie in 1 to 16, got 17"),
    (lambda: level_widths(stack(), 4), "blocks.0.channel_mixer has the levels 0 to 3, got 4"),
    (lambda: extract(nn.Linear(2, 2), 1), "Linear has no NestedFeedForward"),
    (lambda: balanced_profiles(0, (1, 2)), "layers must be >= 1 and max_jump >= 0, got 0 and 1"),
    (lambda: balanced_profiles(2, (2, 1)), r"widths must be ascending, got \(2, 1\)"),
])
def test_what_cannot_be_is_refused(build, message):
    with pytest.raises(ValueError, match=message):
        build()
