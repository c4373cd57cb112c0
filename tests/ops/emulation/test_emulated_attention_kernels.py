"""The attention kernels for CUDA, executed on the host through the faces that a GPU's tensors take."""

from __future__ import annotations

import pytest
import torch
from conftest import GIVEN
from torch import Tensor

from perception_ops import cuda
from perception_ops.group_attention import group_attention_backward_reference, group_attention_reference

DEFAULT_STREAM = 0
SEEDS = [7] if GIVEN else [0, 1, 7]                # orders of blocks and threads; the sanitized run takes its time
# Sums in another order; weights and results are rounded to steps of 2^-8 and 2^-11.
TOLERANCE = {torch.float32: 2e-5, torch.bfloat16: 2e-2, torch.float16: 3e-3}
HALF = [torch.bfloat16, torch.float16]
# Each with whole and broken tiles of keys, one and several blocks a group, one and several chunks of shared memory.
SIZES = [(1, 4), (7, 8), (16, 16), (17, 24), (69, 16), (144, 16), (150, 32), (300, 64), (33, 13), (100, 128)]


def grouped(groups: int, size: int, copies: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """slots and back of ``groups * size - copies`` tokens in random order, copies among them."""
    draw = torch.Generator().manual_seed(seed)
    N = groups * size - copies
    place = torch.randperm(groups * size, generator=draw)
    slots = torch.empty_like(place)
    slots[place[:N]], slots[place[N:]] = torch.arange(N), torch.randint(max(N, 1), (copies,), generator=draw)
    return slots, place[:N]


def inputs(groups: int, size: int, copies: int, heads: int, width: int, dtype: torch.dtype):
    """grad, qk, v, slots, back, valid, size, heads; a fifth of the slots is no key."""
    draw = torch.Generator().manual_seed(1)
    slots, back = grouped(groups, size, copies)
    N, C = len(back), heads * width
    tables = [torch.randn(N, columns, generator=draw).to(dtype) for columns in (C, 2 * C, C)]
    return *tables, slots, back, torch.rand(len(slots), generator=draw) > 0.2, size, heads


def run_both(kernels, arguments) -> list[Tensor]:
    """Output and gradients by the kernels."""
    forward = cuda.group_attention(kernels, DEFAULT_STREAM, *arguments[1:])
    return [forward, *cuda.group_attention_backward(kernels, DEFAULT_STREAM, *arguments)]


def expected_of(arguments) -> list[Tensor]:
    """The same by the references in float32."""
    wide = [value.float() if isinstance(value, Tensor) and value.is_floating_point() else value for value in arguments]
    return [group_attention_reference(*wide[1:]), *group_attention_backward_reference(*wide)]


def assert_all_close(ours: list[Tensor], expected: list[Tensor], tolerance: float) -> None:
    for name, one, other in zip(("out", "grad_qk", "grad_v"), ours, expected, strict=True):
        torch.testing.assert_close(
            one.float(), other, atol=tolerance, rtol=tolerance, msg=lambda text, name=name: f"{name}: {text}"
        )


@pytest.mark.parametrize("is_masked", [False, True])
@pytest.mark.parametrize(("size", "width"), SIZES)
@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
def test_attention_equals_its_reference_in_every_order_of_threads(emulated, dtype, size, width, is_masked):
    arguments = inputs(2, size, size // 3, 2 if width < 64 else 1, width, dtype)
    if not is_masked:
        arguments = *arguments[:5], None, *arguments[6:]
    results = []
    for seed in SEEDS:
        emulated.set_order_seed(seed)
        results.append(run_both(emulated, arguments))
    assert_all_close(results[0], expected_of(arguments), TOLERANCE[dtype])
    for other in results[1:]:
        assert all(torch.equal(one, two) for one, two in zip(results[0], other, strict=True))


@pytest.mark.parametrize(("dtype", "width"), [(torch.float32, 65), (torch.bfloat16, 130), (torch.float32, 512)])
def test_wide_heads_take_the_plain_path(shuffled, dtype, width):
    arguments = inputs(1, 19, 4, 1, width, dtype)
    assert_all_close(run_both(shuffled, arguments), expected_of(arguments), TOLERANCE[dtype])


def test_heads_that_no_kernel_holds_take_the_reference(emulated):
    arguments = inputs(1, 3, 1, 1, 513, torch.float32)
    assert_all_close(run_both(emulated, arguments), expected_of(arguments), 1e-6)


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
def test_shares_of_a_token_with_many_copies_add_up(shuffled, dtype):
    arguments = list(inputs(3, 20, 51, 2, 8, dtype))
    assert torch.bincount(arguments[3]).max() > 8
    expected = expected_of(arguments)
    assert_all_close(run_both(shuffled, arguments), expected, 2 * TOLERANCE[dtype])        # a sum of many is larger


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
def test_a_group_without_a_key_gives_zero_and_moves_nothing(shuffled, dtype):
    arguments = inputs(3, 18, 0, 1, 16, dtype)
    arguments[5][:18], arguments[5][18:36], arguments[5][36:] = True, False, True
    is_blind = arguments[4] // 18 == 1
    for result in run_both(shuffled, arguments):
        assert torch.equal((result == 0).all(1), is_blind)


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
def test_logits_of_thousands_neither_overflow_nor_spread(shuffled, dtype):
    grad, qk, *rest = inputs(1, 90, 0, 1, 16, dtype)
    arguments = grad, qk * 200, *rest              # logits beyond 10,000, whose largest comes late in some rows
    ours = cuda.group_attention(shuffled, DEFAULT_STREAM, *arguments[1:])
    tolerance = max(TOLERANCE[dtype], 2e-3)        # a logit of 2^14 has steps of 2^-9 in float32
    torch.testing.assert_close(ours.float(), expected_of(arguments)[0], atol=tolerance, rtol=tolerance)


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
def test_nan_stays_within_its_group_and_out_of_slots_that_are_no_keys(shuffled, dtype):
    _, qk, v, slots, back, valid, size, heads = inputs(4, 17, 0, 2, 8, dtype)
    valid[:] = True
    hidden, seen = int(slots[3]), int(slots[40])
    valid[3] = False
    qk[hidden, 16:] = v[hidden] = torch.nan        # as a key and as a value, not as a query
    qk[seen] = torch.nan
    out = cuda.group_attention(shuffled, DEFAULT_STREAM, qk, v, slots, back, valid, size, heads)
    assert torch.equal(out.isnan().any(1), back // 17 == 40 // 17)


@pytest.mark.parametrize("dtype", HALF, ids=str)
def test_rows_that_are_not_aligned_are_read_and_written_rightly(shuffled, dtype):
    grad, qk, v, *rest = inputs(2, 21, 3, 2, 16, dtype)
    shifted = [torch.cat([v[0, :1], table.flatten()])[1:].view(table.shape) for table in (grad, qk, v)]
    assert shifted[1].data_ptr() % 16 == 2
    expected = run_both(shuffled, (grad, qk, v, *rest))
    assert all(torch.equal(a, b) for a, b in zip(run_both(shuffled, (*shifted, *rest)), expected, strict=True))


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize(("groups", "heads", "width"), [(0, 2, 8), (2, 2, 0)])
def test_no_tokens_and_no_channels_give_empty_tensors(emulated, groups, heads, width, dtype):
    arguments = inputs(groups, 8, 0, heads, width, dtype)
    shapes = [tuple(result.shape) for result in run_both(emulated, arguments)]
    assert shapes == [(8 * groups, heads * width), (8 * groups, 2 * heads * width), (8 * groups, heads * width)]


def test_fewer_slots_than_tokens_are_refused(emulated):
    arguments = inputs(1, 4, 0, 1, 8, torch.float32)
    with pytest.raises(ValueError, match=r"slots must have a length in \[4, 2\^31\), got 2"):
        cuda.group_attention(emulated, DEFAULT_STREAM, *arguments[1:3], arguments[3][:2], arguments[4], None, 2, 1)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("wrong", [-1, 4, 2**40])
def test_a_slot_of_no_token_ends_the_launch(emulated, dtype, wrong):
    _, qk, v, slots, back, *_ = inputs(1, 4, 0, 1, 8, dtype)
    slots[int(back[2])] = wrong
    with pytest.raises(RuntimeError, match=r"attention_.*device_check"):
        emulated.group_attention(qk, v, slots, back, None, 4, 1, torch.empty_like(v), DEFAULT_STREAM)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_a_token_whose_output_would_come_from_a_foreign_slot_ends_the_launch(emulated, dtype):
    _, qk, v, slots, back, *_ = inputs(1, 4, 0, 1, 8, dtype)
    back[0] = back[1]
    with pytest.raises(RuntimeError, match=r"attention_.*device_check"):
        emulated.group_attention(qk, v, slots, back, None, 4, 1, torch.empty_like(v), DEFAULT_STREAM)


def test_a_workspace_that_is_too_small_is_refused(emulated):
    grad, qk, v, slots, back, *_ = inputs(1, 4, 1, 1, 8, torch.float32)
    with pytest.raises(ValueError, match="workspace is too small"):
        emulated.group_attention_backward(
            grad, qk, v, slots, back, None, 4, 1, torch.empty_like(qk), torch.empty_like(v),
            torch.empty(8, dtype=torch.uint8), DEFAULT_STREAM,
        )
