"""Rigid transforms: by hand, against pyquaternion, and what they refuse."""

import math

import numpy as np
import pytest
import torch
from box_strategies import se3
from hypothesis import given, settings
from pyquaternion import Quaternion

from perception.structures import SE3


def test_a_quarter_turn_and_a_shift_move_a_point():
    moved = SE3.about_z(math.pi / 2, [10.0, 0.0, 1.0]).apply(torch.tensor([1.0, 0.0, 0.0]))
    torch.testing.assert_close(moved, torch.tensor([10.0, 1.0, 1.0]))


def test_frames_chain_from_right_to_left():
    global_from_ego, ego_from_lidar = SE3.about_z(math.pi / 2, [5.0, 0.0, 0.0]), SE3.about_z(0.0, [1.0, 0.0, 2.0])
    origin = (global_from_ego @ ego_from_lidar).apply(torch.zeros(3, dtype=torch.float64))
    torch.testing.assert_close(origin, torch.tensor([5.0, 1.0, 2.0], dtype=torch.float64))


@given(pose=se3(max_tilt=3.0))
@settings(max_examples=50, deadline=None)
def test_quaternion_and_matrix_agree_with_pyquaternion(pose):
    reference = Quaternion(pose.quaternion().numpy())
    np.testing.assert_allclose(pose.rotation.numpy(), reference.rotation_matrix, atol=1e-12)


@given(pose=se3(max_tilt=3.0))
@settings(max_examples=50, deadline=None)
def test_the_inverse_undoes_a_transform(pose):
    points = torch.tensor([[1.0, 2.0, 3.0], [-50.0, 20.0, 0.0]], dtype=torch.float64)
    torch.testing.assert_close(pose.inverse().apply(pose.apply(points)), points, atol=1e-10, rtol=0)
    torch.testing.assert_close((pose @ pose.inverse()).matrix(), torch.eye(4, dtype=torch.float64), atol=1e-10, rtol=0)


@given(pose=se3())
@settings(max_examples=50, deadline=None)
def test_quaternion_round_trip_has_a_positive_real_part(pose):
    wxyz = pose.quaternion()
    assert wxyz[0] >= 0
    torch.testing.assert_close(SE3.from_quaternion(wxyz, pose.translation).matrix(), pose.matrix(), atol=1e-12, rtol=0)


def test_a_quaternion_is_normalised():
    pose = SE3.from_quaternion([2.0, 0.0, 0.0, 2.0], [0.0, 0.0, 0.0])
    assert pose.yaw == pytest.approx(math.pi / 2)


def test_points_keep_their_dtype_though_poses_are_float64():
    far = SE3.about_z(0.0, [4_000_000.0, 500_000.0, 0.0])
    there = far.apply(torch.zeros(1, 3, dtype=torch.float64))
    back = far.inverse().apply(there)
    assert back.dtype == torch.float64
    assert far.apply(torch.zeros(1, 3)).dtype == torch.float32
    torch.testing.assert_close(back, torch.zeros(1, 3, dtype=torch.float64))


def test_no_points_stay_no_points():
    assert SE3.identity().apply(torch.zeros(0, 3)).shape == (0, 3)


def test_rotating_a_vector_ignores_the_translation():
    turned = SE3.about_z(math.pi / 2, [9.0, 9.0, 9.0]).rotate(torch.tensor([[1.0, 0.0]]))
    torch.testing.assert_close(turned, torch.tensor([[0.0, 1.0]]))


@pytest.mark.parametrize(
    ("rotation", "translation", "message"),
    [
        (torch.eye(4), torch.zeros(3), r"rotation \(3, 3\) and translation \(3,\), got \(4, 4\) and \(3,\)"),
        (torch.eye(3), torch.zeros(4), r"got \(3, 3\) and \(4,\)"),
        (torch.eye(3), torch.tensor([0.0, torch.nan, 0.0]), "finite"),
        (2 * torch.eye(3), torch.zeros(3), "not orthonormal"),
        (torch.diag(torch.tensor([1.0, -1.0, 1.0])), torch.zeros(3), r"determinant \+1"),
    ],
)
def test_what_is_no_rigid_transform_is_refused(rotation, translation, message):
    with pytest.raises(ValueError, match=message):
        SE3(rotation, translation)


@pytest.mark.parametrize("wxyz", [[0.0, 0.0, 0.0, 0.0], [math.nan, 0.0, 0.0, 1.0]])
def test_a_quaternion_without_direction_is_refused(wxyz):
    with pytest.raises(ValueError, match="finite and not zero"):
        SE3.from_quaternion(wxyz, [0.0, 0.0, 0.0])


@pytest.mark.parametrize("translation", [[0.0, math.inf, 0.0], [0.0, 0.0]])
def test_a_quaternion_comes_with_three_finite_metres(translation):
    with pytest.raises(ValueError, match="a translation is three finite numbers"):
        SE3.from_quaternion([1.0, 0.0, 0.0, 0.0], translation)


def test_a_matrix_of_another_shape_is_refused():
    with pytest.raises(ValueError, match=r"got \(2, 4\)"):
        SE3.from_matrix(np.zeros((2, 4)))
