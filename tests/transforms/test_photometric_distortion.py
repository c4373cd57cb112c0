from __future__ import annotations

import numpy as np
import pytest
import torch
from scene_frames import scene

from perception.registry import TRANSFORMS
from perception.structures import Camera, Frame
from perception.transforms.photometric_distortion import PhotometricDistortion

OFF = {"brightness": 0.0, "contrast": (1.0, 1.0), "saturation": (1.0, 1.0), "hue": 0.0, "prob": 1.0}


def colored(*rgb: float) -> torch.Tensor:
    """(3, 1, 1) in [0, 1]."""
    return torch.tensor(rgb)[:, None, None]


def distorted(image: torch.Tensor, seed: int = 0, **options) -> list[float]:
    """The colour afterwards, its channels sorted, since all else is off but their order."""
    changed = PhotometricDistortion(**{**OFF, **options}).distort(image, np.random.default_rng(seed))
    return sorted(changed.flatten().tolist())


def test_nothing_happens_at_probability_zero():
    frame = scene()
    after = PhotometricDistortion(prob=0.0)(frame, np.random.default_rng(0))
    assert torch.equal(after.cameras["front"].image, frame.cameras["front"].image)


def test_contrast_multiplies_and_ends_at_white():
    assert distorted(colored(0.2, 0.4, 0.8), contrast=(1.5, 1.5)) == pytest.approx([0.3, 0.6, 1.0])


def test_saturation_zero_leaves_grey():
    lowest, middle, highest = distorted(colored(0.2, 0.4, 0.8), saturation=(0.0, 0.0))
    assert lowest == pytest.approx(middle) == pytest.approx(highest)


@pytest.mark.parametrize("seed", range(4))
def test_hue_turns_within_its_bound_and_keeps_saturation_and_value(seed):
    """Pure red turned by t degrees has a second channel of t / 60 of the way up, and the third stays down."""
    low, middle, high = distorted(colored(0.8, 0.2, 0.2), seed, hue=18.0)
    assert (low, high) == pytest.approx((0.2, 0.8), abs=1e-5)
    assert 0.2 < middle <= 0.2 + 0.6 * 18 / 60 + 1e-5


@pytest.mark.parametrize("seed", range(4))
def test_brightness_adds_one_number_within_its_bound(seed):
    after = distorted(colored(0.4, 0.5, 0.6), seed, brightness=51.0)
    added = torch.tensor(after) - torch.tensor([0.4, 0.5, 0.6])
    assert added.max() - added.min() < 1e-6
    assert 0 < added.abs().max() <= 0.2 + 1e-6


def test_each_picture_has_its_own_draw():
    image = torch.full((3, 4, 4), 100, dtype=torch.uint8)
    frame = Frame("a", 0, cameras={name: Camera(None, 0, image=image) for name in ("left", "right")})
    after = PhotometricDistortion(prob=1.0)(frame, np.random.default_rng(0))
    assert after.cameras["left"].image.dtype == torch.uint8
    assert not torch.equal(after.cameras["left"].image, after.cameras["right"].image)


def test_channels_are_exchanged_as_a_whole():
    image = colored(0.1, 0.5, 0.9).expand(3, 2, 2)
    seen = {
        tuple(PhotometricDistortion(**OFF).distort(image, np.random.default_rng(seed))[:, 0, 0].tolist())
        for seed in range(40)
    }
    assert len(seen) == 6


def test_channels_keep_their_order_if_told_so():
    image = colored(0.1, 0.5, 0.9)
    for seed in range(10):
        changed = PhotometricDistortion(**OFF, swap_channels=False).distort(image, np.random.default_rng(seed))
        torch.testing.assert_close(changed, image)


def test_a_picture_that_is_not_decoded_is_refused():
    frame = Frame("a", 0, cameras={"front": Camera(None, 0, source=b"")})
    with pytest.raises(ValueError, match="frame a: camera front has no decoded picture: put LoadImages first"):
        PhotometricDistortion()(frame, np.random.default_rng(0))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"brightness": -1}, r"brightness must lie in \[0, 255\], got -1"),
        ({"hue": 181}, r"hue must lie in \[0, 180\], got 181"),
        ({"prob": 1.5}, r"prob must lie in \[0, 1\], got 1.5"),
        ({"contrast": (1.5, 0.5)}, "contrast must be the lowest and the highest factor"),
        ({"saturation": (-0.5, 0.5)}, "saturation must be the lowest and the highest factor"),
    ],
)
def test_options_that_cannot_be_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        TRANSFORMS.build({"type": "PhotometricDistortion", **options})
