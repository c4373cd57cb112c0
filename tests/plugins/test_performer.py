"""Performer: its directions, and how near its features come to the softmax."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from zoo_mixers import CHANNELS, HEADS, build, dense_attention, holes, tokens

from perception_plugins.linear_attention_zoo import PerformerMixer
from perception_plugins.linear_attention_zoo.orthogonal_features import orthogonal_features

close = torch.testing.assert_close


def error(features: int, x: Tensor, causal: bool) -> float:
    """Mean distance to softmax attention with the same weights, over draws, without what is added to features."""
    mixer = build("performer", features=features, causal=causal)
    mixer.kernel.eps = 0.0
    everyone = torch.ones(x.shape[1], x.shape[1], dtype=torch.bool)
    expected = dense_attention(mixer, x, everyone.tril() if causal else everyone)
    found = []
    for seed in range(4):
        mixer.redraw(torch.Generator().manual_seed(seed))
        found.append((mixer(x) - expected).abs().mean())
    return torch.stack(found).mean().item()


@pytest.mark.parametrize("causal", [False, True])
@torch.no_grad()
def test_more_features_come_nearer_to_the_softmax(causal):
    few, many = (error(features, 0.1 * tokens(24), causal) for features in (64, 16384))
    assert few < 0.005
    assert many < few / 3                            # measured: a fifth; more than half without the signs of R


def test_every_block_of_directions_is_orthogonal_and_the_last_is_cut():
    rows = orthogonal_features(20, 8, lengths="sqrt")
    assert rows.shape == (20, 8)
    for block in rows.split(8):
        close(block @ block.T, 8 * torch.eye(len(block)), atol=1e-5, rtol=0)


def test_directions_are_uniform_over_the_rotations():
    blocks = orthogonal_features(4 * 4000, 4, lengths="sqrt", generator=torch.Generator().manual_seed(0)).view(-1, 4, 4)
    assert blocks.mean(dim=0).abs().max() < 5 / 4000**0.5                 # of variance 1; a biased Q has 0.5 and more
    close(blocks.square().mean(dim=0), torch.ones(4, 4), atol=0.1, rtol=0)
    assert (torch.linalg.det(blocks) > 0).double().mean() == pytest.approx(0.5, abs=0.04)      # reflections as well


def test_lengths_are_those_of_normal_vectors_or_all_equal():
    draw = torch.Generator().manual_seed(0)
    chi = orthogonal_features(8000, 8, generator=draw).norm(dim=1)
    assert chi.square().mean() == pytest.approx(8, rel=0.03)
    assert chi.square().var() == pytest.approx(16, rel=0.1)
    close(orthogonal_features(80, 8, lengths="sqrt").norm(dim=1), torch.full((80,), 8**0.5))


@pytest.mark.parametrize(("heads", "count"), [(2, 16), (16, 1), (1, 44)])
def test_a_head_of_width_d_has_d_ln_d_features_unless_told(heads, count):
    assert PerformerMixer(16, heads=heads).omega.shape == (count, 16 // heads)                 # 8 ln 8 = 16.6
    assert PerformerMixer(16, heads=heads, features=7).omega.shape == (7, 16 // heads)


def test_redrawn_directions_are_other_ones_by_the_generator():
    mixer = PerformerMixer(CHANNELS, heads=HEADS)
    before, mixed = mixer.omega.clone(), mixer(tokens(9, dtype=torch.float32))
    mixer.redraw(torch.Generator().manual_seed(3))
    first = mixer.omega.clone()
    mixer.redraw(torch.Generator().manual_seed(3))
    assert torch.equal(mixer.omega, first)
    assert not torch.isclose(first, before).any()
    assert not torch.equal(mixer(tokens(9, dtype=torch.float32)), mixed)


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("kind", ["softmax", "relu"])
def test_features_are_summed_as_defined(kind, causal):
    mixer, x, mask = build("performer", kind=kind, causal=causal, future_max=True), tokens(23), holes(23)
    q, k, v = mixer.project(x)
    q, k = (part * 8**-0.25 for part in (q, k))
    if kind == "relu":
        q, k = ((part @ mixer.omega.T).relu() + 1e-3 for part in (q, k))
    else:
        products = [part @ mixer.omega.T for part in (q, k)]
        largest = products[1].masked_fill(~mask[:, None, :, None], -torch.inf).amax(dim=(2, 3), keepdim=True)
        q, k = (
            (w - part.square().sum(dim=3, keepdim=True) / 2 - top).exp() + 1e-4
            for part, w, top in zip((q, k), products, (products[0].amax(dim=3, keepdim=True), largest), strict=True)
        )
    weights = (q @ k.mT) * mask[:, None, None]
    weights = weights.tril() if causal else weights
    mixed = (weights / weights.sum(dim=3, keepdim=True).clamp(min=1e-30)) @ v
    expected = mixer.proj(mixed.transpose(1, 2).flatten(2))
    close(mixer(x, mask=mask)[mask], expected[mask])


@pytest.mark.parametrize("causal", [False, True])
def test_enormous_tokens_give_finite_outputs_and_gradients(causal):
    mixer = build("performer", torch.float32, causal=causal)
    x = (tokens(40, dtype=torch.float32) * torch.logspace(-2, 2, 40)[:, None]).requires_grad_()
    y = mixer(x)
    y.sum().backward()
    assert y.isfinite().all()
    assert x.grad.isfinite().all()
