"""Range images against a slow, obvious loop, and what is no return."""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from waymo_messages import frame_message, random_poses, random_returns, rigid, stored

from perception.datasets.waymo.calibrations import LaserCalibration
from perception.datasets.waymo.frames import frame_of, range_images
from perception.datasets.waymo.names import LASERS
from perception.datasets.waymo.range_images import LaserReturns, RangeImage, laser_returns
from perception.datasets.waymo.schema import MatrixFloat, MatrixInt32
from perception.errors import DataError

AT_ORIGIN = LaserCalibration("TOP", np.eye(4), np.array([0.0]), (0.0, 0.0))
TOLERANCE = 1e-5                                       # [m]; float32 has steps of 8e-6 at 100 m


def image_of(ranges: list[list[float]], **parts: Any) -> RangeImage:
    values = np.zeros((len(ranges), len(ranges[0]), 4), np.float32)
    values[..., 0] = ranges
    return RangeImage("TOP", 1, values, **parts)


def slow_points(image: RangeImage, calibration: LaserCalibration, pose: np.ndarray) -> np.ndarray:
    """(N, 3) float64, pixel by pixel as the specification says it."""
    height, width = image.values.shape[:2]
    extrinsic, (low, high) = calibration.vehicle_from_laser, calibration.inclination_range
    points = []
    for row in range(height):
        beam = height - 1 - row
        if calibration.inclinations is None:
            inclination = low + (beam + 0.5) / height * (high - low)
        else:
            inclination = calibration.inclinations[beam]
        for column in range(width):
            distance = float(image.values[row, column, 0])
            if not 0 < distance < math.inf:
                continue
            azimuth = ((width - column - 0.5) / width * 2 - 1) * math.pi - math.atan2(extrinsic[1, 0], extrinsic[0, 0])
            level = distance * math.cos(inclination)
            x, y, z = level * math.cos(azimuth), level * math.sin(azimuth), distance * math.sin(inclination)
            point = extrinsic @ [x, y, z, 1.0]
            if image.pixel_poses is not None:
                roll, pitch, yaw, *shift = image.pixel_poses[row, column].tolist()
                point = np.linalg.inv(pose) @ rigid(roll, pitch, yaw, tuple(shift)) @ point
            points.append(point[:3])
    return np.array(points).reshape(-1, 3)


def test_columns_run_clockwise_from_behind():
    points = laser_returns(image_of([[math.sqrt(2)] * 4]), AT_ORIGIN).xyz
    np.testing.assert_allclose(points, [[-1, 1, 0], [1, 1, 0], [1, -1, 0], [-1, -1, 0]], atol=1e-6)


@pytest.mark.parametrize(
    ("inclinations", "limits"), [(np.array([-0.5, 0.25]), (0.0, 0.0)), (None, (-0.875, 0.625))], ids=["listed", "range"]
)
def test_the_first_row_is_the_highest_beam(inclinations: np.ndarray | None, limits: tuple[float, float]):
    calibration = LaserCalibration("TOP", np.eye(4), inclinations, limits)
    points = laser_returns(image_of([[2.0], [2.0]]), calibration).xyz
    np.testing.assert_allclose(points[:, 2], [2 * math.sin(0.25), 2 * math.sin(-0.5)], atol=1e-6)


def test_the_yaw_of_the_mounting_does_not_turn_the_columns():
    turned = LaserCalibration("TOP", rigid(0, 0, 1.3, (1.0, 2.0, 3.0)), np.array([0.0]), (0.0, 0.0))
    points = laser_returns(image_of([[1.0, 4.0, 2.0, 3.0]]), turned).xyz
    level = laser_returns(image_of([[1.0, 4.0, 2.0, 3.0]]), AT_ORIGIN).xyz
    np.testing.assert_allclose(points, level + np.array([1, 2, 3]), atol=1e-6)


@pytest.mark.parametrize("seed", range(3))
def test_points_of_a_frame_are_those_of_the_slow_loop(seed: int):
    frame = frame_of(frame_message(seed).SerializeToString(), "made")
    pose = frame.global_from_vehicle.matrix().numpy()
    images = {(image.laser, image.return_number): image for image in range_images(frame.message.lasers, (1, 2), "")}
    returns = frame.returns()
    order = [(number, laser) for number in (1, 2) for laser in LASERS[1:]]
    assert [(found.return_number, found.laser) for found in returns] == order
    for found in returns:
        image = images[found.laser, found.return_number]
        wanted = slow_points(image, frame.lasers[found.laser], pose)
        np.testing.assert_allclose(found.xyz, wanted, atol=TOLERANCE, rtol=0)
        kept = image.values[image.values[..., 0] > 0]
        np.testing.assert_array_equal(found.range_m, kept[:, 0])
        np.testing.assert_array_equal(found.intensity, kept[:, 1])
        np.testing.assert_array_equal(found.elongation, kept[:, 2])


