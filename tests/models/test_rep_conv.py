"""A convolution trained as several: the one that it becomes, by hand and for any branches."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from perception.compression.batch_norm import affine_of, fold_batch_norms
from perception.models.rep_conv import RepConv

close = torch.testing.assert_close


def lived_in(module: nn.Module, seed: int = 0) -> nn.Module:
    """With the statistics that a training could leave, in evaluation mode: fresh ones hide mistakes."""
    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for part in module.modules():
            if isinstance(part, nn.BatchNorm2d):
                part.running_mean.normal_(generator=draw)
                part.running_var.uniform_(0.3, 3.0, generator=draw)
                if part.affine:
                    part.weight.uniform_(-1.5, 1.5, generator=draw)
                    part.bias.normal_(generator=draw)
    return module.eval()


@st.composite
def rep_convs(draw: st.DrawFn) -> RepConv:
    """Of any widths with common divisors, one to four branches, one or two strides."""
    unit = draw(st.sampled_from([1, 2, 6, 12]))
    in_channels, channels = (unit * draw(st.integers(1, 3)) for _ in range(2))
    divisors = [groups for groups in range(1, unit + 1) if unit % groups == 0]
    branch = st.tuples(st.sampled_from([1, 3, 5]), st.sampled_from(divisors))
    branches = draw(st.lists(branch, min_size=1, max_size=4))
    torch.manual_seed(draw(st.integers(0, 99)))
    return RepConv(in_channels, channels, branches, identity=draw(st.booleans()), stride=draw(st.integers(1, 2)))


@settings(max_examples=40)
@given(rep=rep_convs(), height=st.integers(1, 9), width=st.integers(1, 9))
def test_one_convolution_gives_what_the_branches_give(rep, height, width):
    lived_in(rep.double())
    x = torch.randn(2, rep.in_channels, height, width, dtype=torch.float64)
    with torch.no_grad():
        expected = rep(x)
        assert fold_batch_norms(rep) == 1
        close(rep(x), expected, atol=1e-11, rtol=1e-11)                    # float64: nothing but rounding
    assert set(rep.state_dict()) == {"conv.weight", "conv.bias"}


@settings(max_examples=15)
@given(rep=rep_convs())
def test_in_float32_they_agree_to_1e_5_of_the_largest(rep):
    lived_in(rep)
    x = torch.randn(2, rep.in_channels, 7, 6)
    with torch.no_grad():
        expected = rep(x)
        rep.fold_batch_norm()
        close(rep(x), expected, atol=1e-5 * max(1.0, expected.abs().max().item()), rtol=0)


def test_the_kernel_by_hand():
    rep = RepConv(4, 4, [(3, 2), (1, 4)], identity=True).eval()
    scales = []
    with torch.no_grad():
        for number, part in enumerate((*rep.branch, rep.identity), 1):
            part.bn.running_mean.fill_(number)
            part.bn.bias.fill_(10.0 * number)
            part.bn.running_var.fill_(1 / number**2 - part.bn.eps)
            scales.append(float(number))
    kernel, bias = rep.fused()
    expected = rep.branch[0].conv.weight.detach().double()                 # groups of two channels, scale 1
    for output in range(4):
        expected[output, output % 2, 1, 1] += 2 * rep.branch[1].conv.weight[output, 0, 0, 0].item() + 3
    close(kernel, expected, atol=1e-6, rtol=1e-6)                          # statistics are float32
    close(bias, torch.full((4,), sum(10 * s - s * s for s in scales), dtype=torch.float64), atol=1e-5, rtol=0)


@pytest.mark.parametrize(("branches", "groups"), [
    ([(3, 3), (1, 3), (3, 12)], 3), ([(3, 12)], 12), ([(3, 12), (1, 1)], 1), ([(3, 4), (1, 6)], 2),
])
def test_the_groups_are_those_common_to_all_branches(branches, groups):
    rep = lived_in(RepConv(12, 12, branches, identity=True))
    rep.fold_batch_norm()
    assert rep.conv.groups == groups == math.gcd(*(g for _, g in branches))
    assert rep.conv.weight.shape == (12, 12 // groups, rep.kernel, rep.kernel)


@pytest.mark.parametrize(("in_channels", "channels", "stride"), [(4, 8, 1), (4, 4, 2)])
def test_an_identity_needs_equal_widths_and_no_stride(in_channels, channels, stride):
    assert RepConv(in_channels, channels, [(3, 1)], identity=True, stride=stride).identity is None


@pytest.mark.parametrize("size", [(9, 8), (1, 1), (2, 5)])
def test_a_stride_of_two_rounds_up(size):
    x = torch.rand(1, 2, *size)
    assert RepConv(2, 4, [(3, 1), (1, 2)], stride=2).eval()(x).shape[2:] == tuple(math.ceil(n / 2) for n in size)


def test_folding_twice_changes_nothing_and_draws_nothing():
    rep, x = lived_in(RepConv(4, 4, [(3, 2)])), torch.rand(1, 4, 5, 5)
    state = torch.get_rng_state()
    rep.fold_batch_norm()
    assert torch.equal(state, torch.get_rng_state())
    before, conv = rep(x), rep.conv
    rep.fold_batch_norm()
    assert rep.conv is conv
    assert torch.equal(rep(x), before)


@pytest.mark.parametrize("branches", [[(1, 1), (1, 2)], [(1, 2), (1, 4)]])
def test_it_takes_over_the_normalisation_of_its_input(branches):
    norm, rep = lived_in(nn.BatchNorm2d(8).double(), 1), lived_in(RepConv(8, 4, branches).double())
    x = torch.randn(2, 8, 3, 4, dtype=torch.float64)
    with torch.no_grad():
        expected = rep(norm(x))
        rep.absorb_affine(*affine_of(norm))
        close(rep(x), expected, atol=1e-11, rtol=1e-11)


def test_every_branch_learns():
    rep = RepConv(4, 4, [(3, 2), (1, 1)], identity=True)
    rep(torch.randn(2, 4, 5, 5)).square().sum().backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in rep.parameters())


@pytest.mark.parametrize(("build", "message"), [
    (lambda: RepConv(4, 4, []), "branches must name at least one convolution"),
    (lambda: RepConv(4, 4, [(2, 1)]), r"kernels must be odd and >= 1, got branch \(2, 1\)"),
    (lambda: RepConv(6, 4, [(3, 3)]), r"groups must divide 6 inputs and 4 outputs, got branch \(3, 3\)"),
    (lambda: RepConv(4, 4, [(3, 0)]), r"got branch \(3, 0\)"),
    (lambda: fold_batch_norms(RepConv(4, 4, [(3, 1)])), "in evaluation mode"),
    (lambda: RepConv(4, 4, [(3, 1)]).absorb_affine(torch.ones(4), torch.zeros(4)), "a convolution without padding"),
])
def test_what_cannot_be_is_refused(build, message):
    with pytest.raises(ValueError, match=message):
        build()


def test_folded_branches_are_gone():
    rep = lived_in(RepConv(4, 4, [(3, 1)]))
    rep.fold_batch_norm()
    with pytest.raises(ValueError, match="folded already"):
        rep.fused()
