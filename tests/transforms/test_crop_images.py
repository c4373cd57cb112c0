from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from perception.structures import SE3, Calibration, Camera, Frame, PixelLabels
from perception.transforms.crop_images import CropImages

RNG = np.random.default_rng(0)


def camera(rows: int = 40) -> Camera:
    intrinsics = torch.tensor([[30.0, 0, 20], [0, 30, 18], [0, 0, 1]])
    pose = SE3(torch.tensor([[0.0, 0, 1], [-1, 0, 0], [0, -1, 0]]), torch.zeros(3))
    return Camera(Calibration(intrinsics, pose, 50, rows), 0, image=torch.arange(rows).view(1, -1, 1).expand(3, -1, 50))


def test_a_point_stays_on_what_it_fell_on():
    frame = Frame("a", 0, cameras={"front": camera()})
    cropped = CropImages((5, 35))(frame, RNG).cameras["front"]
    before, after = (view.calibration.project(torch.tensor([6.0, 1.0, -1.0])) for view in (camera(), cropped))
    torch.testing.assert_close(after, before - torch.tensor([0.0, 5.0, 0.0]))
    assert int(cropped.image[0, 0, 0]) == 5
    assert tuple(cropped.image.shape) == (3, cropped.calibration.height, 50) == (3, 30, 50)


def test_labels_are_cropped_with_the_picture():
    labelled = replace(camera(), labels=PixelLabels(torch.arange(40).view(40, 1).expand(40, 50)))
    cropped = CropImages((5, 35))(Frame("a", 0, cameras={"front": labelled}), RNG).cameras["front"]
    assert torch.equal(cropped.labels.classes, cropped.image[0])


def test_other_cameras_stay_as_they_are():
    frame = Frame("a", 0, cameras={"front": camera(), "rear": camera()})
    cropped = CropImages((5, 35), ["front", "absent"])(frame, RNG)
    assert cropped.cameras["rear"] is frame.cameras["rear"]
    assert cropped.cameras["front"].image.shape[1] == 30


@pytest.mark.parametrize("rows", [(5, 5), (-1, 4), (1, 2, 3)])
def test_no_rows_are_refused(rows):
    with pytest.raises(ValueError, match="rows must be a first one >= 0 and a greater one"):
        CropImages(rows)


def test_a_picture_with_fewer_rows_or_none_is_refused():
    with pytest.raises(ValueError, match="frame a: camera front has 20 rows, cannot keep 5 to 34"):
        CropImages((5, 35))(Frame("a", 0, cameras={"front": camera(20)}), RNG)
    with pytest.raises(ValueError, match="has no decoded picture: put LoadImages first"):
        CropImages((5, 35))(Frame("a", 0, cameras={"front": Camera(None, 0)}), RNG)
