"""Manhattan self-attention: its tables by hand, its two forms, and as a token mixer with tokens that are not real."""

from __future__ import annotations

import logging
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from perception.registry import MODELS, list_registered
from perception_plugins.rmt import DecomposedManhattanAttention, ManhattanAttention
from perception_plugins.rmt.attention import attend
from perception_plugins.rmt.position import DecayPosition

MIXERS = (ManhattanAttention, DecomposedManhattanAttention)
close = torch.testing.assert_close


def mixer_of(kind: type[ManhattanAttention], channels: int = 8, **options) -> ManhattanAttention:
    torch.manual_seed(0)
    mixer = kind(channels, heads=2, **options)
    for parameter in mixer.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return mixer


def test_two_tokens_three_steps_apart_lose_three_times_the_decay_of_a_step():
    position = DecayPosition(4, 2, start=1.0, span=1.0)
    (decay,) = position((2, 3)).decays               # tokens 0 1 2 above 3 4 5
    for head, exponent in enumerate((1.0, 1.5)):
        step = math.log(1 - 2**-exponent)
        assert decay[head, 0, 5] == pytest.approx(3 * step)
        assert decay[head, 2, 3] == pytest.approx(3 * step)
        assert decay[head, 1, 4] == pytest.approx(step)
        assert decay[head, 4, 4] == 0


def test_a_decomposed_table_has_the_steps_of_one_axis_each():
    across, down = DecayPosition(4, 2, decomposed=True)((2, 3)).decays
    (whole,) = DecayPosition(4, 2)((2, 3)).decays
    assert (across.shape, down.shape) == ((2, 3, 3), (2, 2, 2))
    close(whole.view(2, 2, 3, 2, 3), down[:, :, None, :, None] + across[:, None, :, None, :])


def test_tokens_turn_by_their_raster_index():
    tables = DecayPosition(8, 2)((2, 3))             # four features a head: pairs turn by 1 and by 1e-4 rad a token
    angles = torch.tensor([5.0, 5.0, 5e-4, 5e-4])
    close(tables.sin[1, 2], angles.sin())
    close(tables.cos[1, 2], angles.cos())


def test_a_single_pair_of_features_turns_by_one_radian_a_token():
    close(DecayPosition(4, 2)((1, 2)).sin[0, 1], torch.tensor([1.0, 1.0]).sin())


def test_tables_of_a_reduced_module_are_float32():
    tables = DecayPosition(8, 2).to(torch.bfloat16)((2, 3))
    assert {tables.sin.dtype, tables.cos.dtype, tables.decays[0].dtype} == {torch.float32}


def test_a_huge_table_is_told_once(caplog):
    with torch.device("meta"):
        position = DecayPosition(256, 8)
        with caplog.at_level(logging.WARNING):
            position((40, 40))
            assert not caplog.records                # 78 MiB
            position((64, 128))
            position((64, 128))
    (record,) = caplog.records
    assert "all 8192 tokens needs a table of 2.0 GiB" in record.getMessage()


def test_attention_equals_a_softmax_written_out():
    torch.manual_seed(0)
    q, k, v = torch.rand(3, 5, 2, 4).unbind()        # one sequence of 5 tokens, 2 heads of 4 features
    decay = -torch.rand(2, 5, 5)
    for head in range(2):
        weights = torch.exp(q[:, head] @ k[:, head].T / 2 + decay[head])
        wanted = (weights / weights.sum(1, keepdim=True)) @ v[:, head]
        close(attend(q, k, v, decay)[:, head], wanted)


def test_a_row_of_tokens_is_mixed_alike_whole_and_decomposed():
    whole, decomposed = (mixer_of(kind) for kind in MIXERS)
    tokens = torch.rand(2, 6, 8)
    close(whole(tokens, (1, 6)), decomposed(tokens, (1, 6)))


def test_decomposed_attention_reaches_every_token_by_way_of_its_row_and_the_columns():
    mixer = mixer_of(DecomposedManhattanAttention)
    tokens = torch.rand(1, 6, 8)
    changed = tokens.clone()
    changed[0, 0] += 1
    assert ((mixer(tokens, (2, 3)) - mixer(changed, (2, 3))).abs().amax(2) > 1e-6).all()


def test_both_are_listed_as_token_mixers():
    assert {kind.__name__ for kind in MIXERS} <= set(list_registered(MODELS, role="token_mixer"))


@pytest.mark.parametrize("kind", MIXERS)
@settings(max_examples=12)
@given(real=st.lists(st.booleans(), min_size=12, max_size=12))
def test_masked_tokens_change_nothing_and_come_out_as_zero(kind, real):
    mixer, mask = mixer_of(kind), torch.tensor(real)[None]
    tokens = torch.rand(1, 12, 8)
    wild = torch.where(mask[..., None], tokens, torch.nan)
    with torch.no_grad():
        calm, disturbed = mixer(tokens, (3, 4), mask), mixer(wild, (3, 4), mask)
    close(disturbed, calm)
    assert torch.isfinite(calm).all()
    assert not calm[~mask].any()


@pytest.mark.parametrize("kind", MIXERS)
def test_masked_rows_below_are_as_good_as_none(kind):
    mixer, tokens = mixer_of(kind), torch.rand(2, 20, 8)
    mask = (torch.arange(20) < 12).expand(2, 20)
    with torch.no_grad():
        close(mixer(tokens, (5, 4), mask)[:, :12], mixer(tokens[:, :12], (3, 4)))


@pytest.mark.parametrize("kind", MIXERS)
def test_a_mask_of_real_tokens_alone_changes_nothing(kind):
    mixer, tokens = mixer_of(kind), torch.rand(2, 12, 8)
    close(mixer(tokens, (3, 4), torch.ones(2, 12, dtype=torch.bool)), mixer(tokens, (3, 4)))


@pytest.mark.parametrize("mask", [None, torch.arange(12).expand(2, 12) % 5 > 0])
@pytest.mark.parametrize("kind", MIXERS)
def test_the_gradient_reaches_every_parameter_and_real_token(kind, mask):
    mixer, tokens = mixer_of(kind), torch.rand(2, 12, 8, requires_grad=True)
    y = mixer(tokens, (3, 4), mask)
    (y * torch.rand_like(y)).sum().backward()
    assert all(parameter.grad.any() for parameter in mixer.parameters())
    assert torch.isfinite(tokens.grad).all()
    assert torch.equal(tokens.grad.any(2), torch.ones(2, 12, dtype=torch.bool) if mask is None else mask)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
@pytest.mark.parametrize("kind", MIXERS)
def test_other_dtypes_are_kept(kind, dtype):
    mixer = mixer_of(kind).to(dtype)
    assert mixer(torch.rand(1, 12, 8, dtype=dtype), (3, 4)).dtype == dtype


@pytest.mark.parametrize(("size", "mask", "message"), [
    (None, None, "needs the size"),
    ((3, 5), None, "a map of 3 x 5 has other than 12 tokens"),
    ((3, 4), torch.ones(1, 12), r"mask must be bool \(1, 12\), got torch.float32 \(1, 12\)"),
    ((3, 4), torch.ones(1, 3, 4, dtype=torch.bool), r"mask must be bool \(1, 12\), got torch.bool \(1, 3, 4\)"),
])
@pytest.mark.parametrize("kind", MIXERS)
def test_tokens_without_their_layout_are_refused(kind, size, mask, message):
    with pytest.raises(ValueError, match=message):
        mixer_of(kind)(torch.rand(1, 12, 8), size, mask)
