"""Boxes in other people's conventions: worked by hand, against the devkits, there and back, and refusals."""

import math

import numpy as np
import pytest
import torch
from box_strategies import boxes3d, se3
from hypothesis import given, settings
from hypothesis import strategies as st

from perception.structures import (
    SE3,
    Argoverse2Rows,
    Boxes3D,
    KittiRows,
    NuScenesRows,
    WaymoRows,
    wrap_angle,
)

QUICK = settings(max_examples=40, deadline=None)
DTYPES = st.sampled_from([torch.float32, torch.float64])
# rectified camera 0 of a KITTI car: x right, y down, z forward, a little above and ahead of the LiDAR's axes
LIDAR_FROM_CAMERA = SE3(
    torch.tensor([[0.0, 0.0, 1.0], [-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]]), torch.tensor([0.27, 0.0, -0.08])
)


def one_box(*values: float) -> Boxes3D:
    return Boxes3D(torch.tensor([values], dtype=torch.float64))


def assert_same_boxes(back: Boxes3D, boxes: Boxes3D, atol: float) -> None:
    """Equal to ``atol`` [m, m/s, rad], yaws up to full turns, NaN velocities in the same places."""
    first, second = back.tensor.double(), boxes.tensor.double()
    turn = wrap_angle(first[:, 6] - second[:, 6])
    torch.testing.assert_close(turn, torch.zeros_like(turn), atol=atol, rtol=0)
    keep = [column for column in range(first.shape[1]) if column != 6]
    torch.testing.assert_close(first[:, keep], second[:, keep], atol=atol, rtol=0, equal_nan=True)


def atol_of(dtype: torch.dtype) -> float:
    return 1e-5 if dtype == torch.float64 else 2e-5            # float32 steps are 8e-6 m at 100 m


def test_nuscenes_rows_of_a_box_seen_from_a_turned_vehicle():
    rows = one_box(10, 0, 1, 4, 2, 1.5, 0, 3, 0).to_nuscenes(SE3.about_z(math.pi / 2, [100, 200, 0]))
    assert rows.translation[0].tolist() == pytest.approx([100, 210, 1])
    assert rows.size_wlh[0].tolist() == [2, 4, 1.5]
    assert rows.rotation[0].tolist() == pytest.approx([math.sqrt(0.5), 0, 0, math.sqrt(0.5)])
    assert rows.velocity[0].tolist() == pytest.approx([0, 3])


def test_lidar_top_axes_point_right_and_forward():
    ours = Boxes3D.from_lidar_top(torch.tensor([[1.0, 20.0, 0.0, 4.0, 2.0, 1.5, math.pi / 2, 0.0, 5.0]]))
    torch.testing.assert_close(ours.tensor, torch.tensor([[20.0, -1.0, 0.0, 4.0, 2.0, 1.5, 0.0, 5.0, 0.0]]))


def test_mmdet3d_boxes_stand_on_their_bottom():
    rows = one_box(1, 2, 3, 4, 2, 1.5, 0.5).to_mmdet3d()
    assert rows[0].tolist() == [1, 2, 2.25, 4, 2, 1.5, 0.5]


def test_a_kitti_car_heading_away_has_rotation_y_of_minus_ninety_degrees():
    rows = one_box(20, 1, -1, 4, 2, 1.5, 0).to_kitti(LIDAR_FROM_CAMERA)
    assert rows.location[0].tolist() == pytest.approx([-1, 1.67, 19.73])
    assert rows.size_hwl[0].tolist() == [1.5, 2, 4]
    assert rows.rotation_y.item() == pytest.approx(-math.pi / 2)


def test_waymo_fields_go_by_name():
    rows = one_box(1, 2, 3, 4, 2, 1.5, 0.5, 7, 8).to_waymo()
    assert (rows.length.item(), rows.width.item(), rows.height.item(), rows.heading.item()) == (4, 2, 1.5, 0.5)
    assert rows.speed is not None
    assert rows.speed[0].tolist() == [7, 8]


