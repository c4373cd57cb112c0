"""The emulation itself: what it executes rightly, and the mistakes that it must find."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from build_emulated import UnavailableError, run_sanitized

LANES = range(32)


def numbers(count: int) -> np.ndarray:
    return np.arange(count, dtype=np.int32)


@pytest.mark.parametrize("seed", [0, 1, 7])
@pytest.mark.parametrize("threads", [1, 31, 33, 256])
def test_a_barrier_makes_what_others_wrote_visible(probes, threads, seed):
    probes.set_order_seed(seed)
    out = np.zeros(threads, dtype=np.int32)
    probes.reverse(numbers(threads), out, True)
    assert out.tolist() == numbers(threads)[::-1].tolist()


def test_a_missing_barrier_shows_in_other_results_for_another_order(probes):
    results = []
    for seed in (0, 1, 7):
        probes.set_order_seed(seed)
        out = np.zeros(64, dtype=np.int32)
        probes.reverse(numbers(64), out, False)
        results.append(out.tolist())
    assert results[0] != results[1] != results[2] != numbers(64)[::-1].tolist()


def test_shared_memory_is_garbage_when_a_block_begins(probes):
    out = numbers(3)
    probes.keep_in_shared(out)
    assert (out == np.int32(-842150451)).all()              # 0xCDCDCDCD


@pytest.mark.parametrize("seed", [0, 1, 7])
def test_threads_that_end_before_a_barrier_are_reported_with_kernel_and_place(probes, seed):
    probes.set_order_seed(seed)
    with pytest.raises(RuntimeError, match=r"some_threads_at_barrier, block .*probes\.cpp:\d+: __syncthreads\(\)"):
        probes.some_threads_at_barrier(17)


def test_threads_at_two_barriers_are_reported(probes):
    with pytest.raises(RuntimeError, match=r"two_barriers, .*__syncthreads\(\) while other threads wait at"):
        probes.two_barriers()


def test_a_launch_after_a_broken_one_works(probes):
    with pytest.raises(RuntimeError, match="two_barriers"):
        probes.two_barriers()
    probes.some_threads_at_barrier(64)


def test_a_shuffle_that_reads_an_absent_lane_is_reported(probes):
    out = np.zeros(32, dtype=np.int32)
    with pytest.raises(RuntimeError, match="reads lane 20, which takes no part"):
        probes.shuffle_from(numbers(32), out, 0xFFFF, 20)
    probes.shuffle_from(numbers(32), out, 0xFFFF, 11)
    assert out.tolist() == [11] * 16 + [0] * 16


def test_a_shuffle_beyond_a_short_block_is_reported(probes):
    with pytest.raises(RuntimeError, match="reads lane 20, which takes no part"):
        probes.shuffle_from(numbers(20), np.zeros(20, dtype=np.int32), 0xFFFFFFFF, 20)


@pytest.mark.parametrize("seed", [0, 1, 7])
def test_a_shuffle_with_a_lane_that_has_ended_is_reported(probes, seed):
    probes.set_order_seed(seed)
    with pytest.raises(RuntimeError, match="a lane of its mask has ended"):
        probes.shuffle_after_exit(np.zeros(32, dtype=np.int32))


@pytest.mark.parametrize(("step", "width"), [(1, 32), (5, 32), (3, 8), (8, 16)])
def test_shuffles_stay_in_their_section_as_the_device_does(probes, step, width):
    out = np.zeros(96, dtype=np.int32)
    probes.shuffles(numbers(32) * 10, out, step, width)
    first, last = [lane // width * width for lane in LANES], [lane // width * width + width - 1 for lane in LANES]
    flipped = [lane ^ step if lane ^ step <= last[lane] else lane for lane in LANES]
    lower = [lane - step if lane - step >= first[lane] else lane for lane in LANES]
    upper = [lane + step if lane + step <= last[lane] else lane for lane in LANES]
    assert (out // 10).tolist() == flipped + lower + upper


@pytest.mark.parametrize(("count", "threads"), [(1, 32), (257, 64), (1000, 128)])
def test_votes_shuffles_and_atomics_add_up(probes, count, threads):
    total, odd = np.zeros(1, dtype=np.uint64), np.zeros(1, dtype=np.uint32)
    probes.warp_sums(numbers(count), total, odd, threads)
    assert (int(total[0]), int(odd[0])) == (count * (count - 1) // 2, count // 2)


def test_launches_that_no_device_takes_are_refused(probes):
    with pytest.raises(RuntimeError, match="102400 bytes of shared memory are more than 99 KiB"):
        probes.store_in_dynamic(numbers(1), 0, 100 << 10)
    with pytest.raises(RuntimeError, match=r"no device takes grid \(1, 1, 1\) of blocks \(1025, 1, 1\)"):
        probes.reverse(numbers(1025), numbers(1025), True)


@pytest.mark.parametrize("waits", [True, False])
def test_an_asynchronous_copy_arrives_no_earlier_than_it_is_waited_for(probes, waits):
    out = numbers(4)
    buffer = np.zeros(8, dtype=np.int32)
    start = -(buffer.ctypes.data // 4) % 4                  # the next address that 16 divides
    source = buffer[start : start + 4]
    source[:] = 5, 6, 7, 8
    probes.copy_through_shared(source, out, waits)
    assert out.tolist() == ([5, 6, 7, 0] if waits else [-842150451] * 4)


# The layouts below are those of the PTX ISA: g = lane / 4, t = lane % 4, element i of a fragment is half i % 2 of
# register i / 2.


def place_in_a(lane: int, i: int) -> tuple[int, int]:
    g, t = divmod(lane, 4)
    row = g if i < 2 or 4 <= i < 6 else g + 8
    return row, 2 * t + (i & 1) + (0 if i < 4 else 8)


def place_in_b(lane: int, i: int) -> tuple[int, int]:
    g, t = divmod(lane, 4)
    return 2 * t + (i & 1) + (0 if i < 2 else 8), g


def place_in_d(lane: int, i: int) -> tuple[int, int]:
    g, t = divmod(lane, 4)
    return (g if i < 2 else g + 8), 2 * t + (i & 1)


def fragment(matrix: torch.Tensor, place, elements: int) -> np.ndarray:
    """(32, elements / 2) registers of a matrix of 16-bit numbers."""
    rows = [[matrix[place(lane, i)] for i in range(elements)] for lane in LANES]
    halves = torch.tensor(rows, dtype=matrix.dtype).view(torch.int16)
    return halves.numpy().view(np.uint32)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_the_fragment_product_equals_a_matrix_product(probes, dtype):
    generator = torch.Generator().manual_seed(0)
    a, b = torch.randn(16, 16, generator=generator).to(dtype), torch.randn(16, 8, generator=generator).to(dtype)
    d = np.ones((32, 4), dtype=np.float32)
    multiply = probes.multiply_float16 if dtype is torch.float16 else probes.multiply_bfloat16
    multiply(fragment(a, place_in_a, 8), fragment(b, place_in_b, 4), d)
    expected = 1 + a.float() @ b.float()
    found = torch.empty(16, 8)
    for lane, i in itertools.product(LANES, range(4)):
        found[place_in_d(lane, i)] = float(d[lane, i])
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)      # 16 products added in another order


def test_one_number_of_a_fragment_stands_where_the_instruction_puts_it(probes):
    """A 1 in one place of A and a column of ones in B light up one row of D: hand-picked cases of the tables."""
    ones = fragment(torch.ones(16, 8, dtype=torch.float16), place_in_b, 4)
    for lane, register, row in [(0, 0, 0), (0, 1, 8), (5, 0, 1), (31, 2, 7), (31, 3, 15)]:
        a, d = np.zeros((32, 4), dtype=np.uint32), np.zeros((32, 4), dtype=np.float32)
        a[lane, register] = 0x3C00                          # 1.0 in the lower half
        probes.multiply_float16(a, ones, d)
        lit = {place_in_d(at, i)[0] for at, i in itertools.product(LANES, range(4)) if d[at, i]}
        assert lit == {row}


@pytest.mark.parametrize("is_transposed", [False, True])
def test_loaded_matrices_stand_where_the_instruction_puts_them(probes, is_transposed):
    matrices = np.arange(256, dtype=np.uint16).reshape(4, 8, 8)
    registers = np.zeros((32, 4), dtype=np.uint32)
    probes.load_fragments(matrices.reshape(32, 8), registers, is_transposed)
    for lane, matrix, half in itertools.product(LANES, range(4), range(2)):
        row, column = lane // 4, 2 * (lane % 4) + half
        source = matrices[matrix].T if is_transposed else matrices[matrix]
        assert registers.view(np.uint16).reshape(32, 4, 2)[lane, matrix, half] == source[row, column]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_rounds_as_torch_does(probes, dtype):
    bits = torch.arange(-(2**15), 2**15, dtype=torch.int16)
    every = bits.view(dtype).float()                        # each number there is, their midpoints and neighbours
    halves = [every, every * (1 + 2**-12), every * (1 - 2**-12), (every + every.roll(1)) / 2]
    values = torch.cat([*halves, torch.tensor([65519.9, 65520.0, 1e-8, 3e38, float("inf")])])
    out = np.zeros(len(values), dtype=np.float32)
    (probes.round_float16 if dtype is torch.float16 else probes.round_bfloat16)(values.numpy(), out)
    torch.testing.assert_close(torch.from_numpy(out), values.to(dtype).float(), atol=0, rtol=0, equal_nan=True)


@pytest.mark.parametrize(
    ("store", "finding"),
    [
        ("store_at(array, 4)", "heap-buffer-overflow"),
        ("store_in_shared(array, 4)", "index 4 out of bounds"),
        ("store_in_dynamic(array, 3, 12)", "use-after-poison"),
    ],
)
def test_a_store_out_of_bounds_is_found_by_the_sanitizers(store, finding):
    code = "import _probes, numpy\narray = numpy.zeros(4, numpy.int32)\n"
    inside = store.replace("4)", "3)").replace("3, 12)", "2, 12)")
    try:
        good, bad = run_sanitized("-c", f"{code}_probes.{inside}"), run_sanitized("-c", f"{code}_probes.{store}")
    except UnavailableError as error:
        pytest.skip(str(error))
    assert good.returncode == 0, good.stderr
    assert bad.returncode != 0
    assert finding in bad.stderr
