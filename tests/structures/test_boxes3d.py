"""Boxes: corners and points by hand, against two devkits, moves and mirrors, odd values."""

import math

import numpy as np
import pytest
import torch
from box_strategies import boxes3d, se3
from hypothesis import given, settings
from hypothesis import strategies as st

from perception.structures import SE3, Boxes3D, overlaps_bev, wrap_angle


def box(x=0.0, y=0.0, z=0.0, length=4.0, width=2.0, height=1.5, yaw=0.0, *velocity):
    return Boxes3D(torch.tensor([[x, y, z, length, width, height, yaw, *velocity]]))


def test_front_left_corner_of_a_box_turned_by_ninety_degrees():
    corners = box(x=10.0, z=1.0, yaw=math.pi / 2).corners()               # length 4 m now points along y
    torch.testing.assert_close(corners[0, 0], torch.tensor([9.0, 2.0, 0.25]))


@given(boxes=boxes3d(columns=7))
@settings(max_examples=40, deadline=None)
def test_corners_equal_those_of_the_nuscenes_devkit(boxes):
    from nuscenes.utils.data_classes import Box
    from pyquaternion import Quaternion

    for row, corners in zip(boxes.tensor.tolist(), boxes.corners().numpy(), strict=True):
        length, width, height = row[3:6]
        official = Box(row[:3], [width, length, height], Quaternion(axis=[0, 0, 1], radians=row[6])).corners().T
        order = [3, 7, 6, 2, 0, 4, 5, 1]       # theirs: the front face from its left top corner, then the back face
        np.testing.assert_allclose(corners, official[order], atol=1e-5)


@given(boxes=boxes3d(columns=7))
@settings(max_examples=40, deadline=None)
def test_points_inside_equal_those_of_the_argoverse_devkit(boxes):
    from av2.geometry.se3 import SE3 as OfficialSE3
    from av2.structures.cuboid import Cuboid

    points = np.random.default_rng(0).uniform(-1, 1, (200, 3))
    for index, row in enumerate(boxes.tensor.numpy()):
        pose = OfficialSE3(SE3.about_z(row[6]).rotation.numpy(), row[:3])
        near = row[:3] + points * row[3:6].max()
        _, inside = Cuboid(pose, *row[3:6], "REGULAR_VEHICLE", 0).compute_interior_points(near)
        np.testing.assert_array_equal(boxes[index].contains(torch.from_numpy(near))[0].numpy(), inside)


def test_points_on_the_surface_are_inside():
    corners = box(yaw=0.0).corners()[0]
    assert box().contains(corners).all()
    assert not box().contains(corners * 1.001).any()


@given(boxes=boxes3d(max_boxes=8), seed=st.integers(0, 999), dtype=st.sampled_from([torch.float32, torch.float64]))
def test_points_inside_are_the_rows_that_contains_tells(boxes, seed, dtype):
    generator = torch.Generator().manual_seed(seed)
    around = torch.cat([boxes.corners().flatten(0, 1), boxes.centers]).to(dtype)
    points = torch.cat([around, torch.rand(50, 3, generator=generator, dtype=dtype) * 20 - 10, around * 1.01])
    points[::7, 0] = torch.nan
    boxes = boxes.to(dtype)
    expected = [torch.nonzero(row)[:, 0] for row in boxes.contains(points)]
    assert [rows.tolist() for rows in boxes.points_inside(points)] == [rows.tolist() for rows in expected]


@pytest.mark.parametrize("num_points", [0, 1, 7])
@pytest.mark.parametrize("num_boxes", [0, 1, 3])
def test_contains_has_a_row_a_box_and_a_column_a_point(num_boxes, num_points):
    boxes = Boxes3D(torch.ones(num_boxes, 7))
    assert boxes.contains(torch.ones(num_points, 3)).tolist() == [[True] * num_points] * num_boxes


def test_many_points_are_taken_in_groups_of_boxes(monkeypatch):
    boxes, points = Boxes3D(torch.rand(5, 7) + 1), torch.rand(50, 3) * 4
    together = boxes.contains(points)
    monkeypatch.setattr("perception.structures.boxes3d.POINTS_AT_ONCE", 60)
    assert torch.equal(boxes.contains(points), together)
    assert together.any()


@pytest.mark.parametrize("column", [0, 4, 6])
def test_a_box_with_a_nan_is_kept_and_contains_nothing(column):
    boxes = Boxes3D(torch.ones(2, 7))
    boxes.tensor[1, column] = torch.nan
    assert boxes.finite().tolist() == [True, False]
    assert boxes.contains(torch.ones(1, 3)).tolist() == [[True], [False]]


def test_a_negative_size_contains_nothing_and_a_zero_size_its_own_plane():
    points = torch.tensor([[0.0, 0.0, 0.0], [0.5, 0.0, 0.1]])
    assert box(length=-1.0).contains(points).tolist() == [[False, False]]
    assert box(height=0.0).contains(points).tolist() == [[True, False]]


@given(boxes=boxes3d(), pose=se3(max_tilt=0.0))
@settings(max_examples=40, deadline=None)
def test_moving_boxes_moves_their_corners_and_turns_their_velocities(boxes, pose):
    moved = boxes.moved_by(pose)
    torch.testing.assert_close(moved.corners(), pose.apply(boxes.corners()), atol=1e-9, rtol=0)
    torch.testing.assert_close(moved.velocities, pose.rotate(boxes.velocities), atol=1e-9, rtol=0)


