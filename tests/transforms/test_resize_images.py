from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from scene_frames import pixels, scene

from perception.registry import TRANSFORMS
from perception.structures import Camera, Frame, PixelLabels
from perception.transforms.resize_images import ResizeImages

RNG = np.random.default_rng(0)


def with_image(image: torch.Tensor) -> Frame:
    """The scene whose camera (64 x 40 pixels) has this picture."""
    frame = scene()
    return replace(frame, cameras={"front": replace(frame.cameras["front"], image=image)})


def test_halving_moves_the_principal_point_by_a_quarter_pixel():
    """Pixels 0 and 1, with centres at 0 and 1, become pixel 0: what was at 0.5 is at 0."""
    calibration = ResizeImages((20, 32))(scene(), RNG).cameras["front"].calibration
    assert (calibration.height, calibration.width) == (20, 32)
    assert calibration.intrinsics.tolist() == [[25.0, 0.0, 15.75], [0.0, 25.0, 9.75], [0.0, 0.0, 1.0]]


def test_centers_can_stay_as_the_releases_leave_them():
    calibration = ResizeImages((20, 32), move_centers=False)(scene(), RNG).cameras["front"].calibration
    assert calibration.intrinsics.tolist() == [[25.0, 0.0, 16.0], [0.0, 25.0, 10.0], [0.0, 0.0, 1.0]]


@pytest.mark.parametrize("size", [(20, 32), (40, 64), (80, 192), (13, 47)])
def test_the_corners_of_the_picture_stay_its_corners(size):
    """A point on the outer border of the picture, half a pixel beyond the first centre, is there in the new one too."""
    frame = scene()
    resized = ResizeImages(size)(frame, RNG).cameras["front"].calibration
    border = torch.tensor([[-0.5, -0.5], [63.5, 39.5]], dtype=torch.float64)
    points = frame.cameras["front"].calibration.unproject(border, torch.tensor([5.0, 20.0], dtype=torch.float64))
    expected = torch.tensor([[-0.5, -0.5], [size[1] - 0.5, size[0] - 0.5]], dtype=torch.float64)
    torch.testing.assert_close(resized.project(points)[:, :2], expected)


def test_a_bright_spot_stays_under_the_point_that_falls_on_it():
    """The centre of mass of a blurred spot follows the projection of its point."""
    frame = scene()
    u, v, _ = pixels(frame)[0].tolist()
    rows, columns = torch.meshgrid(torch.arange(40.0), torch.arange(64.0), indexing="ij")
    spot = 255 * torch.exp(-((columns - u) ** 2 + (rows - v) ** 2) / 18)
    resized = ResizeImages((30, 40))(with_image(spot.round().to(torch.uint8).expand(3, -1, -1)), RNG)
    image = resized.cameras["front"].image[0].double()
    rows, columns = torch.meshgrid(torch.arange(30.0), torch.arange(40.0), indexing="ij")
    center = torch.stack([(image * columns).sum(), (image * rows).sum()]) / image.sum()
    torch.testing.assert_close(center.float(), pixels(resized)[0, :2], atol=0.05, rtol=0)     # grey levels are whole


def test_labels_get_the_size_of_the_picture_and_no_class_between_two():
    labels = PixelLabels(torch.where(torch.arange(64) < 32, 2, 9).expand(40, 64))
    frame = scene()
    labelled = replace(frame, cameras={"front": replace(frame.cameras["front"], labels=labels)})
    resized = ResizeImages((13, 47))(labelled, RNG).cameras["front"].labels
    assert resized.classes.shape == (13, 47)
    assert resized.classes.unique().tolist() == [2, 9]


def test_a_fine_pattern_becomes_its_mean():
    stripes = (255 * (torch.arange(64) % 2)).to(torch.uint8).expand(3, 40, 64)
    image = ResizeImages((10, 16))(with_image(stripes), RNG).cameras["front"].image
    assert image.dtype == torch.uint8
    inner = image[:, :, 1:-1].int()
    assert inner.min() >= 127 - 4                    # the widened filter is a triangle of a few columns, not a box
    assert inner.max() <= 128 + 4


def test_only_named_cameras_change_and_absent_ones_are_no_error():
    frame = scene()
    same = ResizeImages((20, 32), names=("back",))(frame, RNG)
    assert same.cameras["front"] is frame.cameras["front"]


def test_a_camera_without_calibration_is_resized():
    frame = Frame("a", 0, cameras={"front": Camera(None, 0, image=torch.zeros(3, 8, 8, dtype=torch.uint8))})
    camera = ResizeImages((4, 6))(frame, RNG).cameras["front"]
    assert camera.image.shape == (3, 4, 6)
    assert camera.calibration is None


def test_a_picture_that_is_not_decoded_is_refused():
    frame = Frame("a", 0, cameras={"front": Camera(None, 0, source=b"")})
    with pytest.raises(ValueError, match="frame a: camera front has no decoded picture: put LoadImages first"):
        ResizeImages((4, 6))(frame, RNG)


@pytest.mark.parametrize("size", [(0, 4), (4,), (4, 5, 6)])
def test_a_size_that_cannot_be_is_refused(size):
    with pytest.raises(ValueError, match="size must be height and width, both >= 1"):
        TRANSFORMS.build({"type": "ResizeImages", "size": size})
