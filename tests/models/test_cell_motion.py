"""Reading the rows of cells where they lay in an earlier map."""

from __future__ import annotations

import math

import pytest
import torch
from moving_frames import REGION, SIZE, drive, frame_at, world_seen_from

from perception.models.temporal.cell_motion import cell_motion
from perception.structures import SE3

close = torch.testing.assert_close


def test_a_vehicle_that_moves_one_cell_forward_sees_the_next_column():
    motion = cell_motion([SE3.about_z(0.0, (1.0, 0.0, 0.0))], (0.0, 0.0, 3.0, 2.0), (2, 3))
    rows = torch.arange(6.0)[:, None]                      # 0 1 2 in the first row, 3 4 5 in the second
    assert motion.seen.tolist() == [True, True, False] * 2
    close(motion.read(rows)[:, 0], torch.tensor([1.0, 2.0, 4.0, 5.0]))


def test_half_a_cell_to_the_left_is_the_mean_of_two_rows_and_the_border_goes_half_a_cell_on():
    motion = cell_motion([SE3.about_z(0.0, (0.0, 0.5, 0.0))], (0.0, 0.0, 1.0, 3.0), (3, 1))
    close(motion.read(torch.tensor([[0.0], [10.0], [30.0]])), torch.tensor([[5.0], [20.0], [30.0]]))


@pytest.mark.parametrize("sampling", ["bilinear", "nearest"])
def test_a_vehicle_that_stands_reads_every_row_where_it_is(sampling):
    pose = SE3.about_z(0.7, (4e5, 5e6, 30.0))
    motion = cell_motion([pose.inverse() @ pose], REGION, SIZE, sampling)
    rows = torch.randn(SIZE[0] * SIZE[1], 3, 2)
    assert motion.seen.all()
    close(motion.read(rows), rows)


def test_turning_to_the_left_about_a_square_turns_its_corners():
    motion = cell_motion([SE3.about_z(math.pi / 2)], (-1.0, -1.0, 1.0, 1.0), (2, 2))
    corners = torch.tensor([[1.0], [2.0], [3.0], [4.0]])   # rear right, front right, rear left, front left
    close(motion.read(corners)[:, 0], torch.tensor([2.0, 4.0, 1.0, 3.0]))


def test_a_linear_world_is_read_exactly_through_any_motion():
    past, present = frame_at(0.0, 3.0, -1.0, 0.3), frame_at(0.5, 5.2, 0.4, 0.5)
    before, now = world_seen_from([past, present]).flatten(1)
    motion = cell_motion([past.global_from_ego.inverse() @ present.global_from_ego], REGION, SIZE)
    found = motion.read(before[:, None])[:, 0]
    interior = (found - now[motion.seen]).abs() < 1e-4
    assert 0.6 < motion.seen.double().mean() < 0.95        # the rest has just come into sight
    assert interior.double().mean() > 0.9                  # but for the border's outer half


def test_two_maps_are_read_each_by_its_own_motion_and_one_without_not_at_all():
    moves = [SE3.about_z(0.0, (1.0, 0.0, 0.0)), None, SE3.identity()]
    motion = cell_motion(moves, (0.0, 0.0, 2.0, 1.0), (1, 2))
    assert motion.seen.tolist() == [True, False, False, False, True, True]
    close(motion.read(torch.arange(6.0)), torch.tensor([1.0, 4.0, 5.0]))


def test_whole_numbers_are_those_of_the_nearest_cell():
    motion = cell_motion([SE3.about_z(0.0, (0.4, 0.0, 0.0))], (0.0, 0.0, 3.0, 1.0), (1, 3))
    assert motion.read(torch.tensor([7, 8, 9])).tolist() == [7, 8, 9]
    nearest = cell_motion([SE3.about_z(0.0, (0.6, 0.0, 0.0))], (0.0, 0.0, 3.0, 1.0), (1, 3), "nearest")
    assert nearest.read(torch.tensor([7.0, 8.0, 9.0])).tolist() == [8.0, 9.0]


def test_gradients_reach_the_rows_by_their_shares():
    motion = cell_motion([SE3.about_z(0.0, (0.25, 0.0, 0.0))], (0.0, 0.0, 2.0, 1.0), (1, 2))
    rows = torch.zeros(2, 1, requires_grad=True)
    motion.read(rows)[0].sum().backward()
    close(rows.grad, torch.tensor([[0.75], [0.25]]))


def test_nothing_is_read_where_nothing_was_seen():
    motion = cell_motion([None, SE3.about_z(0.0, (100.0, 0.0, 0.0))], REGION, SIZE)
    assert not motion.seen.any()
    assert motion.read(torch.randn(2 * SIZE[0] * SIZE[1], 5, 2)).shape == (0, 5, 2)


def test_an_unknown_sampling_is_refused():
    with pytest.raises(ValueError, match=r"sampling must be one of .* got 'cubic'"):
        cell_motion([frame.global_from_ego for frame in drive(1)], REGION, SIZE, "cubic")