@given(boxes=boxes3d(dtype=torch.float32), pose=se3(max_tilt=0.0))
@settings(max_examples=40, deadline=None)
def test_moving_float32_boxes_there_and_back_keeps_them(boxes, pose):
    back = boxes.moved_by(pose).moved_by(pose.inverse())
    assert back.tensor.dtype == torch.float32
    turn = wrap_angle(back.yaws - boxes.yaws).abs()
    assert (turn < 1e-6).all()
    # a float32 step at 273 m, the farthest that these reach, is 3e-5 m
    torch.testing.assert_close(back.centers, boxes.centers, atol=4e-5, rtol=0)


@given(boxes=boxes3d())
@settings(max_examples=40, deadline=None)
def test_mirroring_boxes_mirrors_their_corners(boxes):
    mirror = torch.tensor([1.0, -1.0, 1.0], dtype=torch.float64)
    swapped = [1, 0, 3, 2, 5, 4, 7, 6]                                     # left and right exchange
    ours = boxes.mirrored_y().corners()
    assert_same_set(ours, boxes.corners()[:, swapped] * mirror)
    torch.testing.assert_close(boxes.mirrored_y().velocities, boxes.velocities * mirror[:2])


def assert_same_set(first: torch.Tensor, second: torch.Tensor) -> None:
    """Corners (K, 8, 3) are equal in any order."""
    distance = torch.cdist(first, second)                                  # (K, 8, 8)
    assert (distance.amin(1) < 1e-5).all()
    assert (distance.amin(2) < 1e-5).all()


@given(boxes=boxes3d())
@settings(max_examples=25, deadline=None)
def test_mirroring_twice_gives_the_boxes_back(boxes):
    assert torch.equal(boxes.mirrored_y().mirrored_y().tensor, boxes.tensor)


def test_scaling_leaves_the_yaw_alone():
    scaled = box(1.0, 2.0, 3.0, 4.0, 2.0, 1.5, 0.7, 5.0, 6.0).scaled_by(2.0)
    torch.testing.assert_close(scaled.tensor, torch.tensor([[2.0, 4.0, 6.0, 8.0, 4.0, 3.0, 0.7, 10.0, 12.0]]))


def test_joining_boxes_with_and_without_velocity_marks_it_unknown():
    joined = Boxes3D.cat([box(), box(0.0, 0.0, 0.0, 4.0, 2.0, 1.5, 0.0, 3.0, 4.0)])
    assert joined.velocities[0].isnan().all()
    assert joined.velocities[1].tolist() == [3.0, 4.0]
    assert len(Boxes3D.cat([])) == 0


def test_an_index_a_slice_and_a_mask_give_boxes_back():
    boxes = Boxes3D(torch.arange(21.0).view(3, 7))
    assert len(boxes[1]) == 1
    assert torch.equal(boxes[1:].tensor, boxes[torch.tensor([False, True, True])].tensor)


@pytest.mark.parametrize("shape", [(7,), (1, 8), (1, 7, 1)])
def test_another_shape_is_refused(shape):
    with pytest.raises(ValueError, match=r"floating \(K, 7\) or \(K, 9\)"):
        Boxes3D(torch.zeros(shape))


def test_whole_numbers_are_refused():
    with pytest.raises(ValueError, match=r"got torch.int64 \(1, 7\)"):
        Boxes3D(torch.zeros(1, 7, dtype=torch.int64))


@pytest.mark.parametrize(
    ("angle", "wrapped"), [(math.pi, -math.pi), (-math.pi, -math.pi), (3.5 * math.pi, -0.5 * math.pi), (0.25, 0.25)]
)
def test_wrapped_angles_lie_in_minus_pi_to_pi(angle, wrapped):
    result = wrap_angle(torch.tensor([angle], dtype=torch.float64))
    assert result.item() == pytest.approx(wrapped)


@given(first=boxes3d(columns=7, max_boxes=3), second=boxes3d(columns=7, max_boxes=3))
@settings(max_examples=60, deadline=None)
def test_overlaps_equal_those_of_shapely(first, second):
    from shapely.geometry import Polygon

    second.tensor[:, :3] *= 0.1
    first.tensor[:, :3] *= 0.1                                             # near enough to meet
    overlaps = overlaps_bev(first, second)
    assert overlaps.shape == (len(first), len(second))
    for a, row in zip(first.corners().numpy(), overlaps.tolist(), strict=True):
        for b, overlap in zip(second.corners().numpy(), row, strict=True):
            area = Polygon(a[:4, :2]).intersection(Polygon(b[:4, :2])).area
            distance = Polygon(a[:4, :2]).distance(Polygon(b[:4, :2]))
            assert area < 1e-9 if not overlap else distance < 1e-9         # rounding decides where they just touch


def test_footprints_that_touch_do_not_overlap_and_nan_overlaps_nothing():
    others = Boxes3D.cat([box(x=4.0), box(x=3.99), box(x=math.nan)])
    assert overlaps_bev(box(), others).tolist() == [[False, True, False]]
