import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from perception_ops import segment_reduce

REDUCTIONS = ("max", "mean", "sum")
FEATURES = torch.tensor([[1.0, -5.0], [4.0, -2.0], [3.0, -7.0]])
INDEX = torch.tensor([2, 0, 2])


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


@pytest.mark.parametrize("reduce", REDUCTIONS)
def test_opcheck_passes(reduce):
    features = torch.randn(6, 3, generator=torch.Generator().manual_seed(0), requires_grad=True)
    index = torch.tensor([0, 0, 3, 1, 1, 1])
    torch.library.opcheck(torch.ops.perception.segment_reduce.default, (features, index, 4, reduce))
    top = segment_reduce(features, index, 4).detach()
    torch.library.opcheck(torch.ops.perception.segment_argmax.default, (features.detach(), index, top))


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
        ({"reduce": "median"}, "reduce must be one of max, mean, sum, got 'median'"),
    ],
)
def test_bad_arguments_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        segment_reduce(**{"features": FEATURES, "index": INDEX, "num_segments": 3} | change)
