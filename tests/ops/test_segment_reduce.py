import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from perception_ops import native_kernels, segment_reduce
from perception_ops.segment_max import segment_max_backward_reference, segment_max_reference
from perception_ops.segment_sum import segment_sum_reference

REDUCTIONS = ("max", "mean", "sum")
FEATURES = torch.tensor([[1.0, -5.0], [4.0, -2.0], [3.0, -7.0]])
INDEX = torch.tensor([2, 0, 2])
NATIVE_DTYPES = (torch.float32, torch.bfloat16)
needs_native = pytest.mark.skipif("segment_max" not in native_kernels(), reason="native kernels are not in use")


def random_rows(rows: int, channels: int, segments: int, dtype: torch.dtype, seed: int):
    """Features with many equal values, so that ties occur, and an index that leaves some segments empty."""
    generator = torch.Generator().manual_seed(seed)
    features = torch.randint(-3, 4, (rows, channels), generator=generator) / 3
    return features.to(dtype), torch.randint(max(segments - 1, 1), (rows,), generator=generator)


@pytest.mark.parametrize(
    ("reduce", "expected"),
    [
        ("max", [[4.0, -2.0], [0.0, 0.0], [3.0, -5.0]]),
        ("mean", [[4.0, -2.0], [0.0, 0.0], [2.0, -6.0]]),
        ("sum", [[4.0, -2.0], [0.0, 0.0], [4.0, -12.0]]),
    ],
)
def test_rows_of_a_segment_combine_and_an_empty_segment_is_zero(reduce, expected):
    assert segment_reduce(FEATURES, INDEX, 3, reduce).tolist() == expected


@settings(max_examples=30, deadline=None)
@given(reduce=st.sampled_from(REDUCTIONS), rows=st.integers(0, 70), segments=st.integers(1, 9), seed=st.integers(0, 99))
def test_equals_a_loop_over_the_segments(reduce, rows, segments, seed):
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(rows, 5, generator=generator)
    index = torch.randint(segments, (rows,), generator=generator)
    one = {"max": lambda part: part.amax(0), "mean": lambda part: part.mean(0), "sum": lambda part: part.sum(0)}[reduce]
    expected = [one(features[index == m]) if (index == m).any() else torch.zeros(5) for m in range(segments)]
    torch.testing.assert_close(segment_reduce(features, index, segments, reduce), torch.stack(expected))


@pytest.mark.parametrize("reduce", REDUCTIONS)
def test_gradients_equal_finite_differences(reduce):
    features = torch.randn(7, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(3), requires_grad=True)
    index = torch.tensor([4, 0, 0, 2, 4, 4, 1])
    assert torch.autograd.gradcheck(lambda f: segment_reduce(f, index, 6, reduce), features)


def test_the_gradient_of_equal_maxima_goes_to_the_lowest_row():
    features = torch.tensor([[1.0], [2.0], [2.0], [2.0]], requires_grad=True)
    segment_reduce(features, torch.tensor([0, 0, 0, 1]), 2).sum().backward()
    assert features.grad.flatten().tolist() == [0.0, 1.0, 0.0, 1.0]


@pytest.mark.parametrize("reduce", REDUCTIONS)
def test_no_rows_give_zeros(reduce):
    features = torch.zeros(0, 4, requires_grad=True)
    out = segment_reduce(features, torch.zeros(0, dtype=torch.int64), 3, reduce)
    out.sum().backward()
    assert out.tolist() == [[0.0] * 4] * 3
    assert features.grad.shape == (0, 4)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_the_dtype_of_the_features_is_kept(dtype):
    for reduce in REDUCTIONS:
        assert segment_reduce(FEATURES.to(dtype), INDEX, 3, reduce).dtype == dtype


@needs_native
@settings(max_examples=60, deadline=None)
@given(
    rows=st.integers(0, 90), channels=st.integers(0, 37), segments=st.integers(1, 40),
    dtype=st.sampled_from(NATIVE_DTYPES), seed=st.integers(0, 999),
)
def test_native_equals_the_references_at_odd_sizes(rows, channels, segments, dtype, seed):
    features, index = random_rows(rows, channels, segments, dtype, seed)
    top, argmax = torch.ops.perception.segment_max(features, index, segments)
    reference_top, reference_argmax = segment_max_reference(features, index, segments)
    assert torch.equal(top, reference_top)
    assert torch.equal(argmax, reference_argmax)
    grad = torch.randn(segments, channels, generator=torch.Generator().manual_seed(seed)).to(dtype)
    ours = torch.ops.perception.segment_max_backward(grad, argmax, index)
    assert torch.equal(ours, segment_max_backward_reference(grad, argmax, index))
    for is_mean in (False, True):                  # exact, since both add in row order
        ours = torch.ops.perception.segment_sum(features, index, segments, is_mean)
        assert torch.equal(ours, segment_sum_reference(features, index, segments, is_mean))


