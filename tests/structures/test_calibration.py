"""Pinhole cameras: projection by hand, against the pinhole formula, under moves and mirrors."""

import math
from pathlib import Path

import pytest
import torch
from box_strategies import se3
from hypothesis import given, settings
from hypothesis import strategies as st

from perception.structures import SE3, Calibration, Camera, PixelLabels

# camera looking forward: its z is the vehicle's x, its x the vehicle's -y, its y the vehicle's -z
FORWARD = torch.tensor([[0.0, 0.0, 1.0], [-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]], dtype=torch.float64)


def calibration(skew: float = 0.0, pose: SE3 | None = None) -> Calibration:
    intrinsics = torch.tensor([[500.0, skew, 320.0], [0.0, 400.0, 200.0], [0.0, 0.0, 1.0]], dtype=torch.float64)
    pose = pose or SE3(FORWARD, torch.tensor([1.0, 0.0, 2.0], dtype=torch.float64))
    return Calibration(intrinsics, pose, width=640, height=400)


def test_a_point_ahead_left_and_below_lands_left_of_and_below_the_centre():
    uvd = calibration().project(torch.tensor([[11.0, 1.0, 1.0]]))
    torch.testing.assert_close(uvd, torch.tensor([[320.0 - 50.0, 200.0 + 40.0, 10.0]]))


def test_points_behind_have_no_pixel_but_a_depth():
    uvd = calibration().project(torch.tensor([[-9.0, 1.0, 1.0], [1.0, 5.0, 5.0]]))
    assert uvd[:, :2].isnan().all()
    assert uvd[:, 2].tolist() == [-10.0, 0.0]


@given(pose=se3(), pixel=st.tuples(st.floats(0, 640), st.floats(0, 400)), depth=st.floats(0.5, 100))
@settings(max_examples=40, deadline=None)
def test_unprojecting_undoes_projecting(pose, pixel, depth):
    camera = calibration(skew=3.0, pose=pose @ SE3(FORWARD, torch.zeros(3)))
    point = camera.unproject(torch.tensor([pixel], dtype=torch.float64), torch.tensor([depth], dtype=torch.float64))
    expected = torch.tensor([[*pixel, depth]], dtype=torch.float64)
    torch.testing.assert_close(camera.project(point), expected, atol=1e-8, rtol=0)


@given(pose=se3(reach=5.0), skew=st.floats(-5, 5), seed=st.integers(0, 99))
@settings(max_examples=40, deadline=None)
def test_projecting_in_the_mirrored_scene_mirrors_the_pixels(pose, skew, seed):
    camera = calibration(skew, pose @ SE3(FORWARD, torch.zeros(3)))
    points = torch.randn(20, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * 30
    flip = torch.tensor([1.0, -1.0, 1.0], dtype=torch.float64)
    first = camera.project(points)
    mirrored = camera.mirrored_y().project(points * flip)
    expected = torch.stack([camera.width - 1 - first[:, 0], first[:, 1], first[:, 2]], dim=1)
    torch.testing.assert_close(mirrored, expected, atol=1e-6, rtol=1e-9, equal_nan=True)


@pytest.mark.parametrize(
    ("point", "seen"),
    [
        ([11.0, 0.0, 2.0], True),
        ([1.05, 0.0, 2.0], False),              # nearer than min_depth
        ([11.0, 6.42, 2.0], False),             # u = -1
        ([11.0, 6.40, 2.0], True),
        ([11.0, 0.0, 2.0 - 4.99], False),       # v = 399.6
        ([math.nan, 0.0, 2.0], False),
    ],
)
def test_a_camera_sees_what_falls_on_its_pixels(point, seen):
    assert calibration().sees(torch.tensor(point)).item() is seen


def test_mirroring_a_camera_flips_its_picture_and_forgets_the_file():
    image = torch.arange(2 * 3, dtype=torch.uint8).view(1, 2, 3).expand(3, 2, 3)
    mirrored = Camera(None, 0, Path("left.jpg"), image).mirrored_y()
    assert mirrored.image is not None
    assert torch.equal(mirrored.image, image.flip(-1))
    assert mirrored.source is None


def test_mirroring_a_camera_keeps_its_labels_on_what_they_label():
    image = torch.arange(6, dtype=torch.uint8).view(1, 2, 3).expand(3, 2, 3)
    mirrored = Camera(None, 0, image=image, labels=PixelLabels(image[0].long())).mirrored_y()
    assert mirrored.image is not None
    assert mirrored.labels is not None
    assert torch.equal(mirrored.labels.classes, mirrored.image[0].long())


def test_mirroring_a_picture_that_is_not_decoded_is_refused():
    with pytest.raises(ValueError, match="put LoadImages first"):
        Camera(calibration(), 0, Path("left.jpg")).mirrored_y()


@pytest.mark.parametrize(
    ("intrinsics", "message"),
    [
        (torch.eye(4), r"finite \(3, 3\)"),
        (torch.diag(torch.tensor([1.0, math.nan, 1.0])), "finite"),
        (torch.diag(torch.tensor([0.0, 1.0, 1.0])), "focal lengths must be positive, got 0 and 1"),
        (torch.diag(torch.tensor([1.0, 1.0, 2.0])), "last row of intrinsics must be 0 0 1"),
    ],
)
def test_impossible_intrinsics_are_refused(intrinsics, message):
    with pytest.raises(ValueError, match=message):
        Calibration(intrinsics, SE3.identity(), 10, 10)
