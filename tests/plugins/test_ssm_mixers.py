"""Mamba's mixers and the scans of maps: by hand, against slow forms, token by token, under masks, in other dtypes."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from perception.models.mixers.traits import StreamingMixer
from perception.registry import MODELS, load_plugins
from perception_plugins.ssm_vision import (
    SS2D,
    BEVSS2DMixer,
    BiMambaMixer,
    MambaMixer,
    SS2DMixer,
    cross_merge,
    cross_scan,
)

load_plugins(["ssm_vision"])
NAMES = ("BEVSS2DMixer", "BiMambaMixer", "MambaMixer", "SS2DMixer")
EXACT = {"atol": 2e-6, "rtol": 2e-5}                 # sums in another order
close = torch.testing.assert_close
every_mixer = pytest.mark.parametrize("name", NAMES)


def mixer(name: str, channels: int = 12) -> nn.Module:
    torch.manual_seed(0)
    return MODELS.build({"type": name, "channels": channels}).eval()


def tokens(count: int, channels: int = 12, seed: int = 0) -> Tensor:
    return torch.randn(2, count, channels, generator=torch.Generator().manual_seed(seed))


def slow_mamba(mixer: MambaMixer, x: Tensor) -> Tensor:
    """One token after the other, as the paper writes it."""
    path, out = mixer.path, []
    kernel, rates = path.conv1d.weight[:, 0], -torch.exp(path.A_log)
    before = [torch.zeros(len(x), kernel.shape[0])] * (kernel.shape[1] - 1)
    state = torch.zeros(len(x), *rates.shape)
    for token in x.unbind(1):
        inner, gate = mixer.in_proj(token).chunk(2, dim=1)
        before = [*before, inner][-kernel.shape[1] :]
        seen = sum(column * weight for column, weight in zip(before, kernel.unbind(1), strict=True))
        u = F.silu(seen + path.conv1d.bias)
        delta, B, C = path.x_proj(u).split(path.split, 1)
        dt = F.softplus(delta @ path.dt_weight.T + path.dt_bias)
        state = torch.exp(dt[:, :, None] * rates) * state + (dt * u)[:, :, None] * B[:, None]
        y = (state * C[:, None]).sum(2) + path.D * u
        out.append(mixer.out_proj(y * F.silu(gate)))
    return torch.stack(out, 1)


def test_the_four_ways_of_a_map_by_hand():
    x = torch.tensor([[[[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]]])
    ways = [[1, 2, 3, 4, 5, 6], [1, 4, 2, 5, 3, 6], [6, 5, 4, 3, 2, 1], [6, 3, 5, 2, 4, 1]]
    assert cross_scan(x)[0, :, 0].tolist() == ways


@pytest.mark.parametrize("size", [(1, 1), (1, 5), (4, 1), (3, 7)])
def test_merging_the_four_ways_of_a_map_gives_it_four_times(size: tuple[int, int]):
    x = torch.randn(2, 3, *size)
    close(cross_merge(cross_scan(x), size), 4 * x.flatten(2))


def test_mamba_is_what_the_paper_writes():
    net, x = mixer("MambaMixer"), tokens(9)
    close(net(x), slow_mamba(net, x), **EXACT)


def test_both_ways_are_the_mean_of_mamba_and_of_mamba_from_the_end():
    net, x = mixer("BiMambaMixer"), tokens(9)
    halves = []
    for path, way in ((net.ahead, x), (net.back, x.flip(1))):
        one = MambaMixer(12)
        one.in_proj, one.path, one.out_proj = net.in_proj, path, net.out_proj
        halves.append(one(way))
    close(net(x), (halves[0] + halves[1].flip(1)) / 2, **EXACT)


def test_a_map_on_its_side_gives_the_same_where_rows_and_columns_share_their_parameters():
    net, x = SS2D(8).eval(), torch.randn(1, 3, 5, 8)
    with torch.no_grad():
        for parameter in (net.x_proj_weight, net.dt_projs_weight, net.dt_projs_bias):
            parameter[1], parameter[3] = parameter[0], parameter[2]
    turned = net(x.transpose(1, 2))
    kernel = net.conv2d.weight
    with torch.no_grad():
        kernel.copy_(kernel.transpose(2, 3).clone())
    close(net(x), turned.transpose(1, 2), **EXACT)


@pytest.mark.parametrize("cuts", [(9,), (1,) * 9, (4, 5), (1, 7, 1)])
def test_a_stream_is_the_whole_and_leaves_the_state_given_alone(cuts: tuple[int, ...]):
    net, x = mixer("MambaMixer"), tokens(9)
    state, parts = None, []
    for part in x.split(cuts, 1):
        kept = None if state is None else {name: value.clone() for name, value in state.items()}
        y, new = net.stream(part, state)
        if state is not None and kept is not None:
            assert all(torch.equal(state[name], kept[name]) for name in kept)
        state = new
        parts.append(y)
    close(torch.cat(parts, 1), net(x), **EXACT)
    assert state is not None
    assert {name: (tuple(value.shape), value.dtype) for name, value in state.items()} == {
        "conv": ((2, 24, 4), torch.float32), "ssm": ((2, 24, 16), torch.float32),
    }


def test_samples_of_a_state_can_be_chosen():
    net, x = mixer("MambaMixer"), tokens(6)
    _, state = net.stream(x[:, :4])
    second, _ = net.stream(x[1:, 4:], {name: value[1:] for name, value in state.items()})
    close(second, net(x)[1:, 4:], **EXACT)


def test_mamba_sees_nothing_that_comes_later():
    net, x = mixer("MambaMixer"), tokens(8)
    other = torch.cat([x[:, :5], tokens(3, seed=1)], 1)
    close(net(x)[:, :5], net(other)[:, :5])
    assert not torch.allclose(net(x)[:, 5:], net(other)[:, 5:])


def test_what_is_told_of_the_mixers_is_so():
    told = {name: type(mixer(name)).TRAITS for name in NAMES}
    assert {name: isinstance(mixer(name), StreamingMixer) for name in NAMES} == {
        name: traits.streaming for name, traits in told.items()
    }
    assert [name for name, traits in told.items() if traits.causal == "always"] == ["MambaMixer"]


@pytest.mark.parametrize("is_masked", [False, True])
@pytest.mark.parametrize("name", ["BiMambaMixer", "MambaMixer"])
def test_long_sequences_in_pieces_give_the_same(name: str, is_masked: bool, monkeypatch: pytest.MonkeyPatch):
    net, x = mixer(name), tokens(20)
    mask = torch.rand(2, 20, generator=torch.Generator().manual_seed(3)) > 0.3 if is_masked else None
    whole = net(x, (4, 5), mask)
    monkeypatch.setattr("perception_plugins.ssm_vision.selective_path.PIECE", 3)
    close(net(x, (4, 5), mask), whole, **EXACT)


@every_mixer
def test_masked_tokens_may_hold_nan(name: str):
    net, x = mixer(name), tokens(12)
    mask = torch.ones(2, 12, dtype=torch.bool)
    mask[0, 3:6], mask[1, :2] = False, False
    broken = x.masked_fill(~mask[:, :, None], torch.nan)
    close(net(broken, (3, 4), mask), net(x, (3, 4), mask))


def test_mamba_goes_over_masked_tokens_as_if_they_were_not_there_beyond_the_convolution():
    net = MambaMixer(12, kernel=1).eval()
    x, mask = tokens(9), torch.ones(2, 9, dtype=torch.bool)
    mask[:, 2:6] = False
    close(net(x, mask=mask)[mask].view(2, 5, 12), net(x[mask].view(2, 5, 12)), **EXACT)


@every_mixer
@pytest.mark.parametrize("count", [0, 1, 7])
def test_any_number_of_tokens_is_taken_without_a_size(name: str, count: int):
    x = tokens(count)
    assert mixer(name)(x).shape == x.shape


@every_mixer
def test_no_sample_is_taken(name: str):
    assert mixer(name)(torch.zeros(0, 6, 12), (2, 3)).shape == (0, 6, 12)


@every_mixer
def test_double_precision_agrees(name: str):
    net, x = mixer(name), tokens(12)
    expected = net(x, (3, 4))
    close(net.double()(x.double(), (3, 4)).float(), expected, atol=1e-5, rtol=1e-4)


@every_mixer
def test_bfloat16_keeps_the_scan_in_float32(name: str):
    net, x = mixer(name), tokens(12).requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        y = net(x, (3, 4))
    y.float().sum().backward()
    close(y.float(), net(x, (3, 4)), atol=0.05, rtol=0.05)                                 # steps of 2^-8
    assert all(parameter.grad is None or parameter.grad.isfinite().all() for parameter in net.parameters())


@every_mixer
def test_an_export_gives_the_same(name: str):
    class Mixed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = mixer(name)

        def forward(self, x: Tensor, mask: Tensor) -> Tensor:
            return self.net(x, (3, 4), mask)

    model, mask = Mixed(), torch.rand(2, 12) > 0.3
    exported = torch.export.export(model, (tokens(12), mask)).module()
    close(exported(tokens(12, seed=1), mask), model(tokens(12, seed=1), mask))


def test_step_sizes_begin_between_a_thousandth_and_a_tenth_and_rates_count():
    net = MambaMixer(64)
    steps = F.softplus(net.path.dt_bias.detach())
    assert 1e-3 * 0.99 < float(steps.min()) < float(steps.max()) < 0.1 * 1.01
    close(net.path.A_log[5].exp(), torch.arange(1.0, 17.0))
    assert net.path.dt_weight.shape == (128, 4)
    assert float(net.path.dt_weight.detach().abs().max()) <= 4**-0.5
    assert SS2D(16).A_logs.shape == (4 * 16, 1)


def test_a_closed_gate_lets_nothing_out():
    torch.manual_seed(0)
    gated, x = SS2D(8, gated=True, conv_bias=True, ratio=2.0, state=3), torch.randn(1, 3, 4, 8)
    with torch.no_grad():
        gated.in_proj.weight[16:] = 0.0                # a gate of SiLU(0) = 0
    assert not gated(x).any()


@pytest.mark.parametrize(("build", "message"), [
    (lambda: MambaMixer(8, rank=0), "rank must be >= 1, got 0"),
    (lambda: BiMambaMixer(8, expand=0.1), "0.1 times 8 channels must be >= 1"),
    (lambda: BEVSS2DMixer(8, depth=0), "depth must be >= 1, got 0"),
    (lambda: SS2DMixer(8)(torch.zeros(1, 6, 8), (2, 2)), "a map of 2 x 2 has other than 6 tokens"),
])
def test_what_cannot_be_is_refused(build, message: str):
    with pytest.raises(ValueError, match=message):
        build()
