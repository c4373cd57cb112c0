"""Gated recurrent units over tokens."""

from __future__ import annotations

import pytest
import torch

from perception.models.mixers.recurrent import RecurrentMixer

close = torch.testing.assert_close


def mixer(channels: int = 6, **options: int) -> RecurrentMixer:
    torch.manual_seed(0)
    return RecurrentMixer(channels, **options)


def test_one_unit_by_hand():
    unit = mixer(1)
    weights = {"weight_ih_l0": [[0.5], [-1.0], [2.0]], "weight_hh_l0": [[1.0], [0.5], [-1.0]]}     # reset, update, new
    for name, value in weights.items():
        getattr(unit.gru, name).data = torch.tensor(value)
    unit.gru.bias_ih_l0.data.zero_()
    unit.gru.bias_hh_l0.data.zero_()
    x, h = torch.tensor([1.0, -2.0]), torch.tensor(0.0)
    expected = []
    for token in x:
        reset, update = torch.sigmoid(0.5 * token + h), torch.sigmoid(-token + 0.5 * h)
        new = torch.tanh(2.0 * token + reset * -h)
        h = (1 - update) * new + update * h
        expected.append(h)
    close(unit(x.view(1, 2, 1)).flatten(), torch.stack(expected))


@pytest.mark.parametrize("layers", [1, 2])
def test_masked_tokens_are_stepped_over(layers):
    unit, x = mixer(layers=layers), torch.randn(2, 7, 6)
    mask = torch.tensor([[True, False, True, True, False, False, True], [False] * 7])
    out = unit(x, mask=mask)
    close(out[0, mask[0]], unit(x[:1, mask[0]])[0])
    assert not out[~mask].any()


def test_it_takes_no_token_one_token_and_float64():
    assert mixer()(torch.zeros(2, 0, 6)).shape == (2, 0, 6)
    assert mixer()(torch.zeros(2, 0, 6), mask=torch.zeros(2, 0, dtype=torch.bool)).shape == (2, 0, 6)
    assert mixer()(torch.zeros(2, 1, 6)).shape == (2, 1, 6)
    unit, x = mixer().double(), torch.randn(2, 5, 6, dtype=torch.float64)
    out, state = unit.stream(x)
    assert {out.dtype, state["hidden"].dtype} == {torch.float64}
    close(out, mixer()(x.float()).double(), atol=1e-6, rtol=1e-6)


def test_under_bfloat16_the_state_is_exact():
    unit, x = mixer(), torch.randn(2, 50, 6)
    with torch.autocast("cpu", torch.bfloat16):
        out, state = unit.stream(x)
    close(out, unit(x))
    assert state["hidden"].dtype == torch.float32


def test_a_net_without_layers_is_refused():
    with pytest.raises(ValueError, match="layers must be >= 1, got 0"):
        mixer(layers=0)
