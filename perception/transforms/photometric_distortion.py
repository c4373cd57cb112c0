"""Change the light and the colours of pictures."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from torch import Tensor
from torchvision.transforms.v2 import functional as pictures

from ..registry import TRANSFORMS
from ..structures import Camera, Frame


@TRANSFORMS.register_module()
class PhotometricDistortion:
    """Brightness, contrast, saturation, hue and the order of the channels, each with a probability, per picture.

    As in "SSD: Single Shot MultiBox Detector" (Liu et al., ECCV 2016), section 2.2, after Howard (2013): contrast comes
    before or after the colours. Saturation is a blend with the grey picture.

    Args:
        brightness: half-width of what is added to every value, in [0, 255].
        contrast: lowest and highest factor.
        saturation: lowest and highest factor.
        hue: half-width of the turn of the colour circle [deg], in [0, 180].
        prob: probability of each change.
        swap_channels: whether the order of the channels is among the changes.

    Raises:
        ValueError: a range is not one, a width or the probability is out of bounds, or a picture is not decoded.
    """

    def __init__(
        self,
        brightness: float = 32.0,
        contrast: Sequence[float] = (0.5, 1.5),
        saturation: Sequence[float] = (0.5, 1.5),
        hue: float = 18.0,
        prob: float = 0.5,
        swap_channels: bool = True,
    ) -> None:
        for name, value, highest in (("brightness", brightness, 255), ("hue", hue, 180), ("prob", prob, 1)):
            if not 0 <= value <= highest:
                raise ValueError(f"{name} must lie in [0, {highest}], got {value}")
        for name, bounds in (("contrast", contrast), ("saturation", saturation)):
            if len(bounds) != 2 or not 0 <= bounds[0] <= bounds[1] < math.inf:
                raise ValueError(f"{name} must be the lowest and the highest factor, both >= 0, got {tuple(bounds)}")
        self.brightness, self.hue, self.prob, self.swap_channels = brightness, hue, prob, swap_channels
        self.contrast, self.saturation = (contrast[0], contrast[1]), (saturation[0], saturation[1])

    def __call__(self, frame: Frame, rng: np.random.Generator) -> Frame:
        """The frame with other pictures of the same scene."""
        cameras = {
            name: self._distorted(camera, rng, f"frame {frame.token}: camera {name}")
            for name, camera in frame.cameras.items()
        }
        return replace(frame, cameras=cameras)

    def _distorted(self, camera: Camera, rng: np.random.Generator, place: str) -> Camera:
        if camera.image is None:
            raise ValueError(f"{place} has no decoded picture: put LoadImages first")
        image = self.distort(camera.image.float() / 255, rng)
        return replace(camera, image=(image * 255).round().to(camera.image.dtype), source=None)

    def distort(self, image: Tensor, rng: np.random.Generator) -> Tensor:
        """(3, H, W) floating in [0, 1] -> the same."""
        change = rng.random(5) < self.prob           # brightness, contrast, saturation, hue, channels
        contrast, contrast_first = rng.uniform(*self.contrast), rng.random() < 0.5
        added = rng.uniform(-self.brightness, self.brightness) / 255
        saturation, turn = rng.uniform(*self.saturation), rng.uniform(-self.hue, self.hue) / 360
        order = rng.permutation(3)
        if change[0]:
            image = (image + added).clamp(0, 1)
        if change[1] and contrast_first:
            image = (image * contrast).clamp(0, 1)
        if change[2]:
            image = pictures.adjust_saturation(image, saturation)
        if change[3]:
            image = pictures.adjust_hue(image, turn)
        if change[1] and not contrast_first:
            image = (image * contrast).clamp(0, 1)
        return image[order.tolist()] if change[4] and self.swap_channels else image

    def __repr__(self) -> str:
        return (
            f"PhotometricDistortion(brightness={self.brightness}, contrast={self.contrast}, "
            f"saturation={self.saturation}, hue={self.hue}, prob={self.prob}, "
            f"swap_channels={self.swap_channels})"
        )
