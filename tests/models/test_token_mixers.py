"""Every registered mixer in three places: a stage of a picture network, a group of pillars, the memory of a map head.

A plugin's mixer is here as soon as it is registered; one whose constructor needs more than a width gets it from
`ARGUMENTS`. The fourth place, the memory of past frames, is in test_mixer_promises.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import pytest
import torch
from map_frames import REGION
from torch import Tensor, nn

from perception.models.heads.map_query_decoder import MemoryMixer
from perception.models.heads.point_set_map_head import PointSetMapHead
from perception.models.metaformer.block import MetaFormerBlock
from perception.models.metaformer.staged import MetaFormer, MetaFormerStage
from perception.models.mixers.attention import AttentionMixer
from perception.models.mixers.feed_forward import FeedForward
from perception.models.mixers.spatial_linear import SpatialLinearMixer
from perception.registry import MODELS, list_registered, load_plugins, plugin_modules
from perception_plugins.flatformer import FlatFormer
from perception_plugins.flatformer.attention import TokenGroups
from perception_plugins.flatformer.encoder import FlatFormerLayer

load_plugins(plugin_modules())
TOKEN_MIXERS = list_registered(MODELS, role="token_mixer")
CHANNEL_MIXERS = list_registered(MODELS, role="channel_mixer")
CHANNELS = 32
ARGUMENTS: dict[str, Callable[[tuple[int, int]], dict[str, Any]]] = {  # by name, from the size of the map
    "SpatialLinearMixer": lambda size: {"tokens": size[0] * size[1]},
    "LinformerMixer": lambda size: {"tokens": size[0] * size[1]},
    "FITMixer": lambda size: {"tile": 2},                      # several groups of few tokens
    "HashAttention": lambda size: {"bits": 4, "anchors": 5, "learning": {"steps": 3}},        # else it learns long
}
GROUP = 12
close = torch.testing.assert_close
quiet_export = pytest.mark.filterwarnings("ignore:The tensor attributes .* were assigned during export")     # of a GRU
every_token_mixer = pytest.mark.parametrize("name", TOKEN_MIXERS)


def mixer_config(name: str, size: tuple[int, int]) -> dict[str, Any]:
    """Config of a mixer for maps of one size."""
    torch.manual_seed(0)
    return {"type": name, **(ARGUMENTS[name](size) if name in ARGUMENTS else {})}


def assert_all_learn(module: nn.Module, inputs: Iterable[Tensor], outputs: Iterable[Tensor]) -> None:
    """A gradient of the outputs reaches the inputs, and every parameter that is to be trained."""
    draw = torch.Generator().manual_seed(1)
    sum((out * torch.randn(out.shape, generator=draw)).sum() for out in outputs).backward()
    assert all(x.grad is not None and x.grad.isfinite().all() and x.grad.abs().sum() > 0 for x in inputs)
    trained = {name: parameter.grad for name, parameter in module.named_parameters() if parameter.requires_grad}
    assert [name for name, grad in trained.items() if grad is None or not grad.isfinite().all()] == []


def some_mask(size: tuple[int, int]) -> Tensor:
    """(2, N) bool: the last column of the first map is no part of it, nor are two rows of the second."""
    mask = torch.ones(2, *size, dtype=torch.bool)
    mask[0, :, -1] = False
    mask[1, -2:] = False
    return mask.flatten(1)


def test_the_registry_knows_the_mixers_of_the_core():
    known = {"AttentionMixer", "GroupAttention", "IdentityMixer", "PoolingMixer", "SpatialLinearMixer"}
    assert known <= set(TOKEN_MIXERS)
    assert "FeedForward" in CHANNEL_MIXERS


@every_token_mixer
@torch.no_grad()
def test_a_mixer_of_one_seed_gives_the_same_to_the_bit(name):
    x, mask = torch.randn(2, 24, CHANNELS, generator=torch.Generator().manual_seed(3)), some_mask((4, 6))
    first, second = (
        MODELS.build({"channels": CHANNELS, **mixer_config(name, (4, 6))}).eval()(x, (4, 6), mask) for _ in range(2)
    )
    assert torch.equal(first, second)


@every_token_mixer
def test_masked_tokens_change_no_real_output_and_become_zero(name):
    size = (4, 6)
    mixer = MODELS.build({"channels": CHANNELS, **mixer_config(name, size)}).eval()
    x, mask = torch.randn(2, 24, CHANNELS), some_mask(size)
    changed = torch.where(mask[:, :, None], x, torch.randn_like(x) * 10)
    with torch.no_grad():
        out, other = mixer(x, size, mask), mixer(changed, size, mask)
    assert out.shape == x.shape
    close(out, other)
    assert not out[~mask].any()


@every_token_mixer
def test_a_mask_of_real_tokens_alone_changes_nothing(name):
    size = (4, 6)
    mixer = MODELS.build({"channels": CHANNELS, **mixer_config(name, size)}).eval()
    x = torch.randn(2, 24, CHANNELS)
    close(mixer(x, size, torch.ones(2, 24, dtype=torch.bool)), mixer(x, size), atol=1e-5, rtol=1e-5)


@every_token_mixer
def test_stages_of_a_picture_network_learn_with_any_mixer(name):
    mixers = [mixer_config(name, size) for size in ((8, 12), (4, 6))]
    model = MetaFormer(
        (1, 1), (CHANNELS, 2 * CHANNELS), token_mixer=mixers, norm="layer", layer_scale=1.0, out_indices=(0, 1)
    )
    images = torch.rand(2, 3, 32, 48, requires_grad=True)
    maps = model(images)
    assert [x.shape for x in maps] == [(2, CHANNELS, 8, 12), (2, 2 * CHANNELS, 4, 6)]
    assert_all_learn(model, [images], maps)


@every_token_mixer
def test_masked_places_of_a_stage_change_no_real_one(name):
    size = (4, 6)
    block = MetaFormerBlock(CHANNELS, mixer_config(name, size), {"type": "FeedForward"})
    stage, mask = MetaFormerStage(nn.Identity(), [block]).eval(), some_mask(size).view(2, *size)
    x = torch.randn(2, CHANNELS, *size)
    changed = torch.where(mask[:, None], x, torch.randn_like(x) * 10)
    with torch.no_grad():
        close(stage(x, mask), stage(changed, mask))


@every_token_mixer
@quiet_export
@torch.no_grad()
def test_an_exported_stage_gives_the_same_of_another_map(name):
    block = MetaFormerBlock(CHANNELS, mixer_config(name, (4, 6)), {"type": "FeedForward"})
    stage, x = MetaFormerStage(nn.Identity(), [block]).eval(), torch.randn(2, 2, CHANNELS, 4, 6)
    close(torch.export.export(stage, (x[0],)).module()(x[1]), stage(x[1]), atol=1e-5, rtol=1e-5)


@every_token_mixer
def test_groups_of_pillars_learn_with_any_mixer(name):
    encoder = FlatFormer(
        CHANNELS, (24, 20), window=(5, 4), group_size=GROUP, num_blocks=1, mixer=mixer_config(name, (1, GROUP))
    )
    cells = torch.randperm(24 * 20, generator=torch.Generator().manual_seed(0))[:34]
    batch = (torch.arange(34) >= 30).long()                  # 30 pillars, then 4, which do not fill a group
    coords = torch.stack([batch, torch.zeros_like(cells), cells // 24, cells % 24], dim=1).int()
    features = torch.randn(34, CHANNELS, requires_grad=True)
    tokens = encoder.encode(features, coords, 2)
    assert tokens.shape == (34, CHANNELS)
    assert_all_learn(encoder, [features], [tokens])


@every_token_mixer
def test_slots_that_fill_a_group_up_change_no_pillar(name):
    layer = FlatFormerLayer(CHANNELS, mixer_config(name, (1, GROUP))).eval()
    slots, valid = torch.arange(2 * GROUP), torch.ones(2 * GROUP, dtype=torch.bool)
    valid[-4:] = False
    tokens, code = torch.randn(2 * GROUP, CHANNELS), torch.randn(2 * GROUP, CHANNELS)
    changed = torch.where(valid[:, None], tokens, torch.randn_like(tokens) * 10)
    groups = TokenGroups(slots, slots, valid, GROUP)
    with torch.no_grad():
        close(layer(tokens, code, groups)[valid], layer(changed, code, groups)[valid])


@every_token_mixer
def test_a_map_head_learns_with_any_mixer_of_its_memory(name):
    torch.manual_seed(0)
    head = PointSetMapHead(
        8, REGION, channels=CHANNELS, num_queries=4, num_points=3, layers=1, heads=2,
        memory_mixer=mixer_config(name, (4, 6)),
    )
    bev = torch.randn(2, 8, 4, 6, requires_grad=True)
    ((logits, points),) = head(bev)
    assert (logits.shape, points.shape) == ((2, 4, 3), (2, 4, 3, 2))
    assert_all_learn(head, [bev], [logits, points])


@every_token_mixer
def test_masked_cells_of_the_memory_change_no_real_one(name):
    size, mask = (4, 6), some_mask((4, 6))
    mixer = MemoryMixer(CHANNELS, mixer_config(name, size)).eval()
    memory = torch.randn(2, 24, CHANNELS)
    changed = torch.where(mask[:, :, None], memory, torch.randn_like(memory) * 10)
    with torch.no_grad():
        out, other = mixer(memory, size, mask), mixer(changed, size, mask)
    close(out[mask], other[mask])
    assert torch.equal(out[~mask], memory[~mask])


@every_token_mixer
@quiet_export
@torch.no_grad()
def test_an_exported_memory_of_a_map_head_gives_the_same_with_another_mask(name):
    mixer, memory = MemoryMixer(CHANNELS, mixer_config(name, (4, 6))).eval(), torch.randn(2, 2, 24, CHANNELS)
    exported = torch.export.export(mixer, (memory[0], (4, 6), torch.ones(2, 24, dtype=torch.bool))).module()
    mask = some_mask((4, 6))
    close(exported(memory[1], (4, 6), mask), mixer(memory[1], (4, 6), mask), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", CHANNEL_MIXERS)
def test_a_channel_mixer_takes_each_token_by_itself(name):
    size = (4, 6)
    mixer = MODELS.build({"channels": CHANNELS, **mixer_config(name, size)}).eval()
    x, mask = torch.randn(2, 24, CHANNELS), some_mask(size)
    changed = torch.where(mask[:, :, None], x, torch.randn_like(x))
    with torch.no_grad():
        close(mixer(changed, size)[mask], mixer(x, size)[mask])
        assert not mixer(x, size, mask)[~mask].any()


@pytest.mark.parametrize("name", CHANNEL_MIXERS)
def test_stages_of_a_picture_network_learn_with_any_channel_mixer(name):
    model = MetaFormer(
        (1,), (CHANNELS,), token_mixer={"type": "IdentityMixer"}, channel_mixer=mixer_config(name, (8, 12)),
        norm="layer", layer_scale=1.0, out_indices=(0,),
    )
    images = torch.rand(2, 3, 32, 48, requires_grad=True)
    assert_all_learn(model, [images], model(images))


def test_attention_is_that_of_torch():
    ours = AttentionMixer(16, heads=4, qkv_bias=True)
    plain = nn.MultiheadAttention(16, 4, batch_first=True)
    plain.load_state_dict({
        "in_proj_weight": ours.in_proj.weight, "in_proj_bias": ours.in_proj.bias,
        "out_proj.weight": ours.out_proj.weight, "out_proj.bias": ours.out_proj.bias,
    })
    x, mask = torch.randn(2, 24, 16), some_mask((4, 6))
    expected, _ = plain(x, x, x, key_padding_mask=~mask)
    close(ours(x, mask=mask)[mask], expected[mask], atol=1e-6, rtol=1e-5)


def test_causal_attention_is_that_of_each_prefix():
    mixer, whole = AttentionMixer(16, heads=4, causal=True), AttentionMixer(16, heads=4)
    whole.load_state_dict(mixer.state_dict())
    x, mask = torch.randn(2, 24, 16), some_mask((4, 6))
    mask[1, 0] = False
    last = torch.stack([whole(x[:, : i + 1], mask=mask[:, : i + 1])[:, -1] for i in range(24)], dim=1)
    close(mixer(x, mask=mask), last)
    close(mixer(x)[:, -1], whole(x)[:, -1])


@pytest.mark.parametrize("causal", [False, True])
def test_attention_among_no_real_tokens_gives_zeros_and_finite_gradients(causal):
    mixer = AttentionMixer(16, heads=4, causal=causal)
    x = torch.randn(2, 5, 16, requires_grad=True)
    mask = torch.tensor([[True] * 5, [False] * 5])
    out = mixer(x, mask=mask)
    out.square().sum().backward()
    assert not out[1].any()
    assert x.grad.isfinite().all()


def test_a_linear_layer_over_places_by_hand():
    mixer = SpatialLinearMixer(2, tokens=3)
    with torch.no_grad():
        mixer.fc.weight.copy_(torch.tensor([[1.0, 1, 1], [0, 0, 2], [1, 0, 0]]))
    x = torch.tensor([[[1.0, 10], [2, 20], [3, 30]]])
    close(mixer(x), torch.tensor([[[6.0, 60], [6, 60], [1, 10]]]))


def test_the_hidden_width_of_a_feed_forward_net_is_rounded_down():
    assert FeedForward(10, ratio=2.55).fc1.out_features == 25
    assert FeedForward(10, hidden=7).fc2.in_features == 7


@pytest.mark.parametrize(("build", "message"), [
    (lambda: AttentionMixer(40), r"channels \(40\) must be divisible by head_channels \(32\)"),
    (lambda: AttentionMixer(40, heads=3), r"channels \(40\) must be divisible by heads \(3\)"),
    (lambda: SpatialLinearMixer(4, tokens=0), "tokens must be >= 1, got 0"),
    (lambda: SpatialLinearMixer(4, tokens=6)(torch.rand(1, 5, 4)), "bound to 6 tokens, got 5"),
    (lambda: FeedForward(2, ratio=0.4), "the hidden width must be >= 1, got 0 for 2 channels"),
])
def test_what_cannot_be_is_refused(build, message):
    with pytest.raises(ValueError, match=message):
        build()