@given(data=st.data(), dtype=DTYPES, pose=se3())
@QUICK
def test_nuscenes_corners_and_velocity_equal_those_of_the_devkit(data, dtype, pose):
    from nuscenes.utils.data_classes import Box
    from pyquaternion import Quaternion

    boxes = data.draw(boxes3d(dtype=dtype))
    rows = boxes.to_nuscenes(pose)
    for index, row in enumerate(boxes.tensor.double().numpy()):
        official = Box(row[:3], row[[4, 3, 5]], Quaternion(axis=[0, 0, 1], radians=row[6]), velocity=(*row[7:], 0.0))
        official.rotate(Quaternion(pose.quaternion().numpy()))
        official.translate(pose.translation.numpy())
        center, wlh, wxyz = (column[index].numpy() for column in (rows.translation, rows.size_wlh, rows.rotation))
        ours = Box(center, wlh, Quaternion(wxyz))
        np.testing.assert_allclose(ours.corners(), official.corners(), atol=1e-5)
        np.testing.assert_allclose(rows.velocity[index].numpy(), official.velocity[:2], atol=1e-5)


@given(boxes=boxes3d(), pose=se3(max_tilt=0.0))
@QUICK
def test_points_inside_a_nuscenes_box_are_inside_ours(boxes, pose):
    from nuscenes.utils.data_classes import Box
    from nuscenes.utils.geometry_utils import points_in_box
    from pyquaternion import Quaternion

    rows, directions = boxes.to_nuscenes(pose), torch.from_numpy(np.random.default_rng(0).uniform(-1, 1, (100, 3)))
    for index in range(len(boxes)):
        points = boxes.centers[index] + directions * boxes.sizes[index]                              # (100, 3)
        columns = (rows.translation[index], rows.size_wlh[index])
        official = Box(*(column.numpy() for column in columns), Quaternion(rows.rotation[index].numpy()))
        inside = points_in_box(official, pose.apply(points).numpy().T)
        np.testing.assert_array_equal(boxes[index].contains(points)[0].numpy(), inside)


@given(data=st.data(), dtype=DTYPES, pose=se3())
@QUICK
def test_nuscenes_round_trip_keeps_every_box(data, dtype, pose):
    boxes = data.draw(boxes3d(dtype=dtype))
    back = Boxes3D.from_nuscenes(boxes.to_nuscenes(pose), pose, dtype=dtype)
    assert back.tensor.dtype == dtype
    assert_same_boxes(back, boxes, atol_of(dtype))


@given(data=st.data(), dtype=DTYPES, pose=se3(max_tilt=0.0))
@QUICK
def test_argoverse_corners_equal_those_of_the_devkit_before_and_after_a_move(data, dtype, pose):
    from av2.geometry.geometry import quat_to_mat
    from av2.geometry.se3 import SE3 as OfficialSE3
    from av2.structures.cuboid import Cuboid

    boxes = data.draw(boxes3d(dtype=dtype, columns=7))
    rows, order = boxes.to_argoverse2(), [3, 7, 6, 2, 0, 4, 5, 1]
    move = OfficialSE3(pose.rotation.numpy(), pose.translation.numpy())
    for index in range(len(boxes)):
        placed = OfficialSE3(quat_to_mat(rows.rotation[index].numpy()), rows.translation[index].numpy())
        official = Cuboid(placed, *rows.size_lwh[index].numpy(), "REGULAR_VEHICLE", 0)
        double = boxes[index].to(torch.float64)
        np.testing.assert_allclose(double.corners()[0].numpy(), official.vertices_m[order], atol=1e-5)
        moved = double.moved_by(pose).corners()[0].numpy()
        np.testing.assert_allclose(moved, official.transform(move).vertices_m[order], atol=1e-5)


@pytest.mark.parametrize("name", ["argoverse2", "waymo", "mmdet3d", "lidar_top"])
@given(data=st.data(), dtype=DTYPES)
@QUICK
def test_round_trips_without_a_pose_keep_every_box(name, data, dtype):
    boxes = data.draw(boxes3d(dtype=dtype, columns=7 if name == "argoverse2" else 9))
    there = getattr(boxes, f"to_{name}")()
    back = getattr(Boxes3D, f"from_{name}")(there)
    assert_same_boxes(back, boxes, atol_of(dtype))


