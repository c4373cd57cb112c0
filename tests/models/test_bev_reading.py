import pytest
import torch
from torch.nn import functional as F

from perception.models.bev_reading import cell_positions, read_bev

REGION = (-4.0, -2.0, 4.0, 2.0)                       # 8 m by 4 m


def test_positions_count_columns_along_x_and_rows_along_y_from_the_middle_of_the_first_cell():
    xy = torch.tensor([[-4.0, -2.0], [-3.5, -1.5], [0.0, 0.0], [4.0, 2.0], [100.0, -100.0]])
    expected = torch.tensor([[-0.5, -0.5], [0.0, 0.0], [3.5, 1.5], [7.5, 3.5], [7.5, -0.5]])
    torch.testing.assert_close(cell_positions(xy, REGION, (4, 8)), expected)


def test_the_nearest_cell_is_the_one_that_the_place_lies_in():
    bev = torch.arange(2 * 3 * 4 * 8.0).view(2, 3, 4, 8)
    positions = cell_positions(torch.tensor([[-3.01, 0.99], [3.99, 1.99], [-9.0, 9.0]]), REGION, (4, 8))
    read = read_bev(bev, positions, torch.tensor([1, 0, 1]), "nearest")
    assert torch.equal(read, torch.stack([bev[1, :, 2, 0], bev[0, :, 3, 7], bev[1, :, 3, 0]]))


@pytest.mark.parametrize("reach_m", [3.0, 30.0])
def test_bilinear_reading_equals_grid_sample_with_the_border_repeated(reach_m):
    draw = torch.Generator().manual_seed(0)
    bev = torch.rand(2, 5, 4, 8, generator=draw, dtype=torch.float64, requires_grad=True)
    xy = (torch.rand(2, 40, 2, generator=draw, dtype=torch.float64) - 0.5) * 2 * reach_m
    grid = xy / torch.tensor([4.0, 2.0], dtype=torch.float64)
    expected = F.grid_sample(bev, grid[:, None], padding_mode="border", align_corners=False)[:, :, 0]   # (B, C, P)
    sample = torch.repeat_interleave(torch.arange(2), 40)
    read = read_bev(bev, cell_positions(xy.flatten(0, 1), REGION, (4, 8)), sample, "bilinear")
    torch.testing.assert_close(read, expected.transpose(1, 2).flatten(0, 1))
    weights = torch.rand(read.shape, generator=draw, dtype=torch.float64)
    (ours,) = torch.autograd.grad((read * weights).sum(), bev, retain_graph=True)
    (theirs,) = torch.autograd.grad((expected.transpose(1, 2).flatten(0, 1) * weights).sum(), bev)
    torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("sampling", ["nearest", "bilinear"])
def test_no_point_reads_nothing_but_keeps_the_graph(sampling):
    bev = torch.rand(1, 5, 4, 8, requires_grad=True)
    read = read_bev(bev, torch.zeros(0, 2), torch.zeros(0, dtype=torch.int64), sampling)
    read.sum().backward()
    assert read.shape == (0, 5)
    assert bev.grad.abs().sum() == 0
