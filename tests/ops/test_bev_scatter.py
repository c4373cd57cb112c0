import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from perception_ops import bev_scatter, native_kernels
from perception_ops.bev_scatter import bev_gather_reference, bev_scatter_reference

COORDS = torch.tensor([[0, 0, 1, 2], [1, 0, 0, 0], [1, 0, 1, 1]], dtype=torch.int32)
FEATURES = torch.arange(6.0).reshape(3, 2) + 1
NATIVE_DTYPES = (torch.float32, torch.bfloat16)
ORDERS = pytest.mark.parametrize("channels_last", [False, True])
needs_native = pytest.mark.skipif("bev_scatter" not in native_kernels(), reason="native kernels are not in use")


def test_rows_land_at_y_and_x_of_their_sample_and_the_rest_is_zero():
    canvas = bev_scatter(FEATURES, COORDS, 2, 2, 3)
    assert canvas.shape == (2, 2, 2, 3)
    assert canvas.is_contiguous()
    assert canvas[0, :, 1, 2].tolist() == [1.0, 2.0]
    assert canvas[1, :, 0, 0].tolist() == [3.0, 4.0]
    assert canvas[1, :, 1, 1].tolist() == [5.0, 6.0]
    assert canvas.count_nonzero() == 6


def test_rows_of_one_cell_are_summed():
    coords = torch.tensor([[0, 0, 1, 1], [0, 3, 1, 1]], dtype=torch.int32)
    assert bev_scatter(torch.tensor([[1.0], [2.5]]), coords, 1, 2, 2).flatten().tolist() == [0, 0, 0, 3.5]


@pytest.mark.parametrize("coords", [COORDS, COORDS[[0, 0, 1]]], ids=["distinct cells", "a shared cell"])
def test_gradients_equal_finite_differences(coords):
    features = FEATURES.double().requires_grad_()
    assert torch.autograd.gradcheck(lambda f: bev_scatter(f, coords, 2, 2, 3), features)


@ORDERS
def test_second_derivatives_equal_finite_differences(channels_last):
    features = FEATURES.double().requires_grad_()
    assert torch.autograd.gradgradcheck(
        lambda f: bev_scatter(f, COORDS, 2, 2, 3, channels_last=channels_last).pow(3), features
    )


def test_channels_last_changes_the_memory_order_alone():
    ours = bev_scatter(FEATURES, COORDS, 2, 2, 3, channels_last=True)
    assert ours.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(ours, bev_scatter(FEATURES, COORDS, 2, 2, 3))


@needs_native
@settings(max_examples=60, deadline=None)
@given(
    rows=st.integers(0, 60), channels=st.integers(0, 37), samples=st.integers(1, 3), ny=st.integers(1, 9),
    nx=st.integers(1, 9), dtype=st.sampled_from(NATIVE_DTYPES), channels_last=st.booleans(), seed=st.integers(0, 999),
)
def test_native_equals_the_references_at_odd_sizes(rows, channels, samples, ny, nx, dtype, channels_last, seed):
    generator = torch.Generator().manual_seed(seed)
    features = torch.randint(-3, 4, (rows, channels), generator=generator).to(dtype)       # sums are exact in bfloat16
    coords = (torch.rand(rows, 4, generator=generator) * torch.tensor([samples, 5, ny, nx])).int()   # cells are shared
    sizes = (samples, ny, nx, channels_last)
    ours = torch.ops.perception.bev_scatter(features, coords, *sizes)
    expected = bev_scatter_reference(features, coords, *sizes)
    assert torch.equal(ours, expected)
    assert ours.stride() == expected.stride()
    canvas = torch.randn(ours.shape, generator=generator).to(dtype).as_strided(ours.shape, ours.stride())
    assert torch.equal(torch.ops.perception.bev_gather(canvas, coords), bev_gather_reference(canvas, coords))


@ORDERS
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_sums_of_half_precision_are_rounded_once(dtype, channels_last):
    rows = torch.full((70, 1), 6.4375, dtype=dtype)
    canvas = bev_scatter(rows, torch.zeros(70, 4, dtype=torch.int32), 1, 1, 1, channels_last=channels_last)
    assert canvas.item() == torch.tensor(70 * 6.4375).to(dtype).item()


@needs_native
@ORDERS
@pytest.mark.parametrize("threads", [1, 2, 3])
def test_the_number_of_threads_changes_nothing(threads, channels_last):
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(900, 70, generator=generator)
    coords = torch.randint(20, (900, 4), generator=generator).int() % torch.tensor([2, 1, 20, 20]).int()
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        ours = bev_scatter(features, coords, 2, 20, 20, channels_last=channels_last)
    finally:
        torch.set_num_threads(before)
    assert torch.equal(ours, bev_scatter_reference(features, coords, 2, 20, 20, channels_last))


def test_a_gradient_of_one_repeated_number_is_read_rightly():
    features = FEATURES.clone().requires_grad_()
    bev_scatter(features, COORDS, 2, 2, 3).sum().backward()      # its gradient has strides 0
    assert torch.equal(features.grad, torch.ones(3, 2))


def test_no_rows_give_an_empty_map():
    canvas = bev_scatter(torch.zeros(0, 4), torch.zeros(0, 4, dtype=torch.int32), 2, 5, 7)
    assert canvas.shape == (2, 4, 5, 7)
    assert not canvas.any()


@ORDERS
@pytest.mark.parametrize("dtype", [*NATIVE_DTYPES, torch.float64])
def test_opcheck_passes(dtype, channels_last):
    features = FEATURES.to(dtype).requires_grad_()
    torch.library.opcheck(torch.ops.perception.bev_scatter.default, (features, COORDS, 2, 2, 3, channels_last))
    canvas = torch.rand(2, 2, 2, 3, dtype=dtype, requires_grad=True)
    torch.library.opcheck(torch.ops.perception.bev_gather.default, (canvas, COORDS))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"coords": COORDS.long()}, r"coords must be torch.int32 \(3, 4\), got torch.int64 \(3, 4\)"),
        ({"coords": COORDS[:2]}, r"coords must be torch.int32 \(3, 4\), got torch.int32 \(2, 4\)"),
        ({"batch_size": 1}, r"coords batch must lie in \[0, 1\), got 1"),
        ({"ny": 1}, r"coords y must lie in \[0, 1\), got 1"),
        ({"nx": 2}, r"coords x must lie in \[0, 2\), got 2"),
        ({"nx": 0}, "nx must be at least 1, got 0"),
        ({"nx": 2**62}, r"batch_size \* ny \* nx must be at most 2147483647, got 2 x 2 x 4611686018427387904"),
        ({"coords": COORDS.to("meta")}, "coords must lie on cpu as features does, got meta"),
    ],
)
def test_bad_arguments_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        bev_scatter(**{"features": FEATURES, "coords": COORDS, "batch_size": 2, "ny": 2, "nx": 3} | change)
