"""Enlarged parts of pictures, with cameras that fit them."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scene_frames import scene

from perception.engine.build import build_model
from perception.engine.checkpoint import save_checkpoint
from perception.engine.config import load_config
from perception.errors import ConfigError
from perception.models.bicubic_upscaler import BicubicUpscaler
from perception.structures import SE3, Camera, Frame, PixelLabels
from perception.transforms.bicubic import enlarged, to_uint8
from perception.transforms.super_resolve import FAR, SuperResolve, middle_of_far_field

SMALL = Path(__file__).resolve().parents[2] / "configs/drct/drct_small_synthetic.py"
BICUBIC = {"type": "SuperResolver", "network": {"type": "BicubicUpscaler", "scale": 2}}
RNG = np.random.default_rng(0)


def test_the_part_lies_about_the_far_place_and_is_enlarged():
    frame = scene()                                  # looks along x from (1, 0.2, 2), 64 x 40 pixels, focal length 50
    found = SuperResolve(BICUBIC, size=(9, 15), distance=50.0)(frame, RNG)
    assert list(found.cameras) == ["front", "front" + FAR]
    assert found.cameras["front"] is frame.cameras["front"]
    # the place is 2 m below and 50 m ahead: 2 pixels below the principal point (32, 20), at row 22
    part = frame.cameras["front"].image[:, 18:27, 25:40]
    assert torch.equal(found.cameras["front" + FAR].image, to_uint8(enlarged(part / 255, 2)))


@pytest.mark.parametrize("scale", [2, 3])
def test_points_fall_on_what_they_fell_on(scale):
    model = {"type": "SuperResolver", "network": {"type": "BicubicUpscaler", "scale": scale}}
    found = SuperResolve(model, size=(9, 15), distance=50.0)(scene(), RNG).cameras
    point = torch.tensor([40.0, 1.0, 0.5], dtype=torch.float64)
    wide, far = (found[name].calibration for name in ("front", "front" + FAR))
    expected = (wide.project(point)[:2] - torch.tensor([25.0, 18.0]) + 0.5) * scale - 0.5
    torch.testing.assert_close(far.project(point)[:2], expected)
    assert (far.height, far.width) == (9 * scale, 15 * scale)
    assert far.intrinsics[0, 0] == 50 * scale


def test_labels_of_the_part_are_enlarged_with_it():
    frame = scene()
    labels = PixelLabels(torch.arange(40).view(40, 1).expand(40, 64).contiguous())
    frame = replace(frame, cameras={"front": replace(frame.cameras["front"], labels=labels)})
    far = SuperResolve(BICUBIC, size=(9, 15), distance=50.0)(frame, RNG).cameras["front" + FAR]
    assert far.labels.classes[:, 0].tolist() == [row for row in range(18, 27) for _ in range(2)]


def test_the_part_can_take_the_cameras_place_and_others_stay():
    frame = scene()
    frame = replace(frame, cameras={**frame.cameras, "rear": frame.cameras["front"]})
    found = SuperResolve(BICUBIC, size=(8, 8), names=("front", "absent"), in_place=True)(frame, RNG).cameras
    assert {name: tuple(camera.image.shape) for name, camera in found.items()} == {
        "front": (3, 16, 16), "rear": (3, 40, 64),
    }


def test_a_part_larger_than_the_picture_is_the_picture():
    camera = Camera(None, 0, image=torch.zeros(3, 6, 9, dtype=torch.uint8))
    found = SuperResolve(BICUBIC, size=(64, 8))(Frame("a", 0, cameras={"front": camera}), RNG)
    assert found.cameras["front" + FAR].image.shape == (3, 12, 16)


def test_a_place_beyond_the_picture_gives_a_part_at_its_border():
    found = SuperResolve(BICUBIC, size=(10, 16), distance=2.0)(scene(), RNG)      # 45 degrees below the horizon
    far = found.cameras["front" + FAR].calibration
    assert far.intrinsics[1, 2] == pytest.approx((20 - 30 + 0.5) * 2 - 0.5)       # rows 30 to 39


def test_a_camera_that_looks_down_has_no_far_field():
    calibration = scene().cameras["front"].calibration
    down = replace(calibration, ego_from_camera=SE3(torch.diag(torch.tensor([1.0, -1.0, -1.0])), torch.ones(3)))
    assert middle_of_far_field(down, 50.0) is None
    assert middle_of_far_field(None, 50.0) is None
    assert middle_of_far_field(calibration, 50.0) == pytest.approx((22.0, 32.0))


def test_a_trained_network_is_read_from_its_config_and_checkpoint(tmp_path):
    torch.manual_seed(0)
    model = build_model(load_config(SMALL).model).eval()
    torch.nn.init.normal_(model.network.conv_last.weight, std=0.1)
    save_checkpoint({"state_dict": model.state_dict()}, tmp_path / "trained.pth")
    transform = SuperResolve(SMALL, tmp_path / "trained.pth", size=(13, 21))     # 13 is no multiple of the windows
    found = transform(scene(), RNG).cameras["front" + FAR]
    assert found.image.shape == (3, 26, 42)
    again = pickle.loads(pickle.dumps(transform))(scene(), RNG)                  # as a worker of a loader gets it
    assert torch.equal(again.cameras["front" + FAR].image, found.image)
    plain = SuperResolve(BICUBIC, size=(13, 21))(scene(), RNG).cameras["front" + FAR]
    assert not torch.equal(plain.image, found.image)


def test_a_network_without_weights_is_refused():
    with pytest.raises(ConfigError, match="DRCT must be trained: give its checkpoint"):
        SuperResolve(SMALL)(scene(), RNG)


def test_a_model_of_another_task_is_refused():
    with pytest.raises(ConfigError, match=f"SuperResolve needs a SuperResolver, got {BicubicUpscaler.__name__}"):
        SuperResolve({"type": "BicubicUpscaler"})(scene(), RNG)


@pytest.mark.parametrize(("options", "message"), [
    ({"size": (0, 4)}, "size must be height and width, both >= 1"),
    ({"size": (4,)}, "size must be height and width, both >= 1"),
    ({"distance": 0.0}, "distance must be positive"),
    ({"distance": float("nan")}, "distance must be positive"),
])
def test_impossible_arguments_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        SuperResolve(BICUBIC, **options)


def test_a_picture_that_is_not_decoded_is_refused():
    with pytest.raises(ValueError, match="frame a: camera front has no decoded picture"):
        SuperResolve(BICUBIC)(Frame("a", 0, cameras={"front": Camera(None, 0)}), RNG)