@given(data=st.data(), dtype=DTYPES, tilt=se3(max_tilt=0.125, reach=2.0))
@QUICK
def test_kitti_round_trip_keeps_every_box(data, dtype, tilt):
    boxes, calibration = data.draw(boxes3d(dtype=dtype, columns=7)), tilt @ LIDAR_FROM_CAMERA
    back = Boxes3D.from_kitti(boxes.to_kitti(calibration), calibration, dtype=dtype)
    assert_same_boxes(back, boxes, atol_of(dtype))


def test_a_box_without_velocity_comes_back_from_nuscenes_with_an_unknown_one():
    boxes = one_box(1, 2, 3, 4, 2, 1.5, 0.5)
    back = Boxes3D.from_nuscenes(boxes.to_nuscenes(SE3.about_z(1.0)), SE3.about_z(1.0), dtype=torch.float64)
    assert back.velocities.isnan().all()
    assert_same_boxes(back.with_columns(7), boxes, 1e-9)


def test_one_unknown_velocity_leaves_the_others_known():
    boxes = Boxes3D(torch.tensor([[0.0, 0, 0, 1, 1, 1, 0, math.nan, math.nan], [0.0, 0, 0, 1, 1, 1, 0, 1, 2]]))
    pose = SE3.about_z(1.0)
    assert_same_boxes(Boxes3D.from_nuscenes(boxes.to_nuscenes(pose), pose), boxes, 1e-6)


@pytest.mark.parametrize("columns", [7, 9])
def test_no_boxes_convert_to_no_rows_and_back(columns):
    none = Boxes3D.empty(columns)
    pose = SE3.identity()
    assert len(Boxes3D.from_nuscenes(none.to_nuscenes(pose), pose)) == 0
    assert len(Boxes3D.from_argoverse2(none.to_argoverse2())) == 0
    assert Boxes3D.from_waymo(none.to_waymo()).tensor.shape == (0, columns)
    assert len(Boxes3D.from_kitti(none.to_kitti(pose), pose)) == 0
    assert Boxes3D.from_mmdet3d(none.to_mmdet3d()).tensor.shape == (0, columns)
    assert Boxes3D.from_lidar_top(none.to_lidar_top()).tensor.shape == (0, columns)


def test_rows_may_be_given_as_lists():
    rows = Argoverse2Rows([[1, 2, 3]], [[4, 2, 1.5]], [[1, 0, 0, 0]])
    assert Boxes3D.from_argoverse2(rows).tensor.tolist() == [[1, 2, 3, 4, 2, 1.5, 0]]
    assert len(Boxes3D.from_argoverse2(Argoverse2Rows([], [], []))) == 0


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: NuScenesRows([[0, 0, 0]], [[1, 1, 1]], [[1, 0, 0, 0]], [[0] * 3]), r"velocity must be \(1, 2\)"),
        (lambda: Argoverse2Rows([[0, 0]], [[1, 1, 1]], [[1, 0, 0, 0]]), r"translation must be \(1, 3\), got \(1, 2\)"),
        (lambda: KittiRows([[0, 0, 0]], [[1, 1, 1]], [0, 1]), r"rotation_y must be \(1,\), got \(2,\)"),
        (lambda: WaymoRows([[0, 0, 0]], 4.0, [1], [1], [0]), r"length must be \(1,\), got \(\)"),
    ],
)
def test_columns_of_another_shape_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("rotation", [[0.0, 0.0, 0.0, 0.0], [1.0, math.nan, 0.0, 0.0]])
def test_a_quaternion_without_direction_is_refused_by_its_row(rotation):
    rows = Argoverse2Rows([[0, 0, 0]] * 2, [[1, 1, 1]] * 2, [[1.0, 0.0, 0.0, 0.0], rotation])
    with pytest.raises(ValueError, match=r"not zero, got .* in row 1"):
        Boxes3D.from_argoverse2(rows)


def test_a_vehicle_standing_on_end_is_refused():
    nose_down = SE3.from_quaternion([1.0, 0.0, 1.0, 0.0], [0.0, 0.0, 0.0])
    with pytest.raises(ValueError, match="stands the vehicle on end"):
        Boxes3D.from_nuscenes(one_box(0, 0, 0, 1, 1, 1, 0, 0, 0).to_nuscenes(nose_down), nose_down)
