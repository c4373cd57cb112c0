"""Decode attention: by hand, against the plain form in float64, where nothing is seen, and what it refuses."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch
from decode_inputs import CLOSE, decode_inputs, plain_attention
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.autograd import gradcheck

from perception_ops import lean_decode
from perception_ops.lean_decode import lean_decode_reference
from perception_ops.softmax_parts import SoftmaxPart, finalize, merge, merge_all, partial_attention
from perception_ops.stream_k import Segment, plan, segments

close = torch.testing.assert_close


def test_two_keys_by_hand():
    q, k = torch.tensor([[[[1.0, 0.0]]]]), torch.tensor([[[[0.0, 5.0], [math.log(3.0), 7.0]]]])
    v = torch.tensor([[[[8.0, 0.0], [0.0, 4.0]]]])
    out, lse = lean_decode(q, k, v, scale=1.0, return_lse=True)               # weights 1 and 3
    close(out, torch.tensor([[[[2.0, 3.0]]]]))
    close(lse, torch.tensor([[[math.log(4.0)]]]))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64, torch.float16], ids=str)
@pytest.mark.parametrize(("heads", "key_heads", "queries", "keys", "width"), [
    (1, 1, 1, 1, 1), (3, 3, 1, 53, 16), (4, 2, 1, 257, 64), (6, 2, 3, 65, 20), (2, 1, 5, 1000, 33), (2, 2, 1, 31, 130),
])
def test_it_is_softmax_attention(heads, key_heads, queries, keys, width, dtype, instruction_set, num_threads):
    q, k, v = decode_inputs(2, heads, key_heads, queries, keys, width, dtype)
    expected, expected_lse = plain_attention(q, k, v)
    for threads, workers, tile in ((1, None, None), (2, 7, 16)):
        with num_threads(threads):
            out, lse = lean_decode(q, k, v, workers=workers, tile=tile, return_lse=True)
        close(out.double(), expected, atol=CLOSE[dtype], rtol=CLOSE[dtype])
        close(lse.double(), expected_lse, atol=1e-5, rtol=1e-5)


def test_the_number_of_threads_changes_no_bit(num_threads):
    q, k, v = decode_inputs(2, 4, 2, 2, 700, 32)
    with num_threads(1):
        one = lean_decode(q, k, v, workers=5, tile=64)
    with num_threads(3):
        assert torch.equal(lean_decode(q, k, v, workers=5, tile=64), one)


@settings(max_examples=40)
@given(data=st.data())
def test_lengths_and_masks_hide_keys_however_the_line_is_cut(data):
    keys = data.draw(st.integers(0, 90))
    q, k, v = decode_inputs(3, 4, 2, data.draw(st.sampled_from([1, 2])), keys, 12)
    draw = torch.Generator().manual_seed(data.draw(st.integers(0, 99)))
    kv_len = torch.randint(0, keys + 1, (3,), generator=draw) if data.draw(st.booleans()) else None
    mask = None
    if data.draw(st.booleans()):
        shape = [data.draw(st.sampled_from([1, size])) for size in q.shape[:3]]
        mask = torch.rand(*shape, keys, generator=draw) < data.draw(st.sampled_from([0.0, 0.3, 0.9]))
    workers, tile = data.draw(st.integers(1, 40)), data.draw(st.sampled_from([1, 7, 16, 300]))
    expected = plain_attention(q, k, v, kv_len, mask)
    for out, lse in (
        lean_decode(q, k, v, kv_len, mask, workers=workers, tile=tile, return_lse=True),
        lean_decode_reference(q, k, v, kv_len, mask, 12**-0.5, workers, tile),
    ):
        close(out.double(), expected[0], atol=2e-6, rtol=1e-5)
        close(lse.double(), expected[1], atol=1e-5, rtol=1e-5)


def test_what_lies_behind_a_length_may_be_anything():
    q, k, v = decode_inputs(2, 2, 2, 1, 40, 8)
    kv_len = torch.tensor([0, 9])
    before, lse = lean_decode(q, k, v, kv_len, tile=4, workers=3, return_lse=True)
    k[0], v[0], k[1, :, 9:], v[1, :, 9:] = math.nan, math.nan, math.nan, math.inf
    leaves = [x.requires_grad_() for x in (q, k, v)]
    after = lean_decode(*leaves, kv_len, tile=4, workers=3)
    close(after, before, atol=0, rtol=0)
    assert all(grad.isfinite().all() for grad in torch.autograd.grad(after.sum(), leaves))
    assert not before[0].any()
    assert torch.equal(lse[0], torch.full((2, 1), -torch.inf))


@pytest.mark.parametrize("shape", [(0, 2, 1, 5, 4), (2, 2, 0, 5, 4), (2, 2, 1, 0, 4)])
def test_nothing_to_do_is_no_error(shape):
    batch, heads, queries, keys, width = shape
    q, k, v = decode_inputs(batch, heads, heads, queries, keys, width)
    assert torch.equal(lean_decode(q, k, v), torch.zeros_like(q))


@pytest.mark.parametrize("operation", [torch.ops.perception.lean_decode, lean_decode_reference])
def test_gradients_are_those_of_finite_differences(operation):
    q, k, v = (x.requires_grad_() for x in decode_inputs(2, 2, 1, 1, 5, 4, torch.float64))
    kv_len, mask = torch.tensor([5, 0]), torch.tensor([True, True, False, True, True]).view(1, 1, 1, 5)

    def both(*given):
        out, lse = operation(*given, kv_len, mask, 0.5, 3, 2)
        return out, lse[:1]                                                # of the others it is -inf

    assert gradcheck(both, (q, k, v))


def test_gradients_of_float32_are_those_of_the_plain_form():
    q, k, v = (x.requires_grad_() for x in decode_inputs(2, 4, 2, 2, 50, 16))
    cotangent = torch.randn(q.shape, generator=torch.Generator().manual_seed(0))
    ours = torch.autograd.grad((lean_decode(q, k, v) * cotangent).sum(), (q, k, v))
    expected = torch.autograd.grad((plain_attention(q, k, v)[0] * cotangent).sum(), (q, k, v))
    for grad, wanted in zip(ours, expected, strict=True):
        close(grad, wanted.float(), atol=1e-5, rtol=1e-4)


@given(cuts=st.lists(st.integers(0, 20), max_size=6), seed=st.integers(0, 20))
def test_parts_join_in_any_order_and_tree(cuts, seed):
    draw = torch.Generator().manual_seed(seed)
    q, k, v = (torch.randn(2, n, 3, generator=draw, dtype=torch.float64) for n in (2, 20, 20))
    mask = torch.rand(2, 2, 20, generator=draw) < 0.5
    bounds = [0, *sorted(cuts), 20]
    parts = [partial_attention(q, k[:, a:b], v[:, a:b], mask=mask[..., a:b]) for a, b in pairwise(bounds)]
    whole = partial_attention(q, k, v, mask=mask)
    tree = merge_all(SoftmaxPart(*(torch.stack(values, 1) for values in zip(*parts, strict=True))), 1)
    line = parts[0]
    for number in torch.randperm(len(parts) - 1, generator=draw).tolist():
        line = merge(parts[number + 1], line)
    for joined in (tree, line):
        close(tuple(joined), tuple(whole), atol=1e-12, rtol=1e-12)
        close(finalize(joined), finalize(whole), atol=1e-12, rtol=1e-12)


def test_the_neutral_part_changes_nothing():
    part = partial_attention(torch.ones(1, 2), torch.ones(3, 2), torch.ones(3, 2))
    nothing = partial_attention(torch.ones(1, 2), torch.ones(0, 2), torch.ones(0, 2))
    assert nothing.top.item() == -math.inf
    for joined in (merge(part, nothing), merge(nothing, part)):
        assert all(torch.equal(a, b) for a, b in zip(joined, part, strict=True))
    assert all(torch.equal(a, b) for a, b in zip(merge(nothing, nothing), nothing, strict=True))


@given(tiles=st.lists(st.integers(0, 9), max_size=8), workers=st.integers(1, 30))
def test_every_tile_is_read_once_and_no_worker_has_two_more_than_another(tiles, workers):
    cut = list(segments(tiles, workers))
    read = [(s.group, tile) for s in cut for tile in range(s.first, s.end)]
    assert read == [(group, tile) for group, count in enumerate(tiles) for tile in range(count)]
    loads = [sum(s.end - s.first for s in cut if s.worker == worker) for worker in range(workers)]
    busy = [load for load in loads if load]
    assert len(busy) == min(workers, sum(tiles))
    assert not busy or max(busy) - min(busy) <= 1


def test_a_worker_goes_on_with_the_next_head_by_hand():
    assert list(segments([3, 0, 2], 2)) == [Segment(0, 0, 0, 3), Segment(1, 2, 0, 2)]
    assert list(segments([3, 3], 4)) == [
        Segment(0, 0, 0, 2), Segment(1, 0, 2, 3), Segment(1, 1, 0, 1), Segment(2, 1, 1, 2), Segment(3, 1, 2, 3)
    ]


def test_it_passes_torchs_own_checks_of_an_op():
    q, k, v = decode_inputs(2, 4, 2, 1, 9, 4)
    mask = torch.ones(2, 1, 1, 9, dtype=torch.bool)
    for given_mask, kv_len in ((None, None), (mask, torch.tensor([9, 4]))):
        given = (q.requires_grad_(), k, v, kv_len, given_mask, 0.5, 2, 4)
        torch.library.opcheck(torch.ops.perception.lean_decode, given)


def test_it_exports():
    class Attention(torch.nn.Module):
        def forward(self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
            return lean_decode(q, k, v, tile=16)

    given = decode_inputs(1, 2, 2, 1, 40, 8)
    exported = torch.export.export(Attention(), given).module()
    close(exported(*given), lean_decode(*given, tile=16))


@pytest.mark.parametrize(("change", "message"), [
    ({"q": torch.ones(1, 2, 3)}, r"q must be floating \(B, H, S, d\), got torch.float32 \(1, 2, 3\)"),
    ({"k": torch.ones(1, 2, 5, 3)}, r"k must be torch.float32 \(1, Hk, T, 4\), got torch.float32 \(1, 2, 5, 3\)"),
    ({"v": torch.ones(1, 2, 6, 4)}, r"v must be torch.float32 \(1, 2, 5, 4\)"),
    ({"q": torch.ones(1, 3, 1, 4)}, "q must have a multiple of the 2 heads of k, got 3"),
    ({"kv_len": torch.tensor([6])}, r"kv_len must lie in \[0, 5\], got 6"),
    ({"kv_len": torch.tensor([5.0])}, r"kv_len must be torch.int64 \(1,\), got torch.float32"),
    ({"mask": torch.ones(1, 2, 1, 4) > 0}, r"mask must be torch.bool \(1, 2, 1, 5\), got torch.bool \(1, 2, 1, 4\)"),
    ({"mask": torch.ones(5) > 0}, r"mask must be torch.bool \(B, H, S, T\), got torch.bool \(5,\)"),
    ({"workers": 0}, "workers must be at least 1, got 0"), ({"tile": -1}, "tile must be at least 1, got -1"),
])
def test_what_cannot_be_is_refused(change, message):
    given = {"q": torch.ones(1, 2, 1, 4), "k": torch.ones(1, 2, 5, 4), "v": torch.ones(1, 2, 5, 4)} | change
    with pytest.raises(ValueError, match=message):
        lean_decode(**given)


@pytest.mark.parametrize(("change", "message"), [
    ({"heads": 3}, r"heads must be a multiple of kv_heads \(2\), got 3"), ({"sms": 0}, "sms must be at least 1, got 0"),
])
def test_a_plan_that_cannot_be_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        plan(**{"batch": 1, "heads": 4, "kv_heads": 2, "head_dim": 64, "kv_len": 9, "sms": 8} | change)
