from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from perception.models.pillar_scatter import PillarScatter
from perception.models.voxel_encoders.dynamic_vfe import DynamicVFE
from perception.models.voxel_encoders.hard_pillar import HardPillar
from perception.models.voxel_encoders.hard_voxelization import hard_voxelize
from perception.models.voxel_encoders.mean_vfe import MeanVFE
from perception.models.voxel_encoders.pillar_grid import PillarGrid, batch_points

RANGE, VOXEL = (-4.0, -3.0, -2.0, 4.0, 3.0, 2.0), (1.0, 1.0, 4.0)
GRID = PillarGrid(VOXEL, RANGE)
Cells = dict[tuple[int, ...], list[list[float]]]     # points by cell x, y, z


def random_cloud(count: int, seed: int = 0, reach: float = 5.0) -> torch.Tensor:
    draw = torch.Generator().manual_seed(seed)
    return (torch.rand(count, 4, generator=draw) - 0.5) * 2 * reach


def naive_hard_voxels(points: torch.Tensor, max_points: int, max_voxels: int) -> Cells:
    """Point by point, as the rule reads."""
    cells: Cells = {}
    for point in points:
        cell = tuple(math.floor((float(point[a]) - RANGE[a]) / VOXEL[a]) for a in range(3))
        if all(0 <= index < size for index, size in zip(cell, GRID.shape, strict=True)):
            if cell not in cells and len(cells) < max_voxels:
                cells[cell] = []
            if cell in cells and len(cells[cell]) < max_points:
                cells[cell].append(point.tolist())
    return cells


def test_grid_of_a_range_counts_its_cells():
    assert GRID.shape == (8, 6, 1)
    assert PillarGrid((0.32, 0.32, 6.0), (-74.88, -74.88, -2, 74.88, 74.88, 4)).shape == (468, 468, 1)


def test_centre_of_a_cell_given_by_batch_z_y_x():
    torch.testing.assert_close(GRID.centers(torch.tensor([[0, 0, 1, 7]])), torch.tensor([[3.5, -1.5, 0.0]]))


@settings(max_examples=30, deadline=None)
@given(count=st.integers(0, 80), max_points=st.integers(1, 4), max_voxels=st.integers(1, 30), seed=st.integers(0, 99))
def test_hard_voxels_equal_the_rule_point_by_point(count, max_points, max_voxels, seed):
    points = random_cloud(count, seed)
    voxels, coords, counts = hard_voxelize(points, GRID, max_points, max_voxels)
    expected = naive_hard_voxels(points, max_points, max_voxels)
    assert [tuple(row) for row in coords.flip(1).tolist()] == list(expected)
    assert counts.tolist() == [len(rows) for rows in expected.values()]
    for cell, rows in zip(voxels, expected.values(), strict=True):
        torch.testing.assert_close(cell[: len(rows)], torch.tensor(rows), atol=0, rtol=0)
        assert not cell[len(rows) :].any()


def test_features_of_a_pillar_worked_by_hand():
    encoder = DynamicVFE(3, (4,), voxel_size=VOXEL, point_range=RANGE)
    cloud = torch.tensor([[0.25, 0.25, 1.0], [0.75, 0.25, -1.0]])            # one pillar, centre (0.5, 0.5, 0)
    features, coords, inverse = encoder.voxelize([cloud])
    assert coords.tolist() == [[0, 0, 3, 4]]
    assert inverse.tolist() == [0, 0]
    expected = [[0.25, 0.25, 1, -0.25, 0, 1, -0.25, -0.25, 1], [0.75, 0.25, -1, 0.25, 0, -1, 0.25, -0.25, -1]]
    torch.testing.assert_close(features, torch.tensor(expected))


def test_standardized_inputs_are_of_one_size_and_their_statistics_are_kept():
    encoder = DynamicVFE(4, (8,), voxel_size=VOXEL, point_range=RANGE, standardize=True)
    seen = []
    encoder.layers[0].register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    for _ in range(200):                                   # until the running statistics have settled
        encoder.train()([random_cloud(500)])
    encoder.eval()([random_cloud(500)])
    for inputs in seen[-2:]:
        torch.testing.assert_close(inputs.mean(dim=0), torch.zeros(10), atol=1e-3, rtol=0)
        torch.testing.assert_close(inputs.std(dim=0), torch.ones(10), atol=2e-2, rtol=0)


def test_squashed_heights_are_further_inputs_in_which_a_kerb_stands_out():
    encoder = DynamicVFE(3, (4,), voxel_size=VOXEL, point_range=RANGE, heights=(0.1, 1.0))
    features, _, _ = encoder.voxelize([torch.tensor([[0.5, 0.5, 0.0], [0.5, 0.5, 0.1], [0.5, 0.5, 1.5]])])
    expected = [[0.0, 0.0], [math.tanh(1.0), math.tanh(0.1)], [1.0, math.tanh(1.5)]]
    torch.testing.assert_close(features[:, 9:], torch.tensor(expected))
    assert encoder.layers[0].linear.in_features == 11


def test_heights_that_are_not_positive_are_refused():
    with pytest.raises(ValueError, match=r"heights must be positive, got \(0.5, -1\)"):
        DynamicVFE(3, (4,), voxel_size=VOXEL, point_range=RANGE, heights=(0.5, -1))


