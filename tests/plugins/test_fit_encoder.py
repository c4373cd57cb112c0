"""FIT's layer string, codes, encoder, denoiser and sequence model: by hand, group by group, masks, what sees what."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from perception.errors import CheckpointError
from perception_plugins.fit import (
    FITAutoregressive,
    FITDenoiser,
    FITEncoder,
    glimpse_tokens,
    load_official,
    shifted_right,
    snake_order,
)
from perception_plugins.fit.denoiser import time_code
from perception_plugins.fit.layer import Attention
from perception_plugins.fit.layer_string import parse_layers
from perception_plugins.fit.position import line_code, plane_code

SIZES = {"groups": 3, "tokens": 4, "latents": 2, "channels": 16, "latent_channels": 24, "heads": 2, "latent_heads": 4}
close = torch.testing.assert_close


def lively(model: nn.Module) -> Any:
    """Float64, evaluation mode, no parameter of which is trivial."""
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.3)
    return model.double().eval()


def encoder(layers: str = "(1)1(1)", **options: Any) -> FITEncoder:
    torch.manual_seed(0)
    return lively(FITEncoder(layers, in_channels=5, **{**SIZES, **options}))


def tokens(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(("text", "blocks"), [
    ("(2)4(2)", ((2, 4), (2, 0))), ("(1)2(1)1", ((1, 2), (1, 1))), ("(3)", ((3, 0),)), ("(0)12(10)", ((0, 12), (10, 0)))
])
def test_layer_strings(text, blocks):
    assert parse_layers(text) == blocks


def test_codes_by_hand():
    expected = torch.tensor([math.sin(500), math.sin(5), math.cos(500), math.cos(5)])
    close(line_code(3, 4)[1], expected, atol=1e-4, rtol=0)
    assert torch.equal(line_code(1, 4), torch.tensor([[0.0, 0, 1, 1]]))                # a line of one place
    code = plane_code((2, 3), 8)
    assert torch.equal(code[:, :4], line_code(2, 4).repeat_interleave(3, dim=0))
    assert torch.equal(code[:, 4:], line_code(3, 4).repeat(2, 1))


def test_the_code_of_a_time_is_standardised():
    code = time_code(torch.tensor([0.0, 0.37, 1.0]), 8)
    close(code.mean(dim=1), torch.zeros(3), atol=1e-6, rtol=0)
    close(code.std(dim=1, correction=0), torch.ones(3))


def test_attention_is_that_of_torch():
    torch.manual_seed(0)
    ours, plain = Attention(16, 16, 2, 8), nn.MultiheadAttention(16, 2, batch_first=True)
    projections = (ours.query, ours.key, ours.value)
    plain.load_state_dict({
        "in_proj_weight": torch.cat([part.weight for part in projections]),
        "in_proj_bias": torch.cat([part.bias for part in projections]),
        "out_proj.weight": ours.proj.weight, "out_proj.bias": ours.proj.bias,
    })
    x, memory = torch.randn(2, 5, 16), torch.randn(2, 3, 16)
    close(ours(x, memory), plain(x, memory, memory)[0], atol=1e-6, rtol=1e-5)


@torch.no_grad()
def test_an_encoder_group_by_group():
    net, x = encoder(), tokens(2, 3, 4, 5)
    first, last = net.trunk.blocks
    groups = [first.local(net.stem(x[:, g]) + net.position()) for g in range(3)]
    latents = [net.latent_position()[2 * g : 2 * g + 2].expand(2, -1, -1) for g in range(3)]
    total = first.latent(torch.cat([first.read(*pair) for pair in zip(latents, groups, strict=True)], dim=1))
    groups = [last.local(first.write(part, total[:, 2 * g : 2 * g + 2])) for g, part in enumerate(groups)]
    found, found_latents = net(x)
    close(found, net.norm(torch.stack(groups, dim=1)))
    close(found_latents, net.latent_norm(total).unflatten(1, (3, 2)))


@torch.no_grad()
def test_groups_need_not_be_of_one_length():
    net, x = encoder(extra_channels=3), tokens(2, 3, 4, 5)
    real = torch.ones(2, 3, 4, dtype=torch.bool)
    real[0, 1, 2:], real[1, 2] = False, False                             # a short group, and an empty one
    changed = torch.where(real[..., None], x, x + 10)
    for got, expected in zip(net(changed, real=real), net(x, real=real), strict=True):
        kept = real if got.shape[2] == 4 else real.any(dim=2)
        assert got.isfinite().all()
        close(got[kept], expected[kept])
    close(net(x, real=torch.ones_like(real))[0], net(x)[0])
    two = encoder(extra_channels=3, groups=2)                             # the empty group might as well not be there
    state = net.state_dict()
    two.load_state_dict({**state, "latent_position.table": state["latent_position.table"][:4]})
    close(net(x, real=real)[0][1, :2], two(x[:, :2])[0][1])
    nothing, _ = net(x, real=torch.zeros_like(real))
    assert nothing.isfinite().all()
    assert net(x, tokens(2, 3, 2, 3))[0].shape == (2, 3, 6, 16)           # with further tokens


@torch.no_grad()
def test_causal_groups_see_none_behind_them():
    net, x = encoder("(1)1(1)1(1)", causal_groups=True), tokens(2, 3, 4, 5)
    for real in (None, torch.tensor([True, False, True])[None, :, None].expand(2, 3, 4)):
        changed = torch.cat([x[:, :2], x[:, 2:] + 1], dim=1)
        close(net(changed, real=real)[0][:, :2], net(x, real=real)[0][:, :2])
        assert not torch.allclose(net(changed, real=real)[0][:, 2], net(x, real=real)[0][:, 2])
    assert not torch.allclose(encoder("(1)1(1)")(changed)[0][:, 0], encoder("(1)1(1)")(x)[0][:, 0])


@pytest.mark.parametrize("shared", [True, False])
@torch.no_grad()
def test_a_sequence_is_told_by_what_came_before(shared):
    torch.manual_seed(0)
    net = lively(FITAutoregressive("(1)1(1)1(1)", vocab=11, shared_embedding=shared, **SIZES))
    ids = torch.randint(0, 11, (2, 3, 4))
    before = net(ids).flatten(1, 2)
    for place in range(12):
        changed = ids.flatten(1).clone()
        changed[:, place] = (changed[:, place] + 1) % 11
        after = net(changed.view_as(ids)).flatten(1, 2)
        close(after[:, :place], before[:, :place])
        assert (after[:, place:] - before[:, place:]).abs().amax(dim=(0, 2)).gt(1e-9).any()
        if place < 8:                                                     # the next group is told of it
            assert not torch.allclose(after[:, 4 * (place // 4 + 1)], before[:, 4 * (place // 4 + 1)])


def test_ids_in_the_order_of_training():
    assert torch.equal(shifted_right(torch.arange(1, 7).view(1, 2, 3)), torch.arange(6).view(1, 2, 3))
    assert snake_order((3, 3)).tolist() == [0, 1, 2, 5, 4, 3, 6, 7, 8]


def test_a_denoiser_begins_without_regard_to_the_step_before():
    torch.manual_seed(0)
    options = {**SIZES, "in_channels": 5, "out_channels": 6, "condition_channels": 7}
    net = FITDenoiser("(1)1(1)", **options).eval()
    x, time, cond, latents = torch.randn(2, 3, 4, 5), torch.rand(2), torch.randn(2, 7), torch.randn(2, 3, 2, 24)
    close(net(x, time, cond, latents)[0], net(x, time, cond)[0])
    close(net(x, time, cond[:, None])[0], net(x, time, cond)[0])
    net = lively(net)
    x, time, cond, latents = (part.double() for part in (x, time, cond, latents))
    out = net(x, time, cond)[0]
    for other in (net(x, time, cond, latents), net(x, time / 2, cond), net(x, time, cond + 1)):
        assert not torch.allclose(other[0], out)
    bare = FITDenoiser("(1)1(1)", self_attention=False, reading_norm=False, reading_mlp=True, **options)
    assert all(layer.attention is None for layer in bare.trunk.blocks[0].local.layers)
    assert bare(x.float(), time.float(), cond.float())[0].shape == (2, 3, 4, 6)


def test_pictures_are_cut_row_by_row():
    image = torch.arange(2 * 4 * 6).view(1, 2 * 4, 6, 1).repeat(1, 1, 1, 3).float()       # 8 rows of 6 pixels
    parts, index = glimpse_tokens(image, (4, 2), 2, minis=1)
    assert parts.shape == (1, 7, 2, 12)                                   # a mini, two rows of three parts
    assert parts[0, 1 + 4, 1, ::3].tolist() == [38, 39, 44, 45]           # part 1, 1; its lower patch
    close(parts[0, 0, 0, ::3][0], image[0, :2, :3, 0].mean())             # half-pixel centres, factors 2 and 3
    assert torch.equal(index, torch.eye(7)[None, :, None])
    order = torch.tensor([[3, 0, 1, 2, 6, 5, 4]])
    shuffled, index = glimpse_tokens(image, (4, 2), 2, minis=1, order=order)
    assert torch.equal(shuffled[0, 0], parts[0, 3])
    assert index.argmax(dim=-1).flatten().tolist() == order.flatten().tolist()


def test_a_name_of_another_model_is_told():
    with pytest.raises(CheckpointError, match="1 of 2 keys belong to another architecture: fit/encoder/ln/gamma"):
        load_official({"fit/stem/bias": torch.ones(1), "fit/encoder/ln/gamma": torch.ones(1)})


@pytest.mark.parametrize(("build", "message"), [
    (lambda: parse_layers("2(1)"), r'layers must be like .* got \'2\(1\)\''),
    (lambda: parse_layers("(1)0(1)"), "only the last block may go without global layers"),
    (lambda: encoder(heads=3), r"channels \(16\) must be divisible by heads \(3\)"),
    (lambda: encoder(position="sin_cos2d", tokens=6), "needs a square number of tokens in a group, got 6"),
    (lambda: encoder(position="fourier"), "position must be learned, sin_cos or sin_cos2d, got 'fourier'"),
    (lambda: line_code(3, 5), "channels of a code must be even, got 5"),
    (lambda: encoder()(tokens(2, 3, 4, 5), tokens(2, 3, 1, 5)), "further tokens need extra_channels"),
    (lambda: FITDenoiser("(1)1(1)", in_channels=5, out_channels=5, condition_channels=5, **{**SIZES,
     "latent_channels": 12}), "latent_channels must be divisible by 8, got 12"),
    (lambda: FITDenoiser("(1)1(1)", in_channels=5, out_channels=5, condition_channels=5, remembers=False, **SIZES)(
     torch.zeros(1, 3, 4, 5), torch.zeros(1), torch.zeros(1, 5), torch.zeros(1, 3, 2, 24)), "network that remembers"),
    (lambda: glimpse_tokens(torch.zeros(1, 8, 10, 3), (4, 4), 2), "parts of 4 x 4 must divide pictures, got 8 x 10"),
    (lambda: glimpse_tokens(torch.zeros(1, 8, 9, 3), (4, 3), 2), "multiples of 2 in height and width, got 4 x 3"),
])
def test_what_cannot_be_is_refused(build, message):
    with pytest.raises(ValueError, match=message):
        build()
