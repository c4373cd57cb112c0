import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from perception_ops import group_attention, native_kernels, window_partition
from perception_ops.group_attention import group_attention_backward_reference, group_attention_reference

needs_native = pytest.mark.skipif("group_attention" not in native_kernels(), reason="native kernels are not in use")
TOLERANCE = {torch.float32: 2e-5, torch.bfloat16: 2e-2}        # sums in another order; steps of bfloat16 are 2^-8


def inputs(counts: list[int], size: int, heads: int, width: int, dtype: torch.dtype = torch.float32, seed: int = 0):
    """qk, v, slots, back, valid of samples with so many tokens, in the x_shift order of a 30 x 30 grid."""
    draw = torch.Generator().manual_seed(seed)
    cells = [torch.randperm(900, generator=draw)[:count] for count in counts]
    coords = torch.cat([torch.stack([c * 0 + b, c * 0, c // 30, c % 30], 1) for b, c in enumerate(cells)]).int()
    partition = window_partition(coords, len(counts), (30, 30), (5, 5), size)
    order = partition.orders[1]
    back = torch.empty_like(order).scatter_(0, order, partition.win2flat)
    N, C = len(coords), heads * width
    qk, v = torch.randn(N, 2 * C, generator=draw).to(dtype), torch.randn(N, C, generator=draw).to(dtype)
    return qk, v, order[partition.flat2win], back, partition.valid


def token_by_token(qk: Tensor, v: Tensor, slots: Tensor, back: Tensor, valid: Tensor, size: int, heads: int) -> Tensor:
    """The definition: a softmax over the group for each token and head."""
    (N, C), D = v.shape, v.shape[1] // heads
    out = torch.zeros(N, heads, D, dtype=v.dtype)
    for i in range(N):
        group = slice(int(back[i]) // size * size, (int(back[i]) // size + 1) * size)
        keys = slots[group][valid[group]]
        for h in range(heads):
            q, k = qk[i, h * D : (h + 1) * D], qk[keys, C + h * D : C + (h + 1) * D]
            out[i, h] = ((k @ q) / math.sqrt(D)).softmax(0) @ v[keys, h * D : (h + 1) * D]
    return out.flatten(1)


def test_two_tokens_weigh_each_other_by_the_exponential_of_their_product():
    qk, v = torch.tensor([[0.0, 1.0], [0.0, 1.0 + math.log(3)]]), torch.tensor([[4.0], [8.0]])
    qk[:, 0] = torch.tensor([0.0, 1.0])            # the first query sees equal keys, the second a ratio of 1 : 3
    out = group_attention(qk, v, torch.tensor([1, 0]), torch.tensor([1, 0]), group_size=2, num_heads=1)
    torch.testing.assert_close(out, torch.tensor([[6.0], [7.0]]))


@settings(max_examples=25)
@given(
    counts=st.lists(st.integers(0, 40), min_size=1, max_size=3), size=st.integers(1, 20), heads=st.integers(1, 3),
    width=st.integers(1, 19), seed=st.integers(0, 999),
)
def test_equals_the_definition_at_odd_sizes(counts, size, heads, width, seed):
    qk, v, slots, back, valid = inputs(counts, size, heads, width, seed=seed)
    ours = group_attention(qk, v, slots, back, valid, group_size=size, num_heads=heads)
    torch.testing.assert_close(ours, token_by_token(qk, v, slots, back, valid, size, heads), atol=2e-5, rtol=2e-5)


@needs_native
@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize(("size", "width"), [(69, 16), (144, 16), (13, 8), (33, 33), (1, 4), (7, 64)])
@pytest.mark.parametrize("is_masked", [False, True])
def test_native_equals_the_reference_forward_and_backward(dtype, size, width, is_masked):
    qk, v, slots, back, valid = inputs([300, 5, 0, 431], size, 2, width, dtype)
    if not is_masked:                              # as for a frame whose samples all fill a group
        valid = torch.ones_like(valid)
    arguments = (qk, v, slots, back, valid if is_masked else None, size, 2)
    tolerance = {"atol": TOLERANCE[dtype], "rtol": TOLERANCE[dtype]}
    ours = torch.ops.perception.group_attention(*arguments)
    torch.testing.assert_close(ours, group_attention_reference(*arguments), **tolerance)
    grad = torch.randn(v.shape, generator=torch.Generator().manual_seed(1)).to(dtype)
    ours = torch.ops.perception.group_attention_backward(grad, *arguments)
    for name, one, other in zip(("qk", "v"), ours, group_attention_backward_reference(grad, *arguments), strict=True):
        torch.testing.assert_close(one, other, **tolerance, msg=lambda text, name=name: f"{name}: {text}")


def test_every_instruction_set_of_this_processor_gives_the_same(instruction_set):
    qk, v, slots, back, valid = inputs([100, 3], 23, 3, 13)
    ours = group_attention(qk, v, slots, back, valid, group_size=23, num_heads=3)
    ours_back = torch.ops.perception.group_attention_backward(v, qk, v, slots, back, valid, 23, 3)
    expected = group_attention_reference(qk, v, slots, back, valid, 23, 3)
    torch.testing.assert_close(ours, expected, atol=2e-5, rtol=2e-5)
    expected = group_attention_backward_reference(v, qk, v, slots, back, valid, 23, 3)
    torch.testing.assert_close(ours_back, expected, atol=2e-5, rtol=2e-5)


@needs_native
@pytest.mark.parametrize("threads", [1, 2, 3])
def test_the_number_of_threads_changes_nothing(threads):
    qk, v, slots, back, valid = inputs([500, 31], 64, 2, 16)
    expected = torch.ops.perception.group_attention_backward(v, qk, v, slots, back, valid, 64, 2)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        ours = torch.ops.perception.group_attention_backward(v, qk, v, slots, back, valid, 64, 2)
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(a, b) for a, b in zip(ours, expected, strict=True))


@pytest.mark.parametrize("is_masked", [False, True])
def test_gradients_equal_finite_differences(is_masked):
    qk, v, slots, back, valid = inputs([9, 3], 5, 2, 3, torch.float64)
    valid = valid if is_masked else None
    qk.requires_grad_(), v.requires_grad_()
    assert torch.autograd.gradcheck(
        lambda a, b: group_attention(a, b, slots, back, valid, group_size=5, num_heads=2), (qk, v)
    )
    explicit = group_attention_backward_reference(v.detach(), qk.detach(), v.detach(), slots, back, valid, 5, 2)
    ours = group_attention_reference(qk, v, slots, back, valid, 5, 2)
    torch.testing.assert_close(torch.autograd.grad(ours, (qk, v), v.detach()), explicit)


def test_logits_of_thousands_neither_overflow_nor_spread():
    qk, v, slots, back, valid = inputs([40], 8, 2, 4)
    ours = group_attention(qk * 3000, v, slots, back, valid, group_size=8, num_heads=2)
    torch.testing.assert_close(ours, token_by_token(qk * 3000, v, slots, back, valid, 8, 2), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("shift", [-300.0, -1e30])
def test_logits_far_below_zero_weigh_as_any_others(shift):
    qk, v, slots, back, valid = inputs([40, 3], 9, 2, 4)
    qk[:, 0], qk[:, 8] = 1.0, shift                # of the first head: the same for all keys
    ours = group_attention(qk, v, slots, back, valid, group_size=9, num_heads=2)
    expected = token_by_token(qk.double(), v.double(), slots, back, valid, 9, 2).float()
    torch.testing.assert_close(ours[:, 4:], expected[:, 4:], atol=1e-4, rtol=1e-4)
    if shift > -1e3:                               # beyond, what tells the keys apart is rounded away
        torch.testing.assert_close(ours, expected, atol=1e-4, rtol=1e-4)


def test_nan_stays_within_its_group():
    qk, v, slots, back, valid = inputs([40], 8, 2, 4)
    token = int(slots[20])
    qk[token] = torch.nan
    out = group_attention(qk, v, slots, back, valid, group_size=8, num_heads=2)
    assert torch.equal(out.isnan().any(1), back // 8 == 20 // 8)


def test_a_group_without_a_key_gives_zero():
    qk, v, slots, back, valid = inputs([16], 8, 1, 4)
    valid[:8] = False
    out = group_attention(qk, v, slots, back, valid, group_size=8, num_heads=1)
    assert torch.equal((out == 0).all(1), back < 8)


def test_no_tokens_give_no_output():
    qk, v, slots, back, valid = inputs([0, 0], 8, 2, 4)
    assert group_attention(qk, v, slots, back, valid, group_size=8, num_heads=2).shape == (0, 8)


def test_rows_with_gaps_in_memory_are_read_rightly():
    qk, v, slots, back, valid = inputs([40], 8, 2, 4)
    wide = torch.cat([qk, v, v], 1)
    expected = group_attention(qk, v, slots, back, valid, group_size=8, num_heads=2)
    ours = group_attention(wide[:, :16], wide[:, 16:24], slots, back, valid, group_size=8, num_heads=2)
    assert torch.equal(ours, expected)


def test_opcheck_passes():
    qk, v, slots, back, valid = inputs([21, 3], 5, 2, 3)
    qk.requires_grad_(), v.requires_grad_()
    torch.library.opcheck(torch.ops.perception.group_attention.default, (qk, v, slots, back, valid, 5, 2))
    plain = (v.detach(), qk.detach(), v.detach(), slots, back, None, 5, 2)
    torch.library.opcheck(torch.ops.perception.group_attention_backward.default, plain)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"qk": torch.zeros(10, 17)}, r"qk must be torch.float32 \(10, 16\), got torch.float32 \(10, 17\)"),
        ({"qk": torch.zeros(10, 16).double()}, "got torch.float64"),
        ({"v": torch.zeros(10, 8).long()}, "v must be floating"),
        ({"slots": torch.arange(15).int()}, "slots must be torch.int64"),
        ({"slots": torch.arange(14)}, r"slots must have a length that group_size \(5\) divides, got 14"),
        ({"slots": torch.arange(15)}, r"slots must lie in \[0, (10|N)\)"),
        ({"back": torch.full((10,), 15)}, "back must"),
        ({"back": torch.zeros(9, dtype=torch.int64)}, r"back must be torch.int64 \(10,\)"),
        ({"valid": torch.ones(14, dtype=torch.bool)}, r"valid must be torch.bool \(15,\)"),
        ({"num_heads": 3}, r"v must have channels that num_heads \(3\) divides, got 8"),
        ({"group_size": 0}, "group_size must be at least 1, got 0"),
    ],
)
def test_bad_arguments_are_refused(change, message):
    arguments = {
        "qk": torch.zeros(10, 16), "v": torch.zeros(10, 8), "slots": torch.arange(15) % 10, "back": torch.arange(10),
        "valid": None, "group_size": 5, "num_heads": 2,
    }
    with pytest.raises(ValueError, match=message):
        group_attention(**arguments | change)
