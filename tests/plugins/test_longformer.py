"""Longformer: its band against a matrix of who sees whom, and its global tokens."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from zoo_mixers import CHANNELS, HEADS, build, dense_attention, holes, tokens

from perception.models.attention.heads import by_head, together
from perception_plugins.linear_attention_zoo import LongformerMixer
from perception_plugins.linear_attention_zoo.band import banded_attention

close = torch.testing.assert_close


def pairs(mixer: LongformerMixer, count: int, mask: Tensor) -> Tensor:
    """Who sees whom beyond the global rows, by the definition, (B, 1, N, N) bool."""
    i, j = torch.arange(count)[:, None], torch.arange(count)
    near = ((i - j).abs() <= mixer.window * mixer.dilation) & ((i - j) % mixer.dilation == 0)
    seen = near | (j < mixer.global_tokens)
    return (seen & (j <= i) if mixer.causal else seen) & mask[:, None, None]


def slow(mixer: LongformerMixer, x: Tensor, mask: Tensor) -> Tensor:
    """The mixer by matrices of all pairs."""
    g, count = mixer.global_tokens, x.shape[1]
    y = dense_attention(mixer, x, pairs(mixer, count, mask))
    q, k, v = (by_head(part, mixer.heads) for part in mixer.global_qkv(x).chunk(3, dim=2))
    everyone = torch.ones(count, count, dtype=torch.bool)
    allowed = (everyone.tril() if mixer.causal else everyone) & mask[:, None, None]
    logits = (q @ k.mT / q.shape[3] ** 0.5).masked_fill(~allowed, -torch.inf)
    rows = mixer.proj(together(logits.softmax(dim=3).nan_to_num() @ v))
    return torch.cat([rows[:, :g], y[:, g:]], dim=1).masked_fill(~mask[..., None], 0.0)


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize(("window", "dilation", "global_tokens"), [
    (3, 1, 0), (0, 1, 0), (1, 1, 3), (40, 1, 2), (3, 2, 1), (2, 5, 4), (33, 3, 0), (2, 1, 200),
])
def test_chunks_give_what_all_pairs_give(window, dilation, global_tokens, masked, causal):
    options = {"window": window, "dilation": dilation, "global_tokens": global_tokens, "causal": causal}
    torch.manual_seed(0)
    mixer = LongformerMixer(CHANNELS, heads=HEADS, **options).double()
    mixer.load_state_dict(build("longformer").state_dict())
    for count in (1, 2, 31, 32, 33, 101):
        x = tokens(count)
        mask = holes(count) if masked else torch.ones(2, count, dtype=torch.bool)
        close(mixer(x, mask=mask if masked else None), slow(mixer, x, mask))


def test_a_band_by_hand():
    same = torch.zeros(1, 1, 3, 1)                   # equal logits: means of what is seen
    values = torch.tensor([1.0, 2, 4])[None, None, :, None]
    row = torch.nn.functional.pad(values, (0, 0, 1, 0))
    seen = torch.tensor([[False, True, True, True]])
    keys = torch.zeros_like(row)
    both = banded_attention(same, keys, row, seen, window=1)
    close(both.flatten(), torch.tensor([1.5, 7 / 3, 3]))
    left = banded_attention(same, keys, row, seen, window=1, causal=True)
    close(left.flatten(), torch.tensor([1, 1.5, 3]))
    shared = (torch.zeros(1, 1, 1, 1), torch.full((1, 1, 1, 1), 9.0), torch.tensor([[True]]))
    with_shared = banded_attention(same, keys, row, seen, window=1, causal=True, shared=shared)
    close(with_shared.flatten(), torch.tensor([5, 4, 5.0]))


@pytest.mark.parametrize("causal", [False, True])
def test_a_window_over_all_tokens_is_full_attention(causal):
    mixer, x, mask = build("longformer", causal=causal), tokens(37), holes(37)
    mixer.window = 36
    everyone = torch.ones(37, 37, dtype=torch.bool)
    allowed = (everyone.tril() if causal else everyone) & mask[:, None, None]
    close(mixer(x, mask=mask)[mask], dense_attention(mixer, x, allowed)[mask])


def test_projections_of_global_tokens_learn_where_there_are_any():
    for count in (0, 2):
        mixer = LongformerMixer(CHANNELS, heads=HEADS, global_tokens=count)
        mixer(tokens(9, dtype=torch.float32)).sum().backward()
        grads = {name: p.grad for name, p in mixer.named_parameters() if p.requires_grad}
        assert all(grad is not None for grad in grads.values())
        assert ("global_qkv.weight" in grads) == (count > 0)
