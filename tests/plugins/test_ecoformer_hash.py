"""EcoFormer's codes, how they are learned, and attention by them."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from perception_plugins.ecoformer import (
    HashAttention,
    HashLearningHook,
    KernelHash,
    SharedAttention,
    agreement_attention,
)
from perception_plugins.ecoformer.hash_learning import BitObjective, HashLearning, draw_anchors, find_pairs
from perception_plugins.ecoformer.kernel_hash import directions, kernel_features, straight_through_sign

close = torch.testing.assert_close
QUICK = {"steps": 5, "learning_rate": 0.05}


def unit_tokens(*shape: int, seed: int = 0) -> Tensor:
    return directions(torch.randn(shape, generator=torch.Generator().manual_seed(seed)))


def learned_attention(channels: int = 16, **options) -> HashAttention:
    """In evaluation, with hash functions that have learned."""
    torch.manual_seed(0)
    mixer = HashAttention(channels, **{"heads": 2, "anchors": 6, "learning": QUICK, **options})
    mixer.train()(torch.randn(2, 20, channels))
    return mixer.eval()


def test_the_sign_passes_the_gradient_where_it_is_near():
    x = torch.tensor([-2.0, -1.0, -0.5, 0.0, 0.5, 1.0], requires_grad=True)
    codes = straight_through_sign(x)
    codes.sum().backward()
    assert codes.tolist() == [-1, -1, -1, 0, 1, 1]
    assert x.grad.tolist() == [0, 0, 1, 1, 1, 0]


def test_a_token_of_zeros_has_no_direction_and_no_gradient():
    tokens = torch.tensor([[3.0, 4.0], [0.0, 0.0]], requires_grad=True)
    units = directions(tokens)
    (units * torch.tensor([1.0, 2.0])).sum().backward()
    close(units, torch.tensor([[0.6, 0.8], [0.0, 0.0]]))
    assert tokens.grad[1].tolist() == [0, 0]
    assert tokens.grad.isfinite().all()


def test_the_kernel_by_its_formula():
    units, anchors = unit_tokens(2, 3, 7, 4), unit_tokens(1, 3, 5, 4, seed=1)
    distances = (units[:, :, :, None] - anchors[:, :, None]).square().sum(dim=4)
    width = distances.mean(dim=(2, 3), keepdim=True)
    close(kernel_features(units, anchors), torch.exp(-distances / (2 * width)))


def test_tokens_that_are_all_alike_have_a_kernel_too():
    units = unit_tokens(1, 16, 1, 32).expand(1, 16, 50, 32)
    features = kernel_features(units, units[:, :, :5])
    assert (features >= 0).all()
    assert (features <= 1).all()


@given(tokens=st.integers(1, 9), heads=st.integers(1, 3), exact=st.booleans(), seed=st.integers(0, 99))
@settings(max_examples=30)
def test_attention_by_codes_is_that_of_its_kernel(tokens, heads, exact, seed):
    draw = torch.Generator().manual_seed(seed)
    codes = torch.randint(-1, 2, (2, heads, tokens, 5), generator=draw).double()
    values = torch.randn(2, heads, tokens, 4, generator=draw, dtype=torch.float64)
    agreement = codes @ codes.transpose(2, 3)
    total = (agreement + 6).sum(dim=3, keepdim=True)
    own = values.sum(dim=2, keepdim=True) if exact else values
    assert (agreement + 6 >= 1).all()
    close(agreement_attention(codes, values, exact_offset=exact), (agreement @ values + 6 * own) / total)


def test_with_the_exact_offset_each_output_is_a_mean_of_the_values():
    values = torch.rand(1, 1, 12, 3)
    codes = straight_through_sign(torch.randn(1, 1, 12, 8))
    mixed = agreement_attention(codes, values, exact_offset=True)
    assert (mixed <= values.amax(dim=2, keepdim=True) + 1e-6).all()
    assert (mixed >= values.amin(dim=2, keepdim=True) - 1e-6).all()


@pytest.mark.parametrize("exact_offset", [False, True])
def test_a_padded_set_is_as_if_it_ended_there(exact_offset):
    mixer = learned_attention(exact_offset=exact_offset)
    x = torch.randn(2, 11, 16)
    padded = torch.cat([x, torch.full((2, 4, 16), torch.nan)], dim=1)
    mask = torch.arange(15).expand(2, 15) < 11
    with torch.no_grad():
        out = mixer(padded, mask=mask)
        close(out[:, :11], mixer(x), atol=1e-5, rtol=1e-5)
    assert not out[:, 11:].any()


def test_a_set_without_a_real_token_gives_zeros_and_finite_gradients():
    mixer = learned_attention()
    x = torch.randn(2, 5, 16, requires_grad=True)
    out = mixer(x, mask=torch.tensor([[True] * 5, [False] * 5]))
    out.square().sum().backward()
    assert not out[1].any()
    assert x.grad.isfinite().all()
    assert all(parameter.grad.isfinite().all() for parameter in mixer.parameters())


def test_a_picture_does_not_depend_on_the_others_of_its_batch():
    mixer, x = learned_attention(), torch.randn(3, 9, 16)
    with torch.no_grad():
        close(mixer(x)[1:2], mixer(x[1:2]), atol=1e-5, rtol=1e-5)


def test_twice_the_tokens_cost_twice_the_operations():
    def operations(tokens: int) -> int:
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            mixer(torch.randn(1, tokens, 16))
        return counter.get_total_flops()

    mixer = learned_attention()
    assert operations(512) == 2 * operations(256) > 0


def test_softmax_attention_whose_queries_are_its_keys_by_hand():
    mixer, x = SharedAttention(8, heads=2), torch.randn(1, 5, 8)
    qk, v = (to(x).view(1, 5, 2, 4).transpose(1, 2) for to in (mixer.to_qk, mixer.to_v))
    mixed = (qk @ qk.transpose(2, 3) / 2).softmax(dim=3) @ v
    close(mixer(x), mixer.out_proj(mixed.transpose(1, 2).reshape(1, 5, 8)))


def test_pairs_are_the_most_and_the_least_similar_tokens_of_each():
    angles = torch.tensor([0.0, 0.1, 0.3, 1.5, 2.0, 2.8])
    units = torch.stack([angles.cos(), angles.sin()], dim=1)[None, None]                   # (1, 1, 6, 2)
    expected = torch.tensor([
        [1.0, 1, 0, 0, -1, -1], [1, 1, 0, 0, -1, -1], [0, 1, 1, 0, -1, -1],
        [-1, -1, 0, 1, 1, 0], [-1, -1, 0, 1, 1, 0], [-1, -1, 0, 0, 1, 1],
    ])
    close(find_pairs(units, 2).dense()[0, 0], expected)


def test_a_token_among_both_the_most_and_the_least_similar_is_to_differ():
    assert find_pairs(unit_tokens(1, 1, 3, 4), 9).dense().unique().tolist() == [-1.0]


def dense_loss(objective: BitObjective, bit: Tensor) -> Tensor:
    """The loss by the matrix that it is defined by."""
    left = objective.bits * objective.pairs.dense()
    for code in objective.codes:
        left = left - code[..., :, None] * code[..., None, :]
    explained = torch.einsum("bhn,bhnk,bhk->bh", bit, left, bit)
    return -(explained / (objective.counts * objective.bits)).mean()


def some_objective(mask: Tensor | None) -> tuple[BitObjective, Tensor]:
    """Of the third bit, in float64."""
    units = unit_tokens(2, 3, 12, 4).double()
    anchors, a = units[:1, :, :5], torch.randn(3, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    features = kernel_features(units, anchors, mask) - 0.6
    objective = BitObjective(features, find_pairs(units, 3, mask), 4, mask)
    objective.codes = [objective.hard(-a), objective.hard(a.flip(1))]
    return objective, a.requires_grad_()


MASKS = [None, torch.arange(12).expand(2, 12) < torch.tensor([[12], [8]])]


@pytest.mark.parametrize("mask", MASKS, ids=["all", "masked"])
def test_the_loss_of_a_bit_and_its_gradient_are_those_of_the_whole_matrix(mask):
    objective, a = some_objective(mask)
    bit = objective.soft(a)
    expected = dense_loss(objective, bit)
    close(objective.loss(bit), expected)
    close(objective.gradient(bit.detach()), torch.autograd.grad(expected, a)[0])


@torch.no_grad()
def test_no_bit_explains_less_than_the_one_it_began_with():
    units, start = unit_tokens(2, 2, 40, 8), torch.randn(2, 4, 10, generator=torch.Generator().manual_seed(2))
    features = kernel_features(units, units[:1, :, :10])
    learned = HashLearning(5, 50, 0.05).fit(units, features, start)
    objective = BitObjective(features - learned.mean, find_pairs(units, 5), 4)
    for bit in range(4):
        loss_before, loss_after = (
            objective.loss(objective.hard(a[:, bit])) for a in (start, learned.projections)
        )
        assert loss_after <= loss_before
        objective.codes.append(learned.codes[..., bit])
    assert not torch.equal(learned.projections, start)


def test_codes_of_tokens_of_one_kind_agree_more_than_those_of_others():
    torch.manual_seed(0)
    kinds = torch.arange(60) % 3
    tokens = torch.randn(3, 8)[kinds][None, None] + 0.2 * torch.randn(1, 1, 60, 8)
    kernel_hash = KernelHash(1, 8, anchors=12, learning={"neighbours": 10, "steps": 30, "learning_rate": 0.05})
    codes = kernel_hash.train()(tokens)[0, 0]
    agreement, same = codes @ codes.T, kinds[:, None] == kinds
    assert agreement[same].mean() > 8
    assert agreement[~same].mean() < 2


def test_learning_under_a_mask_is_learning_without_the_masked_tokens():
    short, padded = KernelHash(2, 4, bits=4, anchors=5, learning=QUICK), KernelHash(
        2, 4, bits=4, anchors=5, learning=QUICK
    )
    padded.load_state_dict(short.state_dict())
    tokens = torch.randn(1, 2, 14, 4)
    longer = torch.cat([torch.randn(1, 2, 3, 4), tokens], dim=2)
    mask = torch.arange(17)[None] >= 3
    short(tokens)
    padded(longer, mask)
    for name, value in short.state_dict().items():
        close(padded.state_dict()[name], value, atol=1e-5, rtol=1e-5)
        assert value.any()


def test_learning_from_the_first_samples_leaves_the_others_out():
    options = {"bits": 4, "anchors": 5}
    few = KernelHash(2, 4, **options, learning={**QUICK, "samples": 2})
    every = KernelHash(2, 4, **options, learning=QUICK)
    every.load_state_dict(few.state_dict())
    tokens = torch.randn(5, 2, 14, 4)
    few(tokens)
    every(tokens[:2])
    for name, value in few.state_dict().items():
        assert torch.equal(every.state_dict()[name], value)


def test_anchors_are_tokens_of_the_first_picture_and_use_up_no_random_numbers():
    units, state = unit_tokens(2, 3, 9, 4), torch.get_rng_state()
    anchors = draw_anchors(units, 5)
    assert torch.equal(torch.get_rng_state(), state)
    match = (anchors[0, :, :, None] == units[0, :, None]).all(dim=3)                       # (heads, 5, 9)
    assert torch.equal(match, match[:1].expand_as(match))
    assert match.sum(dim=2).eq(1).all()
    assert match.sum(dim=1).le(1).all()


def test_fewer_tokens_than_anchors_are_drawn_several_times():
    mixer = HashAttention(16, heads=2, learning=QUICK).train()
    mixer(torch.randn(1, 3, 16))
    assert len(mixer.hash.anchors[0, 0].unique(dim=0)) == 3


def buffers(mixer: HashAttention) -> list[Tensor]:
    return [value.clone() for value in mixer.hash.state_dict().values()]


def test_hash_functions_learn_from_the_first_batch_in_training_alone():
    mixer, x = HashAttention(16, heads=2, anchors=6, learning=QUICK), torch.randn(2, 20, 16)
    mixer.eval()(x)
    assert not mixer.hash.anchors.any()
    mixer.train()(x)
    learned = buffers(mixer)
    assert mixer.hash.anchors.any()
    mixer(torch.randn(2, 20, 16))
    assert all(map(torch.equal, buffers(mixer), learned))
    mixer.hash.learn_anew()
    mixer(torch.randn(2, 20, 16))
    assert not torch.equal(mixer.hash.anchors, learned[-1])


def test_what_was_learned_comes_with_the_weights():
    learned, other = learned_attention(), HashAttention(16, heads=2, anchors=6, learning=QUICK)
    other.load_state_dict(HashAttention(16, heads=2, anchors=6).state_dict())
    assert other.hash.due
    other.load_state_dict(learned.state_dict())
    other.train()(torch.randn(2, 20, 16))
    assert all(map(torch.equal, buffers(other), buffers(learned)))


def test_the_hook_has_them_learn_again_in_its_intervals():
    model, hook = nn.Sequential(KernelHash(1, 4), KernelHash(1, 4)), HashLearningHook(interval=3, begin=2)
    told = []
    for iteration in range(9):
        for kernel_hash in model:
            kernel_hash.due = False
        hook.before_train_iter(SimpleNamespace(iter=iteration, model=model), 0)
        assert model[0].due == model[1].due
        if model[0].due:
            told.append(iteration)
    assert told == [2, 5, 8]


def test_steps_that_diverge_are_told():
    mixer = HashAttention(16, heads=2, learning=QUICK).train()
    with pytest.raises(FloatingPointError, match="learning bit 0 of the hash functions diverged"):
        mixer(torch.full((1, 20, 16), torch.nan))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_codes_are_computed_in_float32_under_autocast(dtype):
    mixer, seen = learned_attention(), []
    mixer.hash.register_forward_hook(lambda module, inputs, codes: seen.append((inputs[0].dtype, codes.dtype)))
    with torch.autocast("cpu", dtype):
        out = mixer(torch.randn(1, 9, 16))
    assert seen == [(torch.float32, torch.float32)]
    assert out.dtype == dtype


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_a_network_of_another_dtype_keeps_it(dtype):
    mixer = learned_attention().to(dtype)
    assert mixer(torch.randn(1, 9, 16, dtype=dtype)).dtype == dtype


@pytest.mark.parametrize(("build", "message"), [
    (lambda: HashAttention(40), r"channels \(40\) must be divisible by head_channels \(32\)"),
    (lambda: HashAttention(40, heads=3), r"channels \(40\) must be divisible by heads \(3\)"),
    (lambda: KernelHash(1, 4, bits=0), "bits must be >= 1, got 0"),
    (lambda: KernelHash(1, 4, anchors=0), "anchors must be >= 1, got 0"),
    (lambda: HashLearning(neighbours=0), "neighbours must be >= 1, got 0"),
    (lambda: HashLearning(steps=0), "steps must be >= 1, got 0"),
    (lambda: HashLearning(samples=0), "samples must be >= 1, got 0"),
    (lambda: HashLearning(learning_rate=0.0), r"learning_rate must be > 0, got 0\.0"),
    (lambda: HashLearning(momentum=1.0), r"momentum must lie in \(0, 1\), got 1\.0"),
    (lambda: HashLearningHook(interval=0), "interval must be >= 1, got 0"),
    (lambda: HashLearningHook(interval=1, begin=-1), "begin must be >= 0, got -1"),
])
def test_what_cannot_be_is_refused(build, message):
    with pytest.raises(ValueError, match=message):
        build()
