"""Real tokens before masked ones, and back."""

from __future__ import annotations

import pytest
import torch

from perception.models.real_first import back_in_place, real_first

close = torch.testing.assert_close


def test_real_tokens_come_first_in_their_order_and_go_back():
    tokens = torch.tensor([[[1.0], [2], [3], [4], [5]], [[6.0], [7], [8], [9], [10]]])
    mask = torch.tensor([[False, True, True, False, True], [True, False, False, False, False]])
    moved, places = real_first(tokens, mask)
    assert moved[:, :, 0].tolist() == [[2, 3, 5, 0, 0], [6, 0, 0, 0, 0]]
    assert back_in_place(moved, places)[:, :, 0].tolist() == [[0, 2, 3, 0, 5], [6, 0, 0, 0, 0]]


@pytest.mark.parametrize("count", [0, 1, 6])
def test_without_masked_tokens_nothing_moves_and_with_them_alone_nothing_is_left(count):
    tokens, mask = torch.randn(2, count, 3), torch.ones(2, count, dtype=torch.bool)
    moved, places = real_first(tokens, mask)
    assert torch.equal(moved, tokens)
    assert torch.equal(places, torch.arange(count).expand(2, -1))
    assert not real_first(tokens, ~mask)[0].any()


def test_gradients_reach_real_tokens_alone():
    tokens, mask = torch.randn(1, 4, 2, requires_grad=True), torch.tensor([[True, False, True, False]])
    moved, places = real_first(tokens, mask)
    back_in_place(3 * moved, places).sum().backward()
    close(tokens.grad, 3 * mask[:, :, None].expand(1, 4, 2).float())
