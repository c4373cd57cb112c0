"""Wide transformers: budgets, stacking, attention, masks, and the theorem's network against its bound."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
import torch
from torch import Tensor

from perception.engine.config import load_config
from perception.registry import MODELS
from perception_plugins.wide_transformer import (
    Shape,
    UniversalRidge,
    WideAttentionMixer,
    WideTransformer,
    account,
    stack_weights,
    widen,
)
from perception_plugins.wide_transformer.demonstration import errors_by_width, seeded_target

close = torch.testing.assert_close
DEEP = Shape(depth=6, channels=512, heads=8, head_channels=64, hidden=2048)


def encoder(depth: int, heads: int, hidden: int, **options) -> WideTransformer:
    torch.manual_seed(0)
    return WideTransformer(12, depth=depth, heads=heads, head_channels=5, hidden=hidden, **options).double().eval()


def tokens(batch: int = 2, count: int = 6) -> Tensor:
    return torch.randn(batch, count, 12, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


@pytest.mark.parametrize(
    ("shape", "parameters"),
    [(DEEP, 18_915_328), (widen(DEEP), 8_403_968), (widen(DEEP, "params"), 18_914_318)],
    ids=["deep", "wide by heads", "wide by parameters"],
)
def test_parameters_are_those_of_the_published_example(shape: Shape, parameters: int):
    assert account(shape, 1).parameters == parameters
    with torch.device("meta"):
        model = WideTransformer(
            shape.channels, depth=shape.depth, heads=shape.heads, head_channels=shape.head_channels,
            hidden=shape.hidden,
        )
    assert sum(parameter.numel() for parameter in model.parameters()) == parameters


def test_a_wide_form_keeps_heads_and_attention_and_waits_less():
    deep, wide = account(DEEP, 100), account(widen(DEEP), 100)
    saved = 2 * 100 * 512 * 2048 * 5                       # five perceptrons
    assert deep.macs - wide.macs == saved
    assert wide.attention_map_floats == 6 * deep.attention_map_floats
    assert (deep.sequential_steps, wide.sequential_steps) == (48, 8)
    assert wide.latency_s(1e-5, 1e9) == pytest.approx(8e-5 + wide.macs / 1e9)
    halfway = widen(DEEP, depth=2)
    assert (halfway.depth, halfway.heads, halfway.hidden) == (2, 24, 2048)
    assert widen(DEEP, "params").hidden == 12_302


def test_a_stacked_layer_is_the_sum_of_the_layers_on_one_input():
    deep, wide = encoder(3, 2, 7), encoder(1, 6, 21)
    wide.load_state_dict(stack_weights(deep.state_dict(), 3))
    x = tokens()
    first = deep.layers[0]
    mixed = x + sum(layer.attn(first.norm1(x)) for layer in deep.layers)
    expected = mixed + sum(layer.ffn(first.norm2(mixed)) for layer in deep.layers)
    close(wide(x), deep.norm(expected))


def test_stacking_refuses_other_layers():
    with pytest.raises(ValueError, match=r"state must have the layers 0 to 3, got \[0, 1, 2\]"):
        stack_weights(encoder(3, 2, 7).state_dict(), 4)


@pytest.mark.parametrize("norm", ["pre", "post"])
def test_tokens_that_are_not_real_change_no_real_one(norm: str):
    model, x = encoder(2, 3, 9, norm=norm), tokens()
    mask = torch.ones(2, 6, dtype=torch.bool)
    mask[0, 4:] = False
    changed = torch.where(mask[:, :, None], x, 9 * torch.randn_like(x))
    close(model(x, mask)[mask], model(changed, mask)[mask])
    close(model(x, mask)[:1, :4], model(x[:1, :4]))


def test_without_a_real_token_attention_gives_the_bias_of_its_last_projection():
    attention = encoder(1, 3, 9).layers[0].attn
    x, mask = tokens(), torch.zeros(2, 6, dtype=torch.bool)
    close(attention.attend(x, mask), attention.out.bias.expand(2, 6, -1))
    assert not attention.weights(x, mask).any()
    close(attention.weights(x).sum(dim=3), torch.ones(2, 3, 6, dtype=torch.float64))


def test_attention_maps_are_what_values_are_mixed_by():
    attention, x = encoder(1, 3, 9).layers[0].attn, tokens()
    values = attention.v(x).unflatten(2, (3, -1)).transpose(1, 2)
    mixed = (attention.weights(x) @ values).transpose(1, 2).flatten(2)
    close(attention(x), attention.out(mixed))


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: widen(DEEP, "size"), "match must be heads or params, got 'size'"),
        (lambda: widen(DEEP, depth=4), "depth must divide 6, got 4"),
        (lambda: encoder(0, 2, 4), "depth must be >= 1, got 0"),
        (lambda: encoder(1, 2, 4, norm="none"), "norm must be one of pre, post, got 'none'"),
        (lambda: WideAttentionMixer(8, heads=0), "heads and head_channels must be >= 1, got 0"),
        (lambda: UniversalRidge(seeded_target(), 2, segments=0), "segments must be >= 1, got 0"),
        (lambda: UniversalRidge(seeded_target(), 3, segments=2), "directions must have 3 x 3 numbers, got 6"),
    ],
)
def test_what_makes_no_sense_is_refused(call, match: str):
    with pytest.raises(ValueError, match=match):
        call()


def test_the_constructed_network_keeps_its_bound_and_errs_a_quarter_at_twice_the_width():
    rows = list(errors_by_width(seeded_target(), 2, [4, 8, 16, 32, 64], samples=4000))
    assert all(0.05 * row.bound < row.error <= row.bound + 1e-5 for row in rows)
    ratios = [wide.error / wider.error for wide, wider in pairwise(rows)]
    assert sum(ratios) / len(ratios) == pytest.approx(4.0, rel=0.25)
    assert all(2.5 < ratio < 6.5 for ratio in ratios)
    assert [row.units for row in rows[:2]] == [3 * 2 * 2 * 5, 3 * 2 * 2 * 9]


def test_attention_brings_every_token_to_every_place():
    target = seeded_target(tokens=4, dim=3, terms=1, seed=2)
    network, x = UniversalRidge(target, 3, segments=200), torch.rand(50, 4, 3)
    close(network(x), target(x), atol=target.error_bound(200, 25.0) + 1e-5, rtol=0)


@pytest.mark.parametrize("name", ["deep_512", "wide_heads_512", "wide_params_512"])
def test_configs_have_the_example_sizes(name: str):
    with torch.device("meta"):
        built = MODELS.build(load_config(Path("configs/wide_transformer") / f"{name}.py").model)
    wanted = {"deep_512": 18_915_328, "wide_heads_512": 8_403_968, "wide_params_512": 18_914_318}[name]
    assert sum(parameter.numel() for parameter in built.network.backbone.encoder.parameters()) == wanted