@pytest.mark.parametrize(("outside", "pillars"), [("drop", 1), ("clamp", 2)])
def test_a_point_beyond_the_range_is_dropped_or_moved_to_the_border_cell(outside, pillars):
    encoder = DynamicVFE(3, (4,), voxel_size=VOXEL, point_range=RANGE, outside=outside).eval()
    features, coords = encoder([torch.tensor([[0.5, 0.5, 0.0], [99.0, 0.5, 0.0]])])
    assert len(coords) == len(features) == pillars
    assert coords[-1, 3] == (7 if outside == "clamp" else 4)


def test_dynamic_pillars_do_not_depend_on_the_order_of_points():
    encoder = DynamicVFE(4, (8, 8), voxel_size=VOXEL, point_range=RANGE).eval()
    cloud = random_cloud(60)
    features, coords = encoder([cloud])
    shuffled, same_coords = encoder([cloud.flip(0)])
    assert torch.equal(coords, same_coords)
    torch.testing.assert_close(features, shuffled, atol=1e-6, rtol=1e-5)


def test_a_voxel_is_the_mean_of_its_points_and_points_beyond_the_range_are_left_out():
    encoder = MeanVFE(4, voxel_size=(1.0, 1.0, 1.0), point_range=RANGE)
    cloud = torch.tensor([[0.5, 0.5, 0.5, 1.0], [0.75, 0.25, 0.0, 4.0], [0.5, 0.5, -0.5, 7.0], [0.5, 0.5, 9.0, 9.0]])
    features, coords = encoder([torch.zeros(0, 4), cloud])
    assert coords.tolist() == [[1, 1, 3, 4], [1, 2, 3, 4]]
    torch.testing.assert_close(features, torch.tensor([[0.5, 0.5, -0.5, 7.0], [0.625, 0.375, 0.25, 2.5]]))


@pytest.mark.parametrize(
    "build", [lambda **grid: DynamicVFE(4, (8, 8), **grid), lambda **grid: HardPillar(4, (8, 8), **grid),
              lambda **grid: MeanVFE(4, **grid)], ids=["dynamic", "hard", "mean"]
)
def test_a_batch_equals_its_samples_one_by_one(build):
    encoder = build(voxel_size=VOXEL, point_range=RANGE).eval()
    clouds = [random_cloud(50, 1), torch.zeros(0, 4), random_cloud(30, 2)]
    features, coords = encoder(clouds)
    for sample, cloud in enumerate(clouds):
        alone, alone_coords = encoder([cloud])
        rows = coords[:, 0] == sample
        assert torch.equal(coords[rows, 1:], alone_coords[:, 1:])
        torch.testing.assert_close(features[rows], alone, atol=1e-6, rtol=1e-5)


def test_zero_rows_of_a_hard_pillar_take_part_in_the_maximum():
    encoder = HardPillar(4, (8,), voxel_size=VOXEL, point_range=RANGE, max_points=3).eval()
    torch.nn.init.constant_(encoder.layers[0].norm.bias, 100.0)              # a zero row becomes 100
    torch.nn.init.constant_(encoder.layers[0].linear.weight, -1.0)
    features, _ = encoder([torch.tensor([[0.75, 0.75, 1.0, 1.0]])])
    torch.testing.assert_close(features, torch.full((1, 8), 100.0))


def test_the_cap_of_pillars_is_larger_while_testing():
    encoder = HardPillar(4, (8,), voxel_size=VOXEL, point_range=RANGE, max_voxels=(3, 5))
    cloud = random_cloud(200)
    assert (len(encoder.train().voxelize([cloud])[0]), len(encoder.eval().voxelize([cloud])[0])) == (3, 5)


def test_scatter_places_pillars_and_leaves_the_rest_zero():
    canvas = PillarScatter((4, 3))(torch.tensor([[1.0, 2.0]]), torch.tensor([[1, 0, 2, 3]], dtype=torch.int32), 2)
    assert canvas.shape == (2, 2, 3, 4)
    assert canvas[1, :, 2, 3].tolist() == [1.0, 2.0]
    assert canvas.sum() == 3.0


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: PillarGrid((1, 0, 1), RANGE), "voxel_size must be positive"),
        (lambda: PillarGrid(VOXEL, (0, 0, 0, 1, -1, 1)), "x0 < x1"),
        (lambda: PillarGrid(VOXEL, (0, 0, 0, 1, math.nan, 1)), "point_range takes 6 finite numbers"),
        (lambda: PillarGrid((1.0,), RANGE), "voxel_size takes 3 finite numbers"),
        (lambda: DynamicVFE(2, (4,), voxel_size=VOXEL, point_range=RANGE), "in_channels must be >= 3"),
        (lambda: DynamicVFE(3, (4,), voxel_size=VOXEL, point_range=RANGE, outside="keep"), 'outside must be "drop"'),
        (lambda: HardPillar(4, voxel_size=VOXEL, point_range=RANGE, max_points=0), "max_points and max_voxels"),
        (lambda: batch_points([]), "at least one point cloud"),
        (lambda: batch_points([torch.zeros(3, 4), torch.zeros(3, 5)]), "must share one width"),
        (lambda: DynamicVFE(4, voxel_size=VOXEL, point_range=RANGE)([torch.zeros(3, 5)]), "4 channels, got 5"),
        (lambda: HardPillar(4, voxel_size=VOXEL, point_range=RANGE)([torch.zeros(3, 5)]), "4 channels, got 5"),
        (lambda: MeanVFE(2, voxel_size=VOXEL, point_range=RANGE), "in_channels must be >= 3, got 2"),
        (lambda: MeanVFE(4, voxel_size=VOXEL, point_range=RANGE)([torch.zeros(3, 5)]), "4 channels, got 5"),
    ],
)
def test_wrong_arguments_are_refused(build, message):
    with pytest.raises(ValueError, match=message):
        build()
