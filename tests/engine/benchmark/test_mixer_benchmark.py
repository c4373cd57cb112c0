"""Token mixers by numbers of tokens: what is run, what it is expected to take, and the exponents."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from perception.engine.benchmark.memory import peak_mib
from perception.engine.benchmark.scaling import fitted_exponent
from perception.engine.benchmark.setting import Setting
from perception.engine.benchmark.token_mixers import (
    EXPLICIT,
    FUSED,
    ExplicitAttention,
    MixerSetup,
    benchmark_mixers,
    expected_peak,
    map_size,
    mixer_kinds,
)
from perception.errors import ConfigError
from perception.models.mixers.attention import AttentionMixer

CPU = torch.device("cpu")
SETTING = Setting(torch.float32, CPU, gbps=10.0, gflops=100.0)


@pytest.mark.parametrize("power", [0.0, 1.0, 1.5, 2.0])
def test_the_exponent_of_a_power_is_found(power):
    tokens = 256 * 2.0 ** np.arange(7)
    assert fitted_exponent(tokens, 3e-4 * tokens**power) == pytest.approx(power)


def test_the_exponent_is_that_of_the_upper_half():
    tokens = 256 * 2.0 ** np.arange(7)
    times = np.where(tokens < 2048, 1.0, tokens**2)                # what a call costs at least, then what tokens cost
    assert fitted_exponent(tokens, times) == pytest.approx(2.0)
    assert fitted_exponent(tokens[:6], times[:6]) == pytest.approx(2.0)      # 3 of 6, 4 of 7
    assert fitted_exponent([1, 2, 4], [5.0, 1.0, 2.0]) == pytest.approx(1.0)


def test_noise_is_averaged():
    tokens = 256 * 2.0 ** np.arange(7)
    noise = np.exp(np.array([0.0, 0.0, 0.0, 0.1, -0.1, -0.1, 0.1]))
    assert fitted_exponent(tokens, tokens * noise) == pytest.approx(1.0)


@pytest.mark.parametrize(("tokens", "values"), [([], []), ([256], [1.0]), ([256, 512, 1024], [1.0, 0.0, 2.0])])
def test_without_two_values_above_0_there_is_no_exponent(tokens, values):
    assert fitted_exponent(tokens, values) is None


def test_memory_is_expected_to_grow_as_a_line_and_a_square():
    law = {tokens: 2.0 * tokens + 0.5 * tokens**2 for tokens in (16, 64, 128)}
    assert expected_peak(law, 1024) == pytest.approx(2.0 * 1024 + 0.5 * 1024**2)
    assert expected_peak({64: 64.0, 128: 100.0}, 256) == pytest.approx(200.0)      # never less than in proportion


@pytest.mark.parametrize(("tokens", "size"), [(1, (1, 1)), (256, (16, 16)), (512, (16, 32)), (97, (1, 97))])
def test_maps_are_as_square_as_can_be(tokens, size):
    assert map_size(tokens) == size


def test_explicit_attention_equals_the_fused_one_and_holds_all_weights():
    fused, explicit = AttentionMixer(32, heads=2).eval(), ExplicitAttention(32, heads=2).eval()
    explicit.load_state_dict(fused.state_dict())
    x = torch.randn(1, 256, 32)
    with torch.inference_mode():
        torch.testing.assert_close(explicit(x), fused(x), atol=1e-6, rtol=1e-4)
        weights_mib = 4 * 2 * 256**2 / 2**20
        assert peak_mib(lambda: explicit(x), CPU) > 2 * weights_mib
        assert peak_mib(lambda: fused(x), CPU) < 2 * weights_mib


def test_mixers_are_timed_at_every_number_of_tokens_beside_both_forms_of_softmax():
    kinds = mixer_kinds(["PoolingMixer", "SpatialLinearMixer", "GroupAttention"])
    rows = benchmark_mixers(kinds, SETTING, sizes=[64, 16, 32], channels=16, heads=2, repeats=1)
    assert [(row.name, row.size) for row in rows] == [(name, tokens) for name in kinds for tokens in (16, 32, 64)]
    assert list(kinds) == [FUSED, EXPLICIT, "PoolingMixer", "SpatialLinearMixer", "GroupAttention"]
    fused = {row.size: row for row in rows if row.name == FUSED}
    assert all(row.reference_ms == fused[row.size].ms and row.peak_mib > 0 for row in rows)
    assert all(len({row.time_exponent for row in rows if row.name == name}) == 1 for name in kinds)
    memory = {row.name: row.memory_exponent for row in rows}
    assert memory["PoolingMixer"] == pytest.approx(1.0, abs=0.05)      # a few tensors like the tokens
    assert {row.name: row.gflop is not None for row in rows} == {name: name != "PoolingMixer" for name in kinds}


def test_a_mixer_stops_where_memory_would_pass_the_limit(caplog: pytest.LogCaptureFixture):
    kinds, sizes = mixer_kinds([]), [64, 128, 256, 512]
    limit = MixerSetup(16, 2, SETTING).peak(ExplicitAttention, 256) * 1.5 / 1024
    rows = benchmark_mixers(kinds, SETTING, sizes=sizes, channels=16, heads=2, memory_gib=limit, repeats=1)
    assert [row.size for row in rows if row.name == FUSED] == sizes
    assert [row.size for row in rows if row.name == EXPLICIT] == [64, 128, 256]
    assert "softmax, two products stops before 512 tokens, which would take 0.0" in caplog.text


def test_where_all_stop_there_are_no_rows():
    assert benchmark_mixers(mixer_kinds([]), SETTING, sizes=[16, 32, 64], memory_gib=1e-9, repeats=1) == []


def test_under_bfloat16_rows_say_so():
    setting = Setting(torch.bfloat16, CPU, gbps=10.0, gflops=100.0)
    rows = benchmark_mixers(mixer_kinds(["PoolingMixer"]), setting, sizes=[16, 32, 64], channels=16, repeats=1)
    assert {row.dtype for row in rows} == {"bfloat16"}


def test_unknown_mixers_and_widths_that_do_not_fit_are_told():
    with pytest.raises(ConfigError, match=r'no token mixer "PolingMixer" \(did you mean "PoolingMixer"\?\); there are'):
        mixer_kinds(["PolingMixer"])
    with pytest.raises(ConfigError, match=r"AttentionMixer: channels \(16\) must be divisible by heads \(3\)"):
        benchmark_mixers(mixer_kinds([]), SETTING, sizes=[16, 32, 64], channels=16, heads=3, repeats=1)


def test_a_word_stands_for_every_mixer_or_for_those_that_claim_linear_cost():
    every, linear = (set(mixer_kinds([word])) for word in ("all", "linear"))
    assert {"PoolingMixer", "GroupAttention", "SpatialLinearMixer"} <= every
    assert linear < every
    assert "PoolingMixer" in linear
    assert not {"GroupAttention", "SpatialLinearMixer", "AttentionMixer"} & linear


def test_weights_count_towards_the_limit():
    kinds = {"SpatialLinearMixer": mixer_kinds(["SpatialLinearMixer"])["SpatialLinearMixer"]}
    rows = benchmark_mixers(kinds, SETTING, sizes=[64, 128, 256, 2048], channels=8, memory_gib=0.01, repeats=1)
    assert [row.size for row in rows] == [64, 128, 256]    # 2048 x 2048 weights are 16 MiB
