"""Reformer: hashing, and attention in chunks against a matrix of who sees whom."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from zoo_mixers import CHANNELS, HEADS, build, holes, tokens

from perception.models.attention.heads import by_head, together
from perception_plugins.linear_attention_zoo import ReformerMixer
from perception_plugins.linear_attention_zoo.bucket_attention import bucket_attention
from perception_plugins.linear_attention_zoo.hashing import ChunkedBuckets, hash_buckets

close = torch.testing.assert_close


def pairs(buckets: Tensor, chunk: int) -> Tensor:
    """Who sees whom in any round by the definition, loop by loop, (B, heads, N, N) bool without the diagonal."""
    B, heads, rounds, N = buckets.shape
    seen = torch.zeros(B, heads, N, N, dtype=torch.bool)
    for b, head, number in ((b, h, r) for b in range(B) for h in range(heads) for r in range(rounds)):
        own = buckets[b, head, number].tolist()
        order = sorted(range(N), key=lambda i: (own[i], i))
        place = {token: rank // chunk for rank, token in enumerate(order)}
        for i in range(N):
            for j in range(N):
                seen[b, head, i, j] |= own[i] == own[j] and place[i] - place[j] in (0, 1) and i != j
    return seen


def slow(qk: Tensor, v: Tensor, seen: Tensor) -> Tensor:
    """Softmax over what is seen, and over the token itself with a logit of -1e5."""
    logits = qk @ F.normalize(qk, dim=3).mT / qk.shape[3] ** 0.5
    logits = logits.masked_fill(~seen, -torch.inf)
    return torch.where(torch.eye(qk.shape[2], dtype=torch.bool), -1e5, logits).softmax(dim=3) @ v


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize(("count", "buckets", "rounds", "chunk"), [
    (1, 2, 1, 4), (9, 2, 1, 4), (16, 4, 2, 4), (23, 4, 3, 5), (23, 8, 2, 1), (23, 2, 4, 64), (30, 20, 2, 3),
])
def test_chunks_give_what_all_pairs_give(count, buckets, rounds, chunk, causal):
    draw = torch.Generator().manual_seed(count)
    qk, v = torch.randn(2, 2, 3, count, 5, generator=draw, dtype=torch.float64)
    qk = qk.requires_grad_()
    fallen = torch.randint(buckets, (2, 3, rounds, count), generator=draw)
    found = bucket_attention(qk, v, ChunkedBuckets.of(fallen, chunk), causal=causal)
    seen = pairs(fallen, chunk)
    expected = slow(qk, v, seen.tril() if causal else seen)
    close(found, expected)
    weights = torch.randn(found.shape, generator=draw, dtype=torch.float64)
    close(*(torch.autograd.grad((y * weights).sum(), qk)[0] for y in (found, expected)))


def test_buckets_by_hand():
    rotations = torch.tensor([[1.0, 0], [0, 1]])[None, None]                                   # (1, 1, D = 2, 2)
    x = torch.tensor([[3.0, 1], [-1, 2], [-4, 1], [0, -1], [0, 0], [2, 2]])[None, None]
    assert hash_buckets(x, rotations).flatten().tolist() == [0, 1, 2, 3, 0, 0]                 # the first of equals
    mask = torch.tensor([[True, True, False, True, True, True]])
    assert hash_buckets(x, rotations, mask).flatten().tolist() == [0, 1, 4, 3, 0, 0]


def test_sorted_chunks_by_hand():
    chunked = ChunkedBuckets.of(torch.tensor([1, 0, 1, 0, 0])[None, None, None], 2)
    assert chunked.order.flatten().tolist() == [1, 3, 4, 0, 2]
    assert chunked.rank.flatten().tolist() == [3, 0, 4, 1, 2]
    chunks, rows = [1, 0, 2, 0, 1], 4
    assert chunked.code.flatten().tolist() == [b * rows + c for b, c in zip([1, 0, 1, 0, 0], chunks, strict=True)]


def test_one_bucket_is_attention_to_all_others():
    mixer, x, mask = build("reformer"), tokens(23), holes(23)
    mixer.rotations.zero_()
    mixer.chunk = 64
    qk, v = (by_head(to(x), HEADS) for to in (mixer.to_qk, mixer.to_v))
    others = ~torch.eye(23, dtype=torch.bool) & mask[:, None, None]
    expected = mixer.proj(together(slow(qk, v, others)))
    close(mixer(x, mask=mask)[mask], expected[mask])


def test_a_token_alone_in_its_buckets_keeps_its_value():
    qk, v = torch.randn(2, 1, 1, 3, 4)
    out = bucket_attention(qk, v, ChunkedBuckets.of(torch.tensor([0, 1, 0])[None, None, None], 4))
    close(out[0, 0], v[0, 0, [2, 1, 0]])


def test_hashing_is_the_same_in_every_run_and_float32_under_mixed_precision():
    mixer, x = build("reformer", torch.float32), tokens(64, dtype=torch.float32)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        qk = by_head(mixer.to_qk(x), HEADS)
        close(mixer(x), mixer(x), atol=0, rtol=0)
    seen: list[torch.dtype] = []
    hashed = mixer.hashed
    mixer.hashed = lambda qk, mask: seen.append(qk.dtype) or hashed(qk, mask)
    with torch.autocast("cpu", torch.bfloat16):
        mixer(x)
    assert qk.dtype == torch.bfloat16
    assert seen == [torch.float32]


def test_redrawn_rotations_are_other_ones_by_the_generator():
    mixer = ReformerMixer(CHANNELS, heads=HEADS)
    before = mixer.rotations.clone()
    mixer.redraw(torch.Generator().manual_seed(3))
    first = mixer.rotations.clone()
    mixer.redraw(torch.Generator().manual_seed(3))
    assert torch.equal(mixer.rotations, first)
    assert not torch.isclose(first, before).any()
    assert "rotations" in mixer.state_dict()
