"""Polylines: lengths, resampling and moves worked by hand; empty ones; refusals."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from perception.structures import SE3, Polylines

CORNER = torch.tensor([[0.0, 0.0], [3.0, 0.0], [3.0, 1.0]])        # 4 m long
SQUARE = torch.tensor([[0.0, 0.0], [2.0, 0.0], [2.0, 2.0], [0.0, 2.0], [0.0, 0.0]])
POINT = torch.tensor([[5.0, 6.0]])


def three() -> Polylines:
    return Polylines.from_lines([CORNER, SQUARE, POINT])


def random_lines(seed: int) -> Polylines:
    """One to four lines of one to six vertices."""
    generator = torch.Generator().manual_seed(seed)
    counts = torch.randint(1, 7, (int(torch.randint(1, 5, (1,), generator=generator)),), generator=generator)
    return Polylines(torch.randn(int(counts.sum()), 3, generator=generator, dtype=torch.float64) * 20, counts)


def test_lines_come_back_as_they_were_given():
    assert [line.tolist() for line in three()] == [CORNER.tolist(), SQUARE.tolist(), POINT.tolist()]
    assert three().counts.tolist() == [3, 5, 1]
    assert three().line_of_vertex().tolist() == [0, 0, 0, 1, 1, 1, 1, 1, 2]


def test_lengths_are_those_along_the_line_and_zero_of_a_point():
    assert three().lengths().tolist() == [4, 8, 0]


def test_lengths_are_measured_from_above():
    steep = Polylines.from_lines([torch.tensor([[0.0, 0.0, 0.0], [3.0, 4.0, 100.0]])])
    assert steep.lengths().tolist() == [5]


def test_a_line_is_closed_if_it_ends_where_it_begins():
    there_and_back = torch.tensor([[0.0, 0.0], [0.0, 0.0]])
    assert Polylines.from_lines([CORNER, SQUARE, POINT, there_and_back]).is_closed().tolist() == [
        False, True, False, False,
    ]


@pytest.mark.parametrize(("index", "lines"), [
    (slice(1, None), [SQUARE, POINT]),
    (torch.tensor([True, False, True]), [CORNER, POINT]),
    (torch.tensor([2, 0, 0]), [POINT, CORNER, CORNER]),
    (torch.tensor([False, False, False]), []),
])
def test_lines_are_chosen_by_slice_mask_or_index(index, lines):
    chosen = three()[index]
    assert [line.tolist() for line in chosen] == [line.tolist() for line in lines]
    assert chosen.dim == 2


def test_resampled_points_are_equally_spaced_and_keep_both_ends():
    resampled = three()[:2].resampled(5)
    assert resampled[0].tolist() == [[0, 0], [1, 0], [2, 0], [3, 0], [3, 1]]
    assert resampled[1].tolist() == [[0, 0], [2, 0], [2, 2], [0, 2], [0, 0]]


def test_heights_are_interpolated_between_vertices():
    ramp = Polylines.from_lines([torch.tensor([[0.0, 0.0, 0.0], [1.0, 0.0, 1.0], [4.0, 0.0, 1.0]])])
    assert ramp.resampled(9)[0, :, 2].tolist() == [0, 0.5, 1, 1, 1, 1, 1, 1, 1]


def test_repeated_vertices_and_lines_of_no_length_resample_to_finite_points():
    doubled = torch.tensor([[0.0, 0.0], [0.0, 0.0], [2.0, 0.0], [2.0, 0.0]])
    still = torch.tensor([[1.0, 2.0], [1.0, 2.0]])
    resampled = Polylines.from_lines([doubled, still, POINT]).resampled(3)
    assert resampled.tolist() == [[[0, 0], [1, 0], [2, 0]], [[1, 2]] * 3, [[5, 6]] * 3]


@given(seed=st.integers(0, 10**6), count=st.integers(2, 30))
def test_resampled_points_lie_on_their_line_from_end_to_end(seed, count):
    lines = random_lines(seed)
    for line, points in zip(lines, lines.resampled(count), strict=True):
        torch.testing.assert_close(points[[0, -1]], line[[0, -1]], atol=1e-9, rtol=0)
        if len(line) > 1:
            steps = line[1:, :2] - line[:-1, :2]
            along = ((points[:, None, :2] - line[:-1, :2]) * steps).sum(-1) / steps.square().sum(-1)
            foot = line[:-1, :2] + along.clamp(0, 1)[..., None] * steps           # (count, V - 1, 2)
            assert (foot - points[:, None, :2]).norm(dim=-1).amin(dim=1).max() < 1e-9


def test_a_turn_moves_flat_lines_in_their_plane():
    moved = three().moved_by(SE3.about_z(math.pi / 2, [10.0, 0.0, 7.0]))
    wanted = torch.tensor([[10.0, 0.0], [10.0, 3.0], [9.0, 3.0]])
    torch.testing.assert_close(next(iter(moved)), wanted, atol=1e-6, rtol=0)


def test_a_move_takes_heights_along():
    moved = random_lines(3).moved_by(SE3.about_z(0.0, [1.0, 2.0, 7.0]))
    torch.testing.assert_close(moved.vertices, random_lines(3).vertices + torch.tensor([1.0, 2.0, 7.0]).double())


@given(seed=st.integers(0, 10**6), yaw=st.floats(-3, 3))
def test_rigid_moves_keep_lengths_and_go_back(seed, yaw):
    lines, pose = random_lines(seed), SE3.about_z(yaw, [5.0, -3.0, 1.0])
    moved = lines.moved_by(pose)
    torch.testing.assert_close(moved.lengths(), lines.lengths(), atol=1e-9, rtol=0)
    torch.testing.assert_close(moved.moved_by(pose.inverse()).vertices, lines.vertices, atol=1e-9, rtol=0)


def test_a_mirrored_line_changes_its_side_and_keeps_its_order():
    assert next(iter(three().mirrored_y())).tolist() == [[0, 0], [3, 0], [3, -1]]
    assert random_lines(1).mirrored_y().vertices[0, 2] == random_lines(1).vertices[0, 2]


def test_a_scaled_line_is_that_much_longer():
    assert three().scaled_by(1.5).lengths().tolist() == [6, 12, 0]


def test_reversed_lines_begin_at_their_end_and_the_others_stay():
    chosen = three().reversed(torch.tensor([True, False, True]))
    assert [line.tolist() for line in chosen] == [CORNER.flip(0).tolist(), SQUARE.tolist(), POINT.tolist()]


def test_concatenated_lines_follow_each_other():
    both = Polylines.cat([three(), three()[:1]])
    assert both.counts.tolist() == [3, 5, 1, 3]
    assert list(both)[3].tolist() == CORNER.tolist()


@pytest.mark.parametrize("dim", [2, 3])
def test_no_line_is_an_ordinary_value(dim):
    none = Polylines.from_lines([], dim=dim)
    assert (len(none), none.dim, list(none)) == (0, dim, [])
    assert none.lengths().shape == none.is_closed().shape == (0,)
    assert none.resampled(4).shape == (0, 4, dim)
    chosen = torch.zeros(0, dtype=torch.bool)
    moved = (none.moved_by(SE3.about_z(1.0)), none.mirrored_y(), none.scaled_by(2.0), none.reversed(chosen))
    assert all((len(lines), lines.dim) == (0, dim) for lines in (*moved, none[chosen]))


def test_vertices_change_their_type_and_counts_do_not():
    half = three().to(torch.float64)
    assert (half.vertices.dtype, half.counts.dtype) == (torch.float64, torch.int64)


@pytest.mark.parametrize(("vertices", "counts", "message"), [
    (torch.zeros(4, 4), torch.tensor([4]), r"vertices must be float \(V, 2\) or \(V, 3\), got torch.float32 \(4, 4\)"),
    (torch.zeros(4), torch.tensor([4]), r"vertices must be float .* got torch.float32 \(4,\)"),
    (torch.zeros(4, 2, dtype=torch.int64), torch.tensor([4]), "vertices must be float .* got torch.int64"),
    (torch.zeros(4, 2), torch.tensor([4.0]), r"counts must be int64 \(P,\), got torch.float32 \(1,\)"),
    (torch.zeros(4, 2), torch.tensor([[4]]), r"counts must be int64 \(P,\), got torch.int64 \(1, 1\)"),
    (torch.zeros(4, 2), torch.tensor([4, 0]), "counts must be >= 1, got 0"),
    (torch.zeros(4, 2), torch.tensor([1, 2]), "counts add up to 3 for 4 vertices"),
])
def test_what_is_no_set_of_polylines_is_refused(vertices, counts, message):
    with pytest.raises(ValueError, match=message):
        Polylines(vertices, counts)


def test_fewer_than_two_points_are_refused():
    with pytest.raises(ValueError, match="count must be >= 2, got 1"):
        three().resampled(1)
