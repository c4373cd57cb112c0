"""FlatFormer with other feed-forward parts: nested ones from one training, and tables of parameter tokens."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from perception.engine.config import load_config
from perception.models.mixers.feed_forward import FeedForward
from perception.registry import MODELS, load_plugins
from perception_plugins.flatformer import FlatFormer
from perception_plugins.matformer import active_widths, balanced_profiles, extract, nested_layers, parameters_at

load_plugins(["flatformer", "matformer", "tokenformer"])
CONFIGS = Path(__file__).resolve().parents[2] / "configs"
close = torch.testing.assert_close


def encoder(channels: int = 16, **options: Any) -> FlatFormer:
    torch.manual_seed(0)
    return FlatFormer(channels, (24, 20), window=(5, 4), group_size=12, num_blocks=1, num_heads=4, **options).eval()


def pillars(channels: int = 16) -> tuple[torch.Tensor, torch.Tensor]:
    draw = torch.Generator().manual_seed(0)
    cells = torch.randperm(24 * 20, generator=draw)[:34]
    coords = torch.stack([torch.zeros_like(cells), torch.zeros_like(cells), cells // 24, cells % 24], dim=1).int()
    return torch.randn(34, channels, generator=draw), coords


@pytest.mark.parametrize("feed_forward", [
    {"type": "FeedForward", "ratio": 3, "activation": "relu"}, {"type": "NestedFeedForward"},
    {"type": "NestedFeedForward", "gated": True}, {"type": "PattentionFeedForward", "slots": 20},
], ids=["relu", "nested", "gated", "pattention"])
def test_any_channel_mixer_learns_in_its_place(feed_forward):
    built, (features, coords) = encoder(feed_forward=feed_forward), pillars()
    built.encode(features.requires_grad_(), coords, 1).square().sum().backward()
    assert features.grad.abs().sum() > 0
    assert [name for name, parameter in built.named_parameters() if not parameter.grad.any()] == []


def test_the_default_part_is_a_config_of_it():
    plain, told = encoder(), encoder(feed_forward={"type": "FeedForward", "ratio": 2})
    assert all(torch.equal(value, told.state_dict()[key]) for key, value in plain.state_dict().items())


@pytest.mark.parametrize("channels", [16, 32])               # of 32, a compiled kernel serves what is plain
@pytest.mark.parametrize("widths", [(8, 8, 16, 32), (64, 64, 64, 64), (5, 32, 32, 64)])
@torch.no_grad()
def test_an_extracted_encoder_is_a_plain_one_with_the_same_tokens(channels, widths):
    features, coords = pillars(channels)
    built = encoder(channels, feed_forward={"type": "NestedFeedForward", "hidden": 64})
    small = extract(built, widths)
    assert [type(layer.ffn) for layer in small.blocks[0].layers] == [FeedForward] * 4
    assert sum(parameter.numel() for parameter in small.parameters()) == parameters_at(built, widths)
    with active_widths(built, widths):
        expected = built.encode(features, coords, 1)
    close(small.encode(features, coords, 1), expected, atol=2e-5, rtol=1e-5)     # the kernel sums in another order


def test_the_detector_of_the_city_gives_twenty_detectors():
    paths = ("matformer/flatformer_nested_synthetic.py", "flatformer/flatformer_synthetic.py")
    configs = [load_config(CONFIGS / path).model for path in paths]
    with torch.device("meta"):
        model, plain = map(MODELS.build, configs)
    layers = list(nested_layers(model).values())
    assert [layer.widths for layer in layers] == [(16, 32, 64, 128)] * 4
    profiles = balanced_profiles(4, layers[0].widths)
    counts = {profile: parameters_at(model, profile) for profile in profiles}
    assert len(profiles) == 20
    assert len(set(counts.values())) >= 5                    # what a Pareto curve asks for
    assert counts[(64,) * 4] == sum(parameter.numel() for parameter in plain.parameters())


@pytest.mark.parametrize("schedule", ["sum", "sample"])
def test_its_schedule_is_a_variable(schedule):
    cfg = load_config(CONFIGS / "matformer/flatformer_nested_synthetic.py", {"schedule": schedule})
    base = load_config(CONFIGS / "flatformer/flatformer_synthetic.py")
    assert cfg.train_cfg == {**base.train_cfg, "type": "NestedLoop", "schedule": schedule}


def test_a_nested_encoder_starts_from_a_plain_one():
    plain, nested = encoder(ffn_ratio=4), encoder(feed_forward={"type": "NestedFeedForward"})
    nn.init.normal_(plain.blocks[0].layers[0].norm1.bias)
    nested.load_state_dict(plain.state_dict())
    features, coords = pillars()
    close(nested.encode(features, coords, 1), plain.encode(features, coords, 1))
