"""Places of tokens in a sequence: rotations of queries and keys, and which keys come before a query."""

from __future__ import annotations

import pytest
import torch

from perception.models.attention.cache import appended
from perception.models.attention.causal import earlier_keys
from perception.models.attention.rotary import rotary_rates, turned

close = torch.testing.assert_close


def test_rates_fall_from_one_to_nearly_the_base():
    close(rotary_rates(4, 100.0), torch.tensor([1.0, 0.1]))
    assert rotary_rates(0).shape == (0,)


def test_a_quarter_turn_by_hand():
    x = torch.tensor([[1.0, 2.0, 3.0, 4.0, 5.0]]).repeat(2, 1)         # the same at positions 1 and 2
    rates = torch.tensor([torch.pi / 2, 0.0])
    close(turned(x, rates, 1), torch.tensor([[-3.0, 2.0, 1.0, 4.0, 5.0], [-1.0, 2.0, -3.0, 4.0, 5.0]]))


def test_scores_of_turned_tokens_depend_on_their_distance_alone():
    query, key = torch.randn(1, 8, dtype=torch.float64), torch.randn(1, 8, dtype=torch.float64)
    rates = rotary_rates(8)
    scores = [(turned(query, rates, place + 3) * turned(key, rates, place)).sum() for place in (0, 5, 900)]
    close(scores[0], scores[1])
    close(scores[0], scores[2])


def test_the_last_query_stands_at_the_last_key():
    mask = torch.tensor([[True, False, True, False]])
    seen = earlier_keys(2, 4, mask, device=torch.device("cpu"))
    assert seen.tolist() == [[[[True, False, True, False], [True, False, True, True]]]]


def test_without_a_mask_all_earlier_keys_are_seen():
    seen = earlier_keys(3, 3, device=torch.device("cpu"))
    assert torch.equal(seen[0, 0], torch.ones(3, 3, dtype=torch.bool).tril())


def test_angles_are_float32_where_queries_are_not():
    x = torch.randn(1, 4000, 8)
    rates = rotary_rates(8)
    found = turned(x.bfloat16(), rates)
    assert found.dtype == torch.bfloat16
    close(found.float(), turned(x.bfloat16().float(), rates), atol=0.02, rtol=0.01)      # rounded once, at the end


def test_odd_channels_make_no_pairs():
    with pytest.raises(ValueError, match="rotary channels must be even, got 5"):
        rotary_rates(5)


def test_a_cache_grows_by_a_copy():
    key, value = torch.randn(2, 3, 1, 4), torch.randn(2, 3, 1, 4)
    first = appended(None, key, value)
    second = appended(first, 2 * key, 3 * value)
    assert torch.equal(second.key, torch.cat([key, 2 * key], dim=2))
    assert torch.equal(second.value, torch.cat([value, 3 * value], dim=2))
    assert first.key.shape[2] == 1
