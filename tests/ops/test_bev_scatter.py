import pytest
import torch

from perception_ops import bev_scatter

COORDS = torch.tensor([[0, 0, 1, 2], [1, 0, 0, 0], [1, 0, 1, 1]], dtype=torch.int32)
FEATURES = torch.arange(6.0).reshape(3, 2) + 1


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


def test_no_rows_give_an_empty_map():
    canvas = bev_scatter(torch.zeros(0, 4), torch.zeros(0, 4, dtype=torch.int32), 2, 5, 7)
    assert canvas.shape == (2, 4, 5, 7)
    assert not canvas.any()


def test_opcheck_passes():
    arguments = (FEATURES.clone().requires_grad_(), COORDS, 2, 2, 3)
    torch.library.opcheck(torch.ops.perception.bev_scatter.default, arguments)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"coords": COORDS.long()}, r"coords must be torch.int32 \(3, 4\), got torch.int64 \(3, 4\)"),
        ({"coords": COORDS[:2]}, r"coords must be torch.int32 \(3, 4\), got torch.int32 \(2, 4\)"),
        ({"batch_size": 1}, r"coords batch must lie in \[0, 1\), got 1"),
        ({"ny": 1}, r"coords y must lie in \[0, 1\), got 1"),
        ({"nx": 2}, r"coords x must lie in \[0, 2\), got 2"),
        ({"nx": 0}, "nx must be at least 1, got 0"),
    ],
)
def test_bad_arguments_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        bev_scatter(**{"features": FEATURES, "coords": COORDS, "batch_size": 2, "ny": 2, "nx": 3} | change)
