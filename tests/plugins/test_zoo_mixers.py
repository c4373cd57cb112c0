"""What every mixer of the linear attention zoo promises: sizes, masks, dtypes, export, traits, operations, weights."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from zoo_mixers import BUILDERS, CHANNELS, HEADS, STREAMING, build, holes, tokens

from perception.engine.benchmark.flops import count_flops
from perception.models.mixers.traits import StreamingMixer
from perception_plugins.linear_attention_zoo import (
    LinearAttentionMixer,
    LinformerMixer,
    LongformerMixer,
    PerformerMixer,
    ReformerMixer,
)

close = torch.testing.assert_close
every_mixer = pytest.mark.parametrize("name", BUILDERS)
every_form = pytest.mark.parametrize(("name", "options"), [
    *((name, {}) for name in BUILDERS),
    *((name, {"causal": True}) for name in BUILDERS if not name.startswith("linformer")),      # which has no such form
], ids=str)


@every_form
def test_any_number_of_tokens_is_taken(name, options):
    mixer = build(name, **options)
    for count in (0, 1, 2, 7, 67, 130):
        y = mixer(tokens(count))
        assert y.shape == (2, count, CHANNELS)
        assert y.isfinite().all()
    assert mixer(tokens(5, batch=0)).shape == (0, 5, CHANNELS)


@every_form
def test_what_masked_tokens_hold_reaches_no_other_and_they_become_zero(name, options):
    mixer, x, mask = build(name, **options), tokens(23), holes(23)
    y = mixer(x, mask=mask)
    close(mixer(x.masked_fill(~mask[..., None], torch.nan), mask=mask), y)
    assert not y[~mask].any()
    assert y[mask].abs().min() > 0


@every_form
def test_a_sample_does_not_depend_on_those_beside_it(name, options):
    mixer, x, mask = build(name, **options), tokens(23), holes(23)
    both = mixer(x, mask=mask)
    close(torch.cat([mixer(x[i : i + 1], mask=mask[i : i + 1]) for i in range(2)]), both)


@every_form
def test_a_sample_without_real_tokens_gives_zeros_and_finite_gradients(name, options):
    mixer, x = build(name, **options), tokens(9).requires_grad_()
    mask = torch.tensor([[True] * 9, [False] * 9])
    y = mixer(x, mask=mask)
    y.square().sum().backward()
    assert not y[1].any()
    assert x.grad.isfinite().all()
    assert x.grad[0].abs().sum() > 0
    assert all(p.grad.isfinite().all() for p in mixer.parameters() if p.grad is not None)


@every_form
def test_gradients_are_those_of_small_differences(name, options):
    mixer, mask = build(name, **options), holes(9)
    x = tokens(9).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: mixer(x, mask=mask), (x,), fast_mode=True)


@every_mixer
def test_mixed_precision_stays_near_float32(name):
    mixer, x = build(name, torch.float32), tokens(23, dtype=torch.float32)
    expected = mixer(x)
    with torch.autocast("cpu", torch.bfloat16):
        y = mixer(x)
    assert y.dtype == torch.bfloat16
    far = (y - expected).abs() > 0.03 * expected.abs().max()
    assert far.double().mean() <= (0.3 if name == "reformer" else 0.0)     # rounding moves some vectors across a border


@every_mixer
def test_a_whole_model_of_bfloat16_runs(name):
    assert build(name, torch.bfloat16)(tokens(23, dtype=torch.bfloat16)).isfinite().all()


@every_form
def test_an_export_gives_the_same_of_other_tokens(name, options):
    mixer, mask = build(name, **options), holes(70)
    exported = torch.export.export(mixer, (tokens(70, seed=2), None, mask)).module()
    close(exported(tokens(70), None, mask), mixer(tokens(70), None, mask))


@every_mixer
def test_it_takes_a_scale_and_a_shift_of_its_tokens_over(name):
    mixer, x = build(name), tokens(23)
    scale, shift = tokens(2)[0].unbind()
    expected = mixer(scale * x + shift)
    mixer.absorb_affine(scale, shift)
    close(mixer(x), expected)


@every_mixer
def test_its_traits_are_true(name):
    mixer = build(name)
    assert mixer.TRAITS.streaming == isinstance(mixer, StreamingMixer) == (name in STREAMING)
    assert mixer.TRAITS.masked
    assert (mixer.TRAITS.causal == "option") == hasattr(mixer, "causal")
    assert mixer.TRAITS.cost == ("N log N" if name == "reformer" else "N")


@pytest.mark.parametrize(("build_mixer", "expected"), [
    (lambda: LinearAttentionMixer(64, heads=4), lambda N, C, h: 2 * N * C * C // h + 2 * N * C),
    (lambda: PerformerMixer(64, heads=4, features=20), lambda N, C, h: 4 * N * 20 * C + 2 * N * 20 * h),
    (lambda: LinformerMixer(64, heads=4, tokens=512, rank=24), lambda N, C, h: 4 * N * 24 * C),
    (                                                # the last term: weights are summed by a product, too
        lambda: ReformerMixer(64, heads=4, buckets=8, rounds=3, chunk=16),
        lambda N, C, h: 3 * (N * C * 4 + 4 * N * 16 * C) - N * C * C + 3 * 2 * N * 16 * h,
    ),
], ids=["linear", "performer", "linformer", "reformer"])
def test_operations_are_those_of_the_published_complexity(build_mixer, expected):
    mixer, x = build_mixer().eval(), torch.randn(1, 256, 64)
    with torch.no_grad():
        found = count_flops(lambda: mixer(x)) // 2
    assert found - 4 * 256 * 64**2 == expected(256, 64, 4)


def test_operations_of_a_longformer_grow_with_its_window_and_not_with_all_pairs():
    def cores(count: int, **options: int) -> int:
        mixer, x = LongformerMixer(64, heads=4, **options).eval(), torch.randn(1, count, 64)
        with torch.no_grad():
            return count_flops(lambda: mixer(x)) // 2 - 4 * count * 64**2

    published = 2 * 512 * (2 * 64 + 1) * 64
    assert published <= cores(512, window=64) < 1.5 * published
    assert cores(1024, window=64) == 2 * cores(512, window=64)
    shared = 2 * 512 * 4 * 64 + 2 * 4 * 512 * 64                  # logits and sums: local rows, global rows
    projected = 2 * 512 * 64**2 + 4 * 64**2
    assert cores(512, window=64, global_tokens=4) - cores(512, window=64) == shared + projected


@pytest.mark.parametrize(("name", "options", "extra"), [
    ("longformer", {}, 3 * CHANNELS**2 + 3 * CHANNELS),
    ("reformer", {}, -(CHANNELS**2 + CHANNELS)),
    ("linformer", {}, 2 * 6 * 200),
    ("linformer", {"share": "kv"}, 6 * 200),
    ("linformer", {"per_head": True}, 2 * HEADS * 6 * 200),
    ("linformer_shared", {}, HEADS * 6 * 200),
    ("performer", {}, 0),
    ("linear", {}, 0),
])
def test_parameters_beyond_those_of_plain_attention(name, options, extra):
    with torch.device("meta"):
        mixer = BUILDERS[name](**options)
    plain = 4 * CHANNELS**2 + 4 * CHANNELS
    assert sum(p.numel() for p in mixer.parameters()) == plain + extra


@every_mixer
def test_linear_layers_begin_small_and_without_biases(name):
    torch.manual_seed(0)
    for layer in BUILDERS[name]().modules():
        if isinstance(layer, nn.Linear):
            assert not layer.bias.any()
            assert 0.015 < layer.weight.std() < 0.025


@pytest.mark.parametrize(("build_mixer", "message"), [
    (lambda: LinearAttentionMixer(40), r"channels \(40\) must be divisible by head_channels \(32\)"),
    (lambda: LongformerMixer(16, heads=3), r"channels \(16\) must be divisible by heads \(3\)"),
    (lambda: LongformerMixer(16, heads=2, window=-1), "window must be >= 0, got -1"),
    (lambda: LongformerMixer(16, heads=2, dilation=0), "dilation must be >= 1, got 0"),
    (lambda: LongformerMixer(16, heads=2, global_tokens=-2), "global_tokens must be >= 0, got -2"),
    (lambda: ReformerMixer(16, heads=3), r"channels \(16\) must be divisible by heads \(3\)"),
    (lambda: ReformerMixer(16, heads=2, buckets=5), "buckets must be even and >= 2, got 5"),
    (lambda: ReformerMixer(16, heads=2, chunk=0), "chunk must be >= 1, got 0"),
    (lambda: ReformerMixer(16, heads=2, rounds=0), "rounds must be >= 1, got 0"),
    (lambda: LinformerMixer(16, heads=2, tokens=0), "tokens must be >= 1, got 0"),
    (lambda: LinformerMixer(16, heads=2, tokens=9, rank=0), "rank must be >= 1, got 0"),
    (lambda: LinformerMixer(16, heads=2, tokens=9, share="k"), "share must be \"none\" or \"kv\", got 'k'"),
    (lambda: LinformerMixer(16, heads=2, tokens=9)(torch.zeros(1, 10, 16)), "tokens=9 can take no more, got 10"),
    (lambda: PerformerMixer(16, heads=2, kind="exp"), "kind must be one of softmax, relu, got 'exp'"),
    (lambda: PerformerMixer(16, heads=2, features=0), "there must be >= 1 features, got 0"),
    (lambda: PerformerMixer(16, heads=2, lengths="one"), "lengths must be \"chi\" or \"sqrt\", got 'one'"),
])
def test_what_cannot_be_is_refused(build_mixer, message):
    with pytest.raises(ValueError, match=message):
        build_mixer()
