"""The parts of ATLAS: orthogonal steps, features, gradients in closed form, and the special cases of its definition."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from perception_plugins.atlas import AtlasMixer, newton_schulz, polynomial_features
from perception_plugins.atlas.memories import MEMORIES, gelu_slope
from perception_plugins.atlas.scan import pieces
from perception_plugins.atlas.updates import Decay, window_band

close = torch.testing.assert_close
D = 4


def seeded(*shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)), dtype=dtype)


def test_features_of_two_numbers_by_hand():
    found = polynomial_features(torch.tensor([2.0, 3.0]), torch.tensor([1.0, 10.0, 100.0]))
    close(found, torch.tensor([1.0, 20, 30, 400, 600, 600, 900]))


@pytest.mark.parametrize("degree", [1, 2])
def test_products_of_features_begin_as_the_series_of_the_exponential(degree):
    coefficients = AtlasMixer(8, heads=2, degree=degree).poly_coef.detach().double()
    a, b = seeded(3, D), seeded(2, 3, D)[0]
    found = (polynomial_features(a, coefficients) * polynomial_features(b, coefficients)).sum(dim=1)
    dot = (a * b).sum(dim=1)
    close(found, sum(dot**power / math.factorial(power) for power in range(degree + 1)), atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("shape", [(5, 9), (9, 5), (6, 6), (1, 7)])
def test_singular_values_end_near_one_and_vectors_stay(shape):
    matrix = seeded(*shape)
    u, values, v = torch.linalg.svd(matrix, full_matrices=False)
    found = newton_schulz(matrix)
    moved = (u.mT @ found @ v.mT).diagonal()
    close(u @ moved.diag() @ v, found)
    assert (moved[values > values.max() / 10] > 0.65).all()
    assert (moved < 1.25).all()


def test_a_step_from_nothing_is_nothing_with_a_finite_gradient():
    zeros = torch.zeros(2, 3, 4, requires_grad=True)
    out = newton_schulz(zeros)
    out.sum().backward()
    assert not out.any()
    assert zeros.grad.isfinite().all()


def test_the_slope_of_gelu_is_its_derivative():
    x = torch.linspace(-6, 6, 101, dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(F.gelu(x).sum(), x)
    close(gelu_slope(x), slope)


@pytest.mark.parametrize("kind", ["mlp", "linear"])
def test_the_gradients_in_closed_form_are_those_of_autograd(kind):
    memory, features = MEMORIES[kind], seeded(2, 3, 5, 7)
    weights = [seeded(2, 3, *shape).requires_grad_() for shape in memory.shapes(D, 7, 6)]
    keys, values, importance = seeded(2, 3, 5, D), seeded(2, 3, 5, D + 1)[..., 1:], seeded(2, 3, 5).sigmoid()
    read = memory.read(lambda number, x: x @ weights[number].mT, keys, features)
    loss = (importance[..., None] * (read - values).square()).sum()
    for found, expected in zip(
        memory.gradients(weights, keys, features, values, importance), torch.autograd.grad(loss, weights), strict=True
    ):
        close(found.left.mT @ found.right, expected)


def test_decays_between_tokens_are_products_of_their_factors():
    factors = torch.tensor([0.5, 0.25, 0.8, 1.0])
    decay = Decay(factors.log()[None, None])
    close(decay.from_start[0, 0], factors.cumprod(0))
    close(decay.between[0, 0], torch.tensor([[1.0, 0, 0, 0], [0.25, 1, 0, 0], [0.2, 0.8, 1, 0], [0.2, 0.8, 1, 1]]))


def test_a_window_reaches_back_to_the_tokens_before_the_piece():
    band = window_band(3, 2, torch.ones(1))
    assert band.tolist() == [[1, 1, 0, 0], [0, 1, 1, 0], [0, 0, 1, 1]]


@pytest.mark.parametrize(("count", "chunk", "phase", "expected"), [
    (5, 2, 0, [(0, 2, True), (2, 4, True), (4, 5, True)]),
    (5, 4, 3, [(0, 1, False), (1, 5, True)]),
    (2, 4, 1, [(0, 2, False)]),
    (3, 1, 0, [(0, 1, True), (1, 2, True), (2, 3, True)]),
])
def test_pieces_end_where_chunks_of_the_scene_do(count, chunk, phase, expected):
    assert list(pieces(count, chunk, phase)) == expected


def inner(mixer: AtlasMixer, x: Tensor) -> tuple[Tensor, ...]:
    """Queries, keys and values (B, heads, N, D) and the four gates (B, heads, N), written out token by token."""
    tokens = []
    for proj, conv in ((mixer.q_proj, mixer.conv_q), (mixer.k_proj, mixer.conv_k), (mixer.v_proj, mixer.conv_v)):
        rows, taps = proj(x), conv.weight[:, 0]                                            # (C, K)
        mixed = [
            sum(taps[:, -1 - back] * rows[:, t - back] for back in range(taps.shape[1]) if back <= t)
            for t in range(x.shape[1])
        ]
        tokens.append(F.silu(torch.stack(mixed, dim=1)).unflatten(2, (mixer.heads, -1)).transpose(1, 2))
    q, k = (rows / rows.norm(dim=3, keepdim=True) for rows in tokens[:2])
    gates = [gate(x).sigmoid().transpose(1, 2) for gate in (
        mixer.alpha_proj, mixer.eta_proj, mixer.theta_proj, mixer.gamma_proj
    )]
    return q, k, tokens[2], gates[0], mixer.eta_max * gates[1], gates[2], gates[3]


def slow_reads(mixer: AtlasMixer, x: Tensor) -> Tensor:
    """The definition, one token after another, its gradients by autograd."""
    q, k, v, alpha, eta, theta, gamma = inner(mixer, x)
    scan, memory = mixer.scan, MEMORIES[mixer.scan.memory]
    weights = [mixer.get_parameter(name).detach()[None].repeat(len(x), 1, 1, 1) for name in mixer.memory_names]
    momenta, reference, reads = [torch.zeros_like(w) for w in weights], weights, []
    for t in range(x.shape[1]):
        reference = weights if t % scan.chunk == 0 else reference
        free, loss = [w.clone().requires_grad_() for w in reference], torch.zeros(())
        for i in range(max(t - scan.window + 1, 0), t + 1):
            key = k[:, :, i : i + 1]
            features = polynomial_features(key, mixer.poly_coef)
            guess = memory.read(lambda number, z, free=free: z @ free[number].mT, key, features)
            loss = loss + (gamma[:, :, i] * (guess[:, :, 0] - v[:, :, i]).square().sum(dim=2)).sum()
        for number, grad in enumerate(torch.autograd.grad(loss, free)):
            carry = 0.0 if scan.optimizer == "gd" else theta[:, :, t, None, None]
            momenta[number] = carry * momenta[number] + grad
        steps = [newton_schulz(s) if scan.optimizer == "muon" else s for s in momenta]
        weights = [
            alpha[:, :, t, None, None] * w - eta[:, :, t, None, None] * s for w, s in zip(weights, steps, strict=True)
        ]
        asked = q[:, :, t : t + 1]
        features = polynomial_features(asked, mixer.poly_coef)
        reads.append(memory.read(lambda number, z, w=weights: z @ w[number].mT, asked, features))
    return torch.cat(reads, dim=2)


@pytest.mark.parametrize("optimizer", ["muon", "momentum", "gd"])
@pytest.mark.parametrize(("memory", "window", "chunk", "degree"), [
    ("mlp", 3, 1, 1), ("mlp", 4, 3, 2), ("linear", 1, 4, 2), ("linear", 5, 2, 1),
])
def test_all_tokens_at_once_equal_the_definition(optimizer, memory, window, chunk, degree):
    torch.manual_seed(0)
    mixer = AtlasMixer(
        8, heads=2, window=window, chunk=chunk, degree=degree, memory=memory, optimizer=optimizer, hidden=3
    ).double()
    x = seeded(2, 7, 8)
    close(mixer.read(x)[0], slow_reads(mixer, x).detach(), atol=1e-9, rtol=1e-9)


def test_one_token_of_window_a_linear_memory_and_no_momentum_are_the_gated_delta_rule():
    torch.manual_seed(0)
    mixer = AtlasMixer(8, heads=1, window=1, chunk=1, degree=1, memory="linear", optimizer="gd").double()
    x = seeded(1, 5, 8)
    q, k, v, alpha, eta, _, gamma = (part[0, 0] for part in inner(mixer, x))
    weight, reads = mixer.mem_w[0], []
    for t in range(5):
        key, asked = (polynomial_features(z[t], mixer.poly_coef) for z in (k, q))
        weight = alpha[t] * weight + 2 * eta[t] * gamma[t] * torch.outer(v[t] - weight @ key, key)
        reads.append(weight @ asked)
    close(mixer.read(x)[0][0, 0], torch.stack(reads))


def test_without_steps_the_memory_stays_and_only_queries_count():
    mixer = AtlasMixer(8, heads=2, eta_max=0.0, chunk=2)
    torch.nn.init.constant_(mixer.alpha_proj.bias, 40.0)     # a gate of 1
    x = seeded(1, 6, 8, dtype=torch.float32)
    state = mixer.read(x)[1]
    close(state["W0"][0], mixer.mem_w1)
    before = mixer(x)
    torch.nn.init.normal_(mixer.k_proj.weight)
    torch.nn.init.normal_(mixer.v_proj.weight)
    close(mixer(x), before)


def test_a_window_beyond_the_sequence_takes_all_tokens_so_far():
    torch.manual_seed(0)
    wide = AtlasMixer(8, heads=2, window=100, chunk=1, optimizer="gd", memory="linear", eta_max=0.01).double()
    exact = AtlasMixer(8, heads=2, window=6, chunk=1, optimizer="gd", memory="linear", eta_max=0.01).double()
    exact.load_state_dict(wide.state_dict())
    x = seeded(2, 6, 8)
    close(wide(x), exact(x))


def test_momentum_that_forgets_at_once_is_none():
    torch.manual_seed(0)
    one, other = (
        AtlasMixer(8, heads=2, window=3, chunk=4, optimizer=name).double() for name in ("momentum", "gd")
    )
    other.load_state_dict(one.state_dict())
    for mixer in (one, other):
        torch.nn.init.constant_(mixer.theta_proj.bias, -60.0)
    x = seeded(2, 9, 8)
    close(one(x), other(x))