@settings(deadline=None, max_examples=30)              # the loop is slow
@given(height=st.integers(1, 5), width=st.integers(1, 7), seed=st.integers(0, 1000), moves=st.booleans())
def test_images_of_any_size_are_those_of_the_slow_loop(height: int, width: int, seed: int, moves: bool):
    rng = np.random.default_rng(seed)
    poses = random_poses(rng, height, width) if moves else None
    image = RangeImage("FRONT", 1, random_returns(rng, height, width), poses)
    calibration = LaserCalibration("FRONT", rigid(*rng.uniform(-1, 1, 3), (1.0, 2.0, 3.0)), None, (-1.5, 0.5))
    pose = rigid(0.01, 0.02, 0.7, (-2000.0, 900.0, 12.0))
    found = laser_returns(image, calibration, pose)
    np.testing.assert_allclose(found.xyz, slow_points(image, calibration, pose), atol=TOLERANCE, rtol=0)


def test_only_finite_ranges_above_zero_are_returns():
    found = laser_returns(image_of([[math.nan, 0.0, 5.0, -1.0, math.inf, -math.inf, 7.0]]), AT_ORIGIN)
    assert found.range_m.tolist() == [5.0, 7.0]
    assert found.pixels.tolist() == [2, 6]
    assert np.isfinite(found.xyz).all()


def test_an_image_without_returns_gives_no_point():
    found = laser_returns(image_of([[-1.0, -1.0]], projections=np.zeros((1, 2, 6), np.int32)), AT_ORIGIN)
    assert len(found) == 0
    assert found.xyz.shape == (0, 3)
    assert found.projections is not None
    assert found.projections.shape == (0, 6)


def test_points_move_from_the_pose_of_their_pixel_to_that_of_the_frame():
    shift = np.array([100.0, 50.0, 0.0])
    pose = rigid(0, 0, math.pi / 2, tuple(shift))      # the frame's vehicle looks along the global y
    poses = np.zeros((1, 4, 6), np.float32)
    poses[..., 3:] = shift + np.array([0.0, 2.0, 0.0])  # the pixels' vehicle looks along x, two metres ahead of it
    found = laser_returns(image_of([[math.sqrt(2)] * 4], pixel_poses=poses), AT_ORIGIN, pose)
    np.testing.assert_allclose(found.xyz, [[3, 1, 0], [3, -1, 0], [1, -1, 0], [1, 1, 0]], atol=1e-6)


def test_poses_of_the_frame_itself_change_nothing():
    rng = np.random.default_rng(3)
    numbers = np.array([0.01, -0.02, 0.7, -2000.0, 900.0, 12.0], np.float32).astype(np.float64)
    pose = rigid(*numbers[:3], tuple(numbers[3:]))
    values = random_returns(rng, 6, 9)
    still = laser_returns(RangeImage("TOP", 1, values), LaserCalibration("TOP", np.eye(4), None, (-1.0, 1.0)))
    poses = np.broadcast_to(numbers.astype(np.float32), (6, 9, 6))
    moved = laser_returns(
        RangeImage("TOP", 1, values, poses), LaserCalibration("TOP", np.eye(4), None, (-1.0, 1.0)), pose
    )
    np.testing.assert_allclose(moved.xyz, still.xyz, atol=TOLERANCE, rtol=0)


def test_projections_labels_and_zones_are_those_of_the_pixels_with_returns():
    message = frame_message(5)
    frame = frame_of(message.SerializeToString(), "made")
    assert all(found.projections is None and found.labels is None for found in frame.returns())
    for found in frame.returns(projections=True, labels=True):
        laser = next(laser for laser in message.lasers if laser.name == LASERS.index(found.laser))
        image = laser.ri_return1 if found.return_number == 1 else laser.ri_return2
        assert found.projections is not None
        np.testing.assert_array_equal(found.projections, rows_of(MatrixInt32, image, "camera_projection")[found.pixels])
        zones = rows_of(MatrixFloat, image, "range_image")[found.pixels, 3]
        np.testing.assert_array_equal(found.in_no_label_zone, zones == 1)
        assert (found.labels is None) == (found.laser != "TOP" or found.return_number == 2)
        if found.labels is not None:
            np.testing.assert_array_equal(found.labels, rows_of(MatrixInt32, image, "segmentation_label")[found.pixels])


