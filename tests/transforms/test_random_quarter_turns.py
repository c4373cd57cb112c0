from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from scene_frames import scene

from perception.structures import Camera, Frame, PixelLabels
from perception.transforms.random_quarter_turns import RandomQuarterTurns, turned


def test_a_picture_turns_counter_clockwise():
    image = torch.tensor([[0, 1, 2], [3, 4, 5]], dtype=torch.uint8).expand(3, 2, 3)
    camera = turned(Camera(None, 0, image=image, labels=PixelLabels(image[0].long())), "camera")
    assert camera.image[0].tolist() == [[2, 5], [1, 4], [0, 3]]
    assert camera.labels.classes.tolist() == [[2, 5], [1, 4], [0, 3]]


def test_points_stay_on_what_they_fall_on():
    front = scene().cameras["front"]
    skewed = front.calibration.intrinsics.clone()
    skewed[0, 1] = 3.0
    front = replace(front, calibration=replace(front.calibration, intrinsics=skewed))
    points = torch.tensor([[10.0, 2.0, 0.5], [20.0, -5.0, 1.0], [30.0, 9.0, 0.0]], dtype=torch.float64)
    before, camera = front.calibration.project(points), turned(front, "camera")
    after = camera.calibration.project(points)
    expected = torch.stack([before[:, 1], 63 - before[:, 0], before[:, 2]], dim=1)
    torch.testing.assert_close(after, expected)
    assert camera.image.shape[1:] == (camera.calibration.height, camera.calibration.width) == (64, 40)


def test_four_turns_are_none():
    front = camera = scene().cameras["front"]
    for _ in range(4):
        camera = turned(camera, "camera")
    assert torch.equal(camera.image, front.image)
    torch.testing.assert_close(camera.calibration.intrinsics, front.calibration.intrinsics)
    pose, before = camera.calibration.ego_from_camera, front.calibration.ego_from_camera
    torch.testing.assert_close(pose.matrix(), before.matrix())


def test_all_turns_occur_and_all_cameras_turn_alike():
    front = scene().cameras["front"]
    frame = Frame("a", 0, cameras={"left": front, "right": front})
    found = [RandomQuarterTurns()(frame, np.random.default_rng(seed)).cameras for seed in range(20)]
    assert all(torch.equal(cameras["left"].image, cameras["right"].image) for cameras in found)
    assert len({cameras["left"].image.numpy().tobytes() for cameras in found}) == 4


def test_a_picture_that_is_not_decoded_is_refused():
    frame = Frame("a", 0, cameras={"front": Camera(None, 0, source=b"")})
    with pytest.raises(ValueError, match="frame a: camera front has no decoded picture"):
        [RandomQuarterTurns()(frame, np.random.default_rng(seed)) for seed in range(9)]
