"""The parts of LMUFormer: memories, neurons, convolutions over time, and norms of real tokens."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from perception_plugins.lmuformer import LIF, LegendreMemory, impulse_response, legendre_matrices
from perception_plugins.lmuformer.norm import RealTokenNorm
from perception_plugins.lmuformer.streamed import Delay, TemporalConv, membranes_of, state_of

close = torch.testing.assert_close


def drawn(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def test_a_memory_of_one_coefficient_by_hand():
    """A_c = -1 / theta and B_c = 1 / theta, whose zero-order hold is exp(-1 / theta) and 1 - exp(-1 / theta)."""
    step, drive = legendre_matrices(1, 4.0)
    assert (step.item(), drive.item()) == (pytest.approx(math.exp(-0.25)), pytest.approx(1 - math.exp(-0.25)))


def test_the_memory_holds_a_constant_as_its_mean_alone():
    memory = LegendreMemory(6, 16)(torch.full((1, 200), 3.0))
    close(memory[0, -1], torch.tensor([3.0, 0, 0, 0, 0, 0]), atol=1e-4, rtol=0)


def test_polynomials_rebuild_a_slow_signal_from_the_memory():
    """The sample s steps ago is sum_i m_i P_i(2 s / theta - 1), up to the half step that a sample is held for."""
    theta = 64
    time = torch.arange(300.0)
    memory = LegendreMemory(8, theta)(torch.sin(time / 12)[None])[0, -1].double().numpy()
    ago = np.arange(0, theta, 8)
    rebuilt = np.polynomial.legendre.legval(2 * ago / theta - 1, memory)
    np.testing.assert_allclose(rebuilt, np.sin((299 + 0.5 - ago) / 12), atol=0.02)


def test_the_impulse_response_is_the_powers_of_the_step():
    step, drive = legendre_matrices(5, 9.0)
    columns = [drive]
    for _ in range(12):
        columns.append(step @ columns[-1])
    np.testing.assert_allclose(impulse_response(5, 9.0, 13), np.stack(columns, axis=1), atol=1e-6)


@pytest.mark.parametrize("length", [1, 2, 7, 16, 40])
@pytest.mark.parametrize("chunk", [1, 5, 64])
def test_both_forms_are_the_recurrence_for_any_length(length, chunk):
    signal = drawn(2, length)
    step, drive = (torch.from_numpy(part).float() for part in legendre_matrices(6, 10.0))
    memory, expected = torch.zeros(2, 6), []
    for sample in signal.unbind(1):
        memory = memory @ step.mT + sample[:, None] * drive
        expected.append(memory)
    for form in ("chunks", "fft"):
        found = LegendreMemory(6, 10.0, form=form, chunk=chunk)(signal)
        close(found, torch.stack(expected, dim=1), atol=2e-6, rtol=1e-5)


@pytest.mark.parametrize("form", ["chunks", "fft"])
def test_no_samples_leave_an_empty_memory(form):
    assert LegendreMemory(6, 10.0, form=form)(torch.zeros(2, 0)).shape == (2, 0, 6)


def test_a_memory_resumes_in_float32_under_autocast_and_leaves_what_it_is_given():
    memory, signal = LegendreMemory(6, 10.0), drawn(2, 9)
    first = memory.empty(signal)
    with torch.autocast("cpu", torch.bfloat16):
        behind, last = memory.resume(signal.bfloat16(), first)
    assert (behind.dtype, last.dtype) == (torch.float32, torch.float32)
    close(behind, memory(signal.bfloat16().float()))
    assert not first.any()


def test_a_neuron_fires_at_its_threshold_and_goes_on_from_its_membrane():
    """0.4 -> 0.3; -> 0.65 (spike, reset to 0)."""
    spikes, membrane = LIF(0.5)(torch.tensor([[[0.2], [1.0]]]), torch.tensor([[0.4]]))
    assert spikes.flatten().tolist() == [0, 1]
    close(membrane, torch.tensor([[0.0]]))


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("cuts", [[7], [1] * 7, [2, 4, 1], [3, 0, 4]])
def test_a_convolution_over_time_in_pieces_is_the_padded_one(causal, cuts):
    conv, x, state, parts = TemporalConv(3, 4, causal=causal), drawn(2, 7, 3), {}, []
    for part in x.split(cuts, dim=1):
        out, state = conv.stream(part, state)
        parts.append(out)
    parts.append(conv.stream(x[:, :0], state, last=True)[0])
    padding = (2, 0) if causal else (1, 1)
    expected = torch.nn.functional.conv1d(torch.nn.functional.pad(x.mT, padding), conv.conv.weight).mT
    assert parts[-1].shape[1] == (0 if causal else 1)
    close(torch.cat(parts, dim=1), expected)


def test_a_delay_gives_all_in_their_order():
    x, state, parts = drawn(1, 6, 2), {}, []
    for part in x.split([1, 3, 2], dim=1):
        out, state = Delay(2).stream(part, state)
        parts.append(out)
    assert [part.shape[1] for part in parts] == [0, 2, 2]
    parts.append(Delay(2).stream(x[:, :0], state, last=True)[0])
    assert torch.equal(torch.cat(parts, dim=1), x)


def test_parts_of_a_state_by_their_names():
    state = {"a.memory": torch.ones(1), "a.b.membrane": torch.zeros(1), "ab.memory": torch.ones(1)}
    assert set(state_of("a", state)) == {"memory", "b.membrane"}
    assert set(membranes_of(state)) == {"a.b.membrane"}


def test_statistics_are_those_of_real_tokens():
    tokens, mask = drawn(2, 6, 3) + 5, torch.rand(2, 6, generator=torch.Generator().manual_seed(2)) > 0.4
    ours, plain = RealTokenNorm(3), torch.nn.BatchNorm1d(3)
    found = ours(tokens, mask)
    close(found[mask], plain(tokens[mask]))
    assert not found[~mask].any()
    close(ours.norm.running_mean, plain.running_mean)
    close(ours.eval()(tokens, mask), plain.eval()(tokens.flatten(0, 1)).view_as(tokens))


@pytest.mark.parametrize(("build", "message"), [
    (lambda: legendre_matrices(0, 4.0), "memory must be >= 1 and theta > 0, got 0 and 4.0"),
    (lambda: LegendreMemory(4, 0), "got 4 and 0"),
    (lambda: LegendreMemory(4, 4, form="scan"), "form must be one of chunks, fft, got 'scan'"),
    (lambda: LegendreMemory(4, 4, chunk=0), "chunk must be >= 1, got 0"),
    (lambda: RealTokenNorm(4, "layer"), "norm must be \"batch\" or \"none\", got 'layer'"),
])
def test_what_cannot_be_is_refused(build, message):
    with pytest.raises(ValueError, match=message):
        build()