def rows_of(message_class: Any, image: Any, name: str) -> np.ndarray:
    """(H * W, C) of a deflated matrix, read by protobuf."""
    message = message_class.FromString(zlib.decompress(getattr(image, f"{name}_compressed")))
    return np.array(message.data).reshape(-1, message.shape.dims[-1])


def test_one_return_may_be_asked_for():
    frame = frame_of(frame_message().SerializeToString(), "made")
    assert {found.return_number for found in frame.returns((2,))} == {2}
    assert frame.returns(()) == []
    with pytest.raises(ValueError, match=r"numbers of returns are 1 and 2, got \(3,\)"):
        frame.returns((3,))


def test_a_range_image_that_is_a_message_of_its_own_is_read():
    message = frame_message()
    wanted = frame_of(message.SerializeToString(), "made").returns((1,))
    for laser in message.lasers:
        plain = MatrixFloat()
        plain.ParseFromString(zlib.decompress(laser.ri_return1.range_image_compressed))
        laser.ri_return1.range_image.CopyFrom(plain)
        laser.ri_return1.ClearField("range_image_compressed")
    assert_same_points(frame_of(message.SerializeToString(), "made").returns((1,)), wanted)


def test_lasers_without_a_range_image_have_no_points():
    message = frame_message()
    for laser in message.lasers:
        laser.ClearField("ri_return1")
        laser.ClearField("ri_return2")
    assert frame_of(message.SerializeToString(), "made").returns() == []


def assert_same_points(found: list[LaserReturns], wanted: list[LaserReturns]) -> None:
    assert len(found) == len(wanted)
    for left, right in zip(found, wanted, strict=True):
        np.testing.assert_array_equal(left.xyz, right.xyz)


def drop_calibration(message: Any) -> None:
    del message.context.laser_calibrations[0]


def drop_beams(message: Any) -> None:
    del message.context.laser_calibrations[1].beam_inclinations[0]


def repeat_laser(message: Any) -> None:
    message.lasers.append(message.lasers[0])


def cut_image(message: Any) -> None:
    image = message.lasers[0].ri_return2
    image.range_image_compressed = image.range_image_compressed[:20]


def change_size(part: str, shape: tuple[int, ...]) -> Callable[[Any], None]:
    def change(message: Any) -> None:
        top = message.lasers[1].ri_return1
        setattr(top, f"{part}_compressed", stored(MatrixFloat, np.zeros(shape)))

    return change


@pytest.mark.parametrize(
    ("damage", "match"),
    [
        (drop_calibration, "made: laser FRONT: expected a calibration, got none"),
        (drop_beams, "made: laser TOP: .*got 4 inclinations of TOP for 5 rows"),
        (repeat_laser, "made: laser FRONT, return 1: expected one, got two"),
        (cut_image, "made: laser FRONT, return 2, range image: expected a whole zlib stream"),
        (change_size("range_image", (5, 12, 3)), r"TOP, return 1: .*values must be \(5, 12, 4\), got \(5, 12, 3\)"),
        (change_size("range_image", (60, 4)), r"TOP, return 1: .*values must be"),
        (change_size("range_image_pose", (5, 11, 6)), r"pixel_poses must be \(5, 12, 6\), got \(5, 11, 6\)"),
    ],
    ids=["no calibration", "a beam too few", "twice", "cut", "three channels", "flat", "other poses"],
)
def test_range_images_that_cannot_be_read_are_told(damage: Callable[[Any], None], match: str):
    message = frame_message()
    damage(message)
    with pytest.raises(DataError, match=match):
        frame_of(message.SerializeToString(), "made").returns()


@pytest.mark.parametrize(
    ("parts", "match"),
    [
        ({"pixel_poses": np.zeros((1, 1, 6))}, r"pixel_poses must be \(1, 2, 6\), got \(1, 1, 6\)"),
        ({"projections": np.zeros((1, 2, 3))}, r"projections must be \(1, 2, 6\), got \(1, 2, 3\)"),
        ({"labels": np.zeros((1, 2))}, r"labels must be \(1, 2, 2\), got \(1, 2\)"),
    ],
)
def test_matrices_that_do_not_fit_the_image_are_refused(parts: dict[str, np.ndarray], match: str):
    with pytest.raises(ValueError, match=match):
        image_of([[1.0, 2.0]], **parts)


@pytest.mark.parametrize(
    ("pose", "match"), [(None, "need global_from_vehicle"), (np.zeros((4, 4)), "got a singular matrix")]
)
def test_pixel_poses_need_the_pose_of_the_frame(pose: np.ndarray | None, match: str):
    image = image_of([[1.0, 2.0]], pixel_poses=np.zeros((1, 2, 6), np.float32))
    with pytest.raises(ValueError, match=match):
        laser_returns(image, AT_ORIGIN, pose)
