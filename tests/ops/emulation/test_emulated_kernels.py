"""The CUDA kernels, executed on the host through the faces that a GPU's tensors take, against the references."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from random_cells import distinct_cells, normal, shared_cells

from perception_ops import cuda
from perception_ops.bev_scatter import bev_gather_reference, bev_scatter_reference
from perception_ops.segment_max import segment_max_backward_reference, segment_max_reference
from perception_ops.segment_sum import segment_sum_reference
from perception_ops.voxelize import voxelize_reference
from perception_ops.window_partition import window_partition_reference

ROWS = [0, 1, 31, 33, 257]
DTYPES = [torch.float32, torch.bfloat16, torch.float16]
ROUNDED = {torch.bfloat16: {"atol": 2**-5, "rtol": 2**-7}, torch.float16: {"atol": 2**-8, "rtol": 2**-10}}
DEFAULT_STREAM = 0
RANGE = [-16.0, -8.0, -3.0, 16.0, 8.0, 3.0]


def assert_equal(ours: torch.Tensor, expected: torch.Tensor) -> None:
    torch.testing.assert_close(ours, expected, atol=0, rtol=0, equal_nan=True)


@pytest.mark.parametrize("counts", [[0], [1], [31], [33, 0, 1], [0, 257, 12, 0], [40, 40]], ids=str)
@pytest.mark.parametrize("group_size", [1, 7, 32])
def test_window_partition_equals_its_reference(shuffled, counts, group_size):
    coords = distinct_cells(counts, nx=23, ny=17)
    arguments = coords, len(counts), (23, 17), (5, 4), group_size
    for ours, expected in zip(
        cuda.window_partition(shuffled, DEFAULT_STREAM, *arguments), window_partition_reference(*arguments), strict=True
    ):
        assert_equal(ours, expected)


def test_window_partition_keeps_the_row_order_among_equal_cells(emulated):
    coords = torch.tensor([[0, 0, 2, 3]] * 40 + [[0, 0, 0, 0]] * 3, dtype=torch.int32)
    orders = cuda.window_partition(emulated, DEFAULT_STREAM, coords, 1, (8, 8), (4, 4), 4)[0]
    assert orders[0].tolist() == [40, 41, 42, *range(40)]


def test_window_partition_refuses_a_cell_outside_the_grid(emulated):
    with pytest.raises(ValueError, match=r"coords x must lie in \[0, 8\), got 9"):
        cuda.window_partition(emulated, DEFAULT_STREAM, torch.tensor([[0, 0, 0, 9]]).int(), 1, (8, 8), (4, 4), 4)


@pytest.mark.parametrize("points", ROWS)
@pytest.mark.parametrize("grid", [(64, 32, 1), (5, 3, 2)])
def test_voxelize_equals_its_reference(shuffled, points, grid):
    xyz = normal(points, 3) * torch.tensor([9.0, 5.0, 2.0])                # some lie outside the range
    batch = torch.randint(4, (points,), generator=torch.Generator().manual_seed(1)) * 2      # samples without points
    size = [32 / grid[0], 16 / grid[1], 6 / grid[2]]
    arguments = xyz, batch, size, RANGE, grid
    for ours, expected in zip(
        cuda.voxelize(shuffled, DEFAULT_STREAM, *arguments), voxelize_reference(*arguments), strict=True
    ):
        assert_equal(ours, expected)


def test_voxelize_refuses_a_point_that_is_no_number(emulated):
    xyz = torch.tensor([[0.0, 0.0, 0.0], [0.0, float("nan"), 0.0]])
    with pytest.raises(ValueError, match="xyz must be finite, row 1"):
        cuda.voxelize(emulated, DEFAULT_STREAM, xyz, torch.zeros(2).long(), [1.0] * 3, RANGE, [32, 16, 6])


def rows_and_index(rows: int, channels: int, segments: int, dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
    """Features with equal values, NaN and both zeros, and segments of which some are empty."""
    features = normal(rows, channels).mul(4).round().div(4)
    features[features > 2] = float("nan")
    index = torch.randint(segments, (rows,), generator=torch.Generator().manual_seed(2)) // 2 * 2
    return features.to(dtype), index


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("channels", [1, 5, 8, 132])
@pytest.mark.parametrize("rows", ROWS)
def test_segment_max_equals_its_reference(shuffled, rows, channels, dtype):
    for segments in (1, 3, 90):                                            # one long segment, and many short ones
        features, index = rows_and_index(rows, channels, segments, dtype)
        ours, argmax = cuda.segment_max(shuffled, DEFAULT_STREAM, features, index, segments)
        expected, expected_argmax = segment_max_reference(features, index, segments)
        assert_equal(ours, expected)
        assert_equal(argmax, expected_argmax)
        grad = normal(segments, channels, dtype=dtype)
        back = cuda.segment_max_backward(shuffled, DEFAULT_STREAM, grad, argmax, index)
        assert_equal(back, segment_max_backward_reference(grad, argmax, index))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("is_mean", [False, True])
@pytest.mark.parametrize("channels", [1, 5, 132])
@pytest.mark.parametrize("rows", ROWS)
def test_segment_sum_equals_its_reference(shuffled, rows, channels, is_mean, dtype):
    for segments in (1, 3, 90):
        features, index = rows_and_index(rows, channels, segments, dtype)
        ours = cuda.segment_sum(shuffled, DEFAULT_STREAM, features, index, segments, is_mean)
        expected = segment_sum_reference(features, index, segments, is_mean)
        # Quarters are exact in float32; a mean is rounded once.
        torch.testing.assert_close(ours, expected, atol=0, rtol=1e-6 if dtype is torch.float32 else 0, equal_nan=True)


def test_no_segments_and_no_channels_give_empty_tensors(emulated):
    nothing = torch.zeros(0, dtype=torch.int64)
    assert cuda.segment_max(emulated, DEFAULT_STREAM, torch.zeros(0, 4), nothing, 0)[0].shape == (0, 4)
    assert cuda.segment_sum(emulated, DEFAULT_STREAM, torch.zeros(3, 0), torch.zeros(3).long(), 2, True).shape == (2, 0)


@pytest.mark.parametrize("wrong", [2, -1, 2**32, 2**62])
def test_an_index_out_of_range_ends_the_launch(emulated, wrong):
    index, space = torch.tensor([0, wrong, 1]), torch.empty(emulated.segment_workspace(3, 2), dtype=torch.uint8)
    with pytest.raises(RuntimeError, match=r"number_rows.*device_check"):
        emulated.segment_sum(torch.zeros(3, 2), index, False, torch.zeros(2, 2), space, DEFAULT_STREAM)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("channels", [1, 5, 36])
@pytest.mark.parametrize("rows", ROWS)
def test_bev_scatter_equals_its_reference_where_rows_share_cells(shuffled, rows, channels, channels_last, dtype):
    features, coords = normal(rows, channels, dtype=dtype), shared_cells(rows, samples=2, nx=13, ny=7)
    ours = cuda.bev_scatter(shuffled, DEFAULT_STREAM, features, coords, 2, 7, 13, channels_last)
    expected = bev_scatter_reference(features, coords, 2, 7, 13, channels_last)
    assert ours.stride() == expected.stride()
    # Both add in row order; torch rounds sums of one column of halves once instead of after each of up to eight rows.
    torch.testing.assert_close(ours, expected, **({"atol": 0, "rtol": 0} if dtype is torch.float32 else ROUNDED[dtype]))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("rows", ROWS)
def test_bev_gather_equals_its_reference_in_any_memory_order(shuffled, rows, dtype):
    coords = shared_cells(rows, samples=2, nx=13, ny=7)
    planes = normal(2, 40, 7, 13, dtype=dtype)
    maps = [planes, planes.contiguous(memory_format=torch.channels_last), planes[:, 2:35], planes[:, :1, :1, :1]]
    maps += [planes.contiguous(memory_format=torch.channels_last)[:, 4:], maps[-1].expand(2, 33, 7, 13)]
    for canvas in maps:
        ours = cuda.bev_gather(shuffled, DEFAULT_STREAM, canvas.expand(-1, -1, 7, 13), coords)
        assert_equal(ours, bev_gather_reference(canvas.expand(-1, -1, 7, 13), coords))


def test_a_cell_outside_the_map_ends_the_launch(emulated):
    outside = torch.tensor([[0, 0, 7, 0]], dtype=torch.int32)
    with pytest.raises(RuntimeError, match=r"number_cells.*device_check"):
        cuda.bev_scatter(emulated, DEFAULT_STREAM, torch.ones(1, 2), outside, 1, 7, 13, False)
    with pytest.raises(RuntimeError, match=r"gather_tiles.*device_check"):
        cuda.bev_gather(emulated, DEFAULT_STREAM, torch.ones(1, 2, 7, 13), outside)


def test_strided_tensors_are_read_as_they_lie(emulated):
    features, coords, index = normal(9, 12), shared_cells(18, samples=2, nx=13, ny=7), torch.arange(18) % 4
    rows, cells, segments = features[:, ::2], coords[::2], index[::2]
    assert_equal(cuda.segment_max(emulated, 0, rows, segments, 4)[0], segment_max_reference(rows, segments, 4)[0])
    assert_equal(cuda.bev_scatter(emulated, 0, rows, cells, 2, 7, 13, False),
                 bev_scatter_reference(rows, cells, 2, 7, 13, False))


def test_packs_of_four_are_not_taken_where_rows_are_not_aligned_to_them(emulated):
    features, index = normal(37 * 8 + 1)[1:].view(37, 8), torch.arange(37) % 5         # 4 bytes beyond an aligned place
    assert_equal(cuda.segment_max(emulated, 0, features, index, 5)[0], segment_max_reference(features, index, 5)[0])


@given(
    counts=st.lists(st.integers(0, 70), min_size=1, max_size=5), grid=st.tuples(st.integers(9, 40), st.integers(8, 40)),
    window=st.tuples(st.integers(1, 50), st.integers(1, 50)), group_size=st.integers(1, 80),
)
@settings(max_examples=40)
def test_window_partition_equals_its_reference_on_any_grid(emulated, counts, grid, window, group_size):
    arguments = distinct_cells(counts, *grid), len(counts), grid, window, group_size
    for ours, expected in zip(
        cuda.window_partition(emulated, DEFAULT_STREAM, *arguments), window_partition_reference(*arguments), strict=True
    ):
        assert_equal(ours, expected)


@given(
    rows=st.integers(0, 300), channels=st.integers(0, 70), segments=st.integers(1, 400), dtype=st.sampled_from(DTYPES),
    seed=st.integers(0, 2**32),
)
@settings(max_examples=40)
def test_segment_max_equals_its_reference_for_any_shape_and_order(emulated, rows, channels, segments, dtype, seed):
    emulated.set_order_seed(seed)
    features, index = rows_and_index(rows, channels, segments, dtype)
    for ours, expected in zip(
        cuda.segment_max(emulated, DEFAULT_STREAM, features, index, segments),
        segment_max_reference(features, index, segments), strict=True,
    ):
        assert_equal(ours, expected)


def test_float64_takes_the_references(emulated):
    features, index = normal(9, 3).double(), torch.arange(9) % 2
    assert_equal(cuda.segment_max(emulated, 0, features, index, 2)[0], segment_max_reference(features, index, 2)[0])
    mean = cuda.segment_sum(emulated, 0, features, index, 2, True)
    assert_equal(mean, segment_sum_reference(features, index, 2, True))


def test_a_workspace_that_is_too_small_is_refused(emulated):
    features, index, out = torch.ones(4, 2), torch.zeros(4).long(), torch.ones(1, 2)
    with pytest.raises(ValueError, match="workspace is too small"):
        emulated.segment_sum(features, index, False, out, torch.empty(8, dtype=torch.uint8), DEFAULT_STREAM)
