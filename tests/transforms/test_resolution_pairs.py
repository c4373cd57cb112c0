from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from scene_frames import scene

from perception.structures import Camera, Frame, PixelLabels
from perception.structures.super_resolution import HIGH, resolution_pair
from perception.transforms.bicubic import shrunk, to_uint8
from perception.transforms.resolution_pairs import ResolutionPairs

RNG = np.random.default_rng(0)


def frame_of(image: torch.Tensor, labels: PixelLabels | None = None) -> Frame:
    return Frame("a", 0, cameras={"front": Camera(None, 0, image=image, labels=labels)})


def noise(height: int, width: int) -> torch.Tensor:
    return torch.randint(0, 256, (3, height, width), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(("scale", "size"), [(2, (20, 32)), (3, (13, 21)), (4, (10, 16))])
def test_the_small_picture_is_the_large_one_shrunk(scale, size):
    pair = resolution_pair(ResolutionPairs(scale)(frame_of(noise(41, 64)), RNG))
    assert pair.scale == scale
    assert pair.low.image.shape[1:] == size
    assert torch.equal(pair.high.image, noise(41, 64)[:, : size[0] * scale, : size[1] * scale])
    assert torch.equal(pair.low.image, to_uint8(shrunk(pair.high.image / 255, scale)))


def test_a_patch_is_cut_out_of_both_pictures_at_one_place():
    whole = ResolutionPairs(2)(frame_of(noise(40, 64)), RNG).cameras
    places = set()
    for seed in range(8):
        part = ResolutionPairs(2, patch=(7, 9))(frame_of(noise(40, 64)), np.random.default_rng(seed)).cameras
        low, high = part["front"].image, part["front" + HIGH].image
        (place,) = [
            (top, left) for top in range(14) for left in range(24)
            if torch.equal(whole["front"].image[:, top : top + 7, left : left + 9], low)
        ]
        top, left = place
        assert torch.equal(whole["front" + HIGH].image[:, 2 * top : 2 * top + 14, 2 * left : 2 * left + 18], high)
        places.add(place)
    assert len(places) > 4


@pytest.mark.parametrize("patch", [None, (7, 9)])
def test_points_fall_on_the_same_things_in_both_pictures(patch):
    cameras = ResolutionPairs(2, patch)(scene(), RNG).cameras
    low, high = (cameras[name].calibration for name in ("front", "front" + HIGH))
    point = torch.tensor([10.0, 2.0, 0.5], dtype=torch.float64)
    expected = (low.project(point)[:2] + 0.5) * 2 - 0.5                # from centre to corner, twice as far, and back
    torch.testing.assert_close(high.project(point)[:2], expected)
    for name in ("front", "front" + HIGH):
        calibration = cameras[name].calibration
        assert cameras[name].image.shape[1:] == (calibration.height, calibration.width)


def test_labels_follow_both_pictures():
    labels = PixelLabels(torch.arange(41).view(41, 1).expand(41, 64).contiguous())
    cameras = ResolutionPairs(2)(frame_of(noise(41, 64), labels), RNG).cameras
    assert cameras["front"].labels.classes.shape == (20, 32)
    assert torch.equal(cameras["front" + HIGH].labels.classes, labels.classes[:40])


def test_other_cameras_stay_alone():
    frame = scene()
    frame = replace(frame, cameras={**frame.cameras, "rear": frame.cameras["front"]})
    found = ResolutionPairs(2, names=("rear", "absent"))(frame, RNG)
    assert list(found.cameras) == ["front", "rear", "rear" + HIGH]
    assert found.cameras["front"] is frame.cameras["front"]


def test_several_pairs_want_one_to_be_named():
    frame = scene()
    found = ResolutionPairs(2)(replace(frame, cameras={**frame.cameras, "rear": frame.cameras["front"]}), RNG)
    assert resolution_pair(found, "rear").low is found.cameras["rear"]
    assert resolution_pair(frame) is None
    with pytest.raises(ValueError, match="frame a has pairs of front, rear: name one"):
        resolution_pair(found)


@pytest.mark.parametrize(("low", "high"), [((4, 4), (8, 9)), ((4, 4), (9, 9)), ((4, 4), (8, 12))])
def test_pictures_that_are_no_multiples_are_no_pair(low, high):
    cameras = {"front": Camera(None, 0, image=noise(*low)), "front" + HIGH: Camera(None, 0, image=noise(*high))}
    with pytest.raises(ValueError, match="must be whole times the smaller"):
        resolution_pair(Frame("a", 0, cameras=cameras))


@pytest.mark.parametrize(("arguments", "message"), [
    ({"scale": 1}, "scale must be a whole number >= 2, got 1"),
    ({"scale": 2, "patch": (0, 4)}, "patch must be height and width, both >= 1"),
    ({"scale": 2, "patch": (4,)}, "patch must be height and width, both >= 1"),
])
def test_impossible_arguments_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        ResolutionPairs(**arguments)


def test_pictures_that_are_too_small_or_not_decoded_are_refused():
    with pytest.raises(ValueError, match=r"camera front must have at least \(32, 32\) pixels, got \(20, 40\)"):
        ResolutionPairs(2, patch=(16, 16))(frame_of(noise(20, 40)), RNG)
    with pytest.raises(ValueError, match=r"must have at least \(4, 4\) pixels, got \(3, 9\)"):
        ResolutionPairs(4)(frame_of(noise(3, 9)), RNG)
    with pytest.raises(ValueError, match="camera front has no decoded picture"):
        ResolutionPairs(2)(Frame("a", 0, cameras={"front": Camera(None, 0)}), RNG)
