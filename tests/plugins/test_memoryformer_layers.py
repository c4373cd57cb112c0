"""MemoryFormer's layers: addresses and scores by hand and against all sign vectors, padding, gradients, replacement."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from perception.models.mixers.attention import AttentionMixer
from perception_plugins.memoryformer import (
    MemoryLayer,
    MemoryRMSNorm,
    MemoryTables,
    SignHash,
    replace_linear_layers,
    sign_codes,
    sign_scores,
)

close = torch.testing.assert_close


def layer(*sizes: int, **options: object) -> MemoryLayer:
    torch.manual_seed(0)
    return MemoryLayer(*sizes, **options).double()


def sign_vectors(bits: int) -> torch.Tensor:
    """(2^bits, bits): the signs of every address in order."""
    return torch.tensor(list(itertools.product([-1.0, 1.0], repeat=bits)), dtype=torch.float64)


@pytest.mark.parametrize(("piece", "code"), [
    ([1.0, -1.0, -1.0], 4), ([-1.0, -1.0, 2.0], 1), ([0.0, -0.0, -1e-30], 6), ([-1.0, -1.0, -1.0], 0),
])
def test_the_first_channel_is_the_most_significant_bit_and_both_zeros_give_one(piece, code):
    assert sign_codes(torch.tensor(piece)).item() == code


def test_the_released_score_by_hand():
    z = torch.tensor([math.log(3) / 2, -math.log(2) / 2], dtype=torch.float64)         # chances 3/4 and 2/3
    close(sign_scores(z, "prob").item(), 0.5)
    close(sign_scores(z).item(), 0.5 * (math.log(3) + math.log(2)) / 2)


@given(seed=st.integers(0, 50), bits=st.integers(1, 6), temperature=st.floats(0.2, 3.0))
def test_the_cosine_score_is_the_softmax_over_all_sign_vectors(seed, bits, temperature):
    z = torch.randn(bits, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    cosines = sign_vectors(bits) @ z / (z.norm() * math.sqrt(bits))
    chosen = (cosines / temperature).softmax(0)[sign_codes(z)]
    close(sign_scores(z, "cosine", temperature), chosen)


@given(seed=st.integers(0, 50), bits=st.integers(1, 6))
def test_the_probability_is_that_of_independent_bits(seed, bits):
    z = torch.randn(bits, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    each = (sign_vectors(bits) @ z).softmax(0)                                          # odds exp(2 z) a bit
    close(sign_scores(z, "prob"), each[sign_codes(z)])


@pytest.mark.parametrize("weighting", ["released", "prob", "cosine"])
def test_a_vector_of_zeros_has_a_finite_score_and_gradient(weighting):
    z = torch.zeros(2, 4, requires_grad=True)
    scores = sign_scores(z, weighting)
    scores.sum().backward()
    close(scores.detach(), torch.full((2,), 0.0 if weighting == "released" else 2.0**-4))
    assert not z.grad.any()


@pytest.mark.parametrize("options", [{}, {"weighting": "prob"}, {"weighting": "cosine"}, {"projection": True}])
@pytest.mark.parametrize("shape", [(), (0,), (1,), (2, 3)])
def test_a_layer_sums_the_rows_that_the_signs_name(options, shape):
    memory, x = layer(7, 5, 3, 3, **options), torch.randn(*shape, 7, dtype=torch.float64)
    if not options.get("projection"):
        z = torch.cat([x, x.new_zeros(*shape, 2)], -1)                                 # two channels are filled up
    else:
        z = memory.hash.projection(x)
    expected = memory.bias.expand(*shape, 5).clone()
    for j, piece in enumerate(z.split(3, dim=-1)):
        score = sign_scores(piece, options.get("weighting", "released"))
        expected = expected + score[..., None] * memory.tables[8 * j + sign_codes(piece)]
    close(memory(x), expected)


def test_gradients_of_a_layer_are_those_of_finite_differences():
    memory = layer(6, 3, 2, 3)
    x = torch.randn(4, 6, dtype=torch.float64)
    x = (x + x.sign() * 0.1).requires_grad_()                                          # no sign changes nearby
    assert torch.autograd.gradcheck(lambda x, *_: memory(x), (x, memory.tables, memory.bias))


def test_layers_read_at_shared_addresses_as_with_their_own():
    memory, tables = layer(6, 3, 2, 3), MemoryTables(3, 2, 3).double()
    tables.load_state_dict({name: value for name, value in memory.state_dict().items() if "hash" not in name})
    x = torch.randn(5, 6, dtype=torch.float64)
    assert torch.equal(tables.read(memory.hash(x)), memory(x))


def test_under_autocast_scores_and_sums_stay_float32():
    memory, x = MemoryLayer(16, 8), torch.randn(3, 16)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(memory(x), memory.float()(x))


def test_the_norm_by_hand():
    norm = MemoryRMSNorm(2)
    close(norm(torch.tensor([[3.0, 4.0]])), torch.tensor([[3.0, 4.0]]) / math.sqrt(12.5))
    close(norm(torch.zeros(1, 2)), torch.zeros(1, 2))


def test_linear_layers_of_any_network_are_replaced_but_for_those_that_are_to_stay():
    network = nn.Sequential(nn.Linear(10, 6), nn.Sequential(nn.Linear(6, 4), nn.ReLU()), AttentionMixer(4, heads=2))
    named = replace_linear_layers(network, bits=4, where=lambda name, _: not name.startswith("2."))
    assert named == ["0", "1.0"]
    assert [type(network.get_submodule(name)) for name in named] == [MemoryLayer] * 2
    assert type(network[2].in_proj) is nn.Linear
    y = network(torch.randn(2, 5, 10))
    y.sum().backward()
    assert y.shape == (2, 5, 4)
    assert all(parameter.grad is not None for parameter in network.parameters())


def test_a_replaced_layer_learns_what_a_linear_layer_does():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(8, 4))
    assert replace_linear_layers(network, bits=4) == ["0"]
    x = torch.randn(256, 8)
    target = x @ torch.randn(8, 4)
    optimizer = torch.optim.Adam(network.parameters(), lr=0.05)
    for _ in range(100):
        loss = (network(x) - target).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.3 * target.square().mean().item()


@pytest.mark.parametrize(("build", "message"), [
    (lambda: MemoryLayer(0, 4), "in_channels and tables must be >= 1, got 0 and 0"),
    (lambda: MemoryLayer(4, 0), "out_channels must be >= 1, got 0"),
    (lambda: SignHash(4, 1, 0), r"bits must lie in \[1, 24\], got 0"),
    (lambda: SignHash(4, 1, 25), r"bits must lie in \[1, 24\], got 25"),
    (lambda: MemoryLayer(9, 4, 2, 4), "2 tables of 4 bits read 8 channels, got 9"),
    (lambda: MemoryLayer(8, 4, weighting="softmax"), "weighting must be one of released, prob, cosine, got 'softmax'"),
    (lambda: MemoryLayer(8, 4, temperature=0.0), "temperature must be > 0, got 0.0"),
    (lambda: MemoryLayer(8, 4)(torch.rand(2, 7)), r"x must be \(..., 8\), got \(2, 7\)"),
])
def test_what_cannot_be_is_refused(build, message):
    with pytest.raises(ValueError, match=message):
        build()