@needs_native
@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("dtype", NATIVE_DTYPES)
@pytest.mark.parametrize("segments", [1, 700])
def test_the_number_of_threads_changes_nothing(segments, dtype, threads):
    features, index = random_rows(3001, 33, segments, dtype, seed=1)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        top, argmax = torch.ops.perception.segment_max(features, index, segments)
        total = segment_reduce(features, index, segments, "sum")
    finally:
        torch.set_num_threads(before)
    reference_top, reference_argmax = segment_max_reference(features, index, segments)
    assert torch.equal(top, reference_top)
    assert torch.equal(argmax, reference_argmax)
    assert torch.equal(total, segment_sum_reference(features, index, segments, False))


@pytest.mark.parametrize("operator", ["op", "reference"])
@pytest.mark.parametrize("dtype", [*NATIVE_DTYPES, torch.float64])
def test_nan_and_infinity_are_values_like_others_and_the_first_nan_wins(dtype, operator):
    inf, nan = torch.inf, torch.nan
    features = torch.tensor([[1.0], [nan], [nan], [5.0], [-inf], [-inf], [inf]], dtype=dtype)
    index = torch.tensor([0, 0, 0, 0, 1, 1, 2])
    reduce = torch.ops.perception.segment_max if operator == "op" else segment_max_reference
    top, argmax = reduce(features, index, 4)
    torch.testing.assert_close(top, torch.tensor([[nan], [-inf], [inf], [0.0]], dtype=dtype), equal_nan=True)
    assert argmax.flatten().tolist() == [1, 4, 6, 7]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_sums_of_half_precision_do_not_get_stuck(dtype):
    ones = torch.ones(4096, 1, dtype=dtype)
    index = torch.zeros(4096, dtype=torch.int64)
    assert segment_reduce(ones, index, 1, "sum").item() == 4096
    assert segment_reduce(ones, index, 1, "mean").item() == 1


def test_features_and_gradients_with_gaps_in_memory_are_read_rightly():
    features, index = random_rows(20, 6, 5, torch.float32, seed=2)
    for reduce in REDUCTIONS:
        wide = torch.cat([features, features], 1).t().contiguous().t()[:, :6].requires_grad_()
        plain = features.clone().requires_grad_()
        assert torch.equal(segment_reduce(wide, index, 5, reduce), segment_reduce(plain, index, 5, reduce))
        (ours,) = torch.autograd.grad(segment_reduce(wide, index, 5, reduce).sum(), wide)
        (expected,) = torch.autograd.grad((segment_reduce(plain, index, 5, reduce) * torch.ones(5, 6)).sum(), plain)
        assert torch.equal(ours, expected)


@pytest.mark.parametrize("reduce", REDUCTIONS)
def test_second_derivatives_equal_finite_differences(reduce):
    features = torch.randn(7, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(3), requires_grad=True)
    index = torch.tensor([4, 0, 0, 2, 4, 4, 1])
    assert torch.autograd.gradgradcheck(lambda f: segment_reduce(f, index, 6, reduce).pow(3), features)


@pytest.mark.parametrize("dtype", [*NATIVE_DTYPES, torch.float64])
def test_opcheck_passes(dtype):
    features = torch.randn(6, 3, generator=torch.Generator().manual_seed(0)).to(dtype).requires_grad_()
    index = torch.tensor([0, 0, 3, 1, 1, 1])
    torch.library.opcheck(torch.ops.perception.segment_max.default, (features, index, 4))
    for is_mean in (False, True):
        torch.library.opcheck(torch.ops.perception.segment_sum.default, (features, index, 4, is_mean))
    top, argmax = torch.ops.perception.segment_max(features.detach(), index, 4)
    torch.library.opcheck(torch.ops.perception.segment_max_backward.default, (top.requires_grad_(), argmax, index))


def test_forward_and_backward_compile_when_the_number_of_rows_is_known_only_at_run_time():
    def top_of_positive_rows(features: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
        kept = features[:, 0] > 0
        return segment_reduce(features[kept], index[kept], 3)

    features = torch.randn(40, 2, generator=torch.Generator().manual_seed(0), requires_grad=True)
    index = torch.arange(40) % 3
    compiled = torch.compile(top_of_positive_rows, fullgraph=True, backend="aot_eager")
    with torch._dynamo.config.patch(capture_dynamic_output_shape_ops=True):
        (ours,) = torch.autograd.grad(compiled(features, index).square().sum(), features)
    (eager,) = torch.autograd.grad(top_of_positive_rows(features, index).square().sum(), features)
    torch.testing.assert_close(ours, eager)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"index": INDEX.int()}, r"index must be torch.int64 \(3,\), got torch.int32 \(3,\)"),
        ({"index": INDEX[:2]}, r"index must be torch.int64 \(3,\), got torch.int64 \(2,\)"),
        ({"features": FEATURES.long()}, r"features must be floating \(N, C\), got torch.int64 \(3, 2\)"),
        ({"num_segments": 2}, r"index must lie in \[0, 2\), got 2"),
        ({"num_segments": -1}, "num_segments must be >= 0, got -1"),
        ({"num_segments": 2**70}, "num_segments must be at most 2147483647, got 1180591620717411303424"),
        ({"index": INDEX.to("meta")}, "index must lie on cpu as features does, got meta"),
        ({"reduce": "median"}, "reduce must be one of max, mean, sum, got 'median'"),
    ],
)
def test_bad_arguments_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        segment_reduce(**{"features": FEATURES, "index": INDEX, "num_segments": 3} | change)
