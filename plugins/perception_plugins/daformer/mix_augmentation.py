"""Other colours and blur for mixed pictures, so that the student must not lean on the look of a domain."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torchvision.transforms.v2 import functional as pictures

from .class_mix import Random


class MixAugmentation:
    """Colour jitter and Gaussian blur, each for all pictures of a batch or for none, with numbers drawn for each.

    DAFormer (Hoyer et al., CVPR 2022), supplement, after DACS (Tranheden et al., WACV 2021).

    Args:
        strength: half-width of the factors of brightness, contrast and saturation around 1, and of the turn of the
            colour circle [turns].
        jitter_prob: probability of the jitter.
        blur_prob: probability of the blur.
        sigma: least and greatest standard deviation of the blur [pixels].

    Raises:
        ValueError: a probability lies outside [0, 1], the strength outside [0, 0.5], or the sigmas are not in order.
    """

    def __init__(
        self, *, strength: float = 0.2, jitter_prob: float = 0.8, blur_prob: float = 0.5,
        sigma: Sequence[float] = (0.15, 1.15),
    ) -> None:
        for name, value, highest in (
            ("strength", strength, 0.5), ("jitter_prob", jitter_prob, 1), ("blur_prob", blur_prob, 1)
        ):
            if not 0 <= value <= highest:
                raise ValueError(f"{name} must lie in [0, {highest}], got {value}")
        if len(sigma) != 2 or not 0 < sigma[0] <= sigma[1] < math.inf:
            raise ValueError(f"sigma must be the least and the greatest one, both > 0, got {tuple(sigma)}")
        self.strength, self.jitter_prob, self.blur_prob = strength, jitter_prob, blur_prob
        self.sigma = (float(sigma[0]), float(sigma[1]))

    def __call__(self, images: Tensor, rng: Random) -> Tensor:
        """(B, 3, H, W), RGB in [0, 1] -> the same."""
        jitters, blurs = rng.random() < self.jitter_prob, rng.random() < self.blur_prob
        changed = []
        for image in images:
            image = self._jittered(image, rng) if jitters else image
            changed.append(blurred(image, rng.uniform(*self.sigma)) if blurs else image)
        return torch.stack(changed)

    def _jittered(self, image: Tensor, rng: Random) -> Tensor:
        factors = rng.uniform(1 - self.strength, 1 + self.strength, 3)
        turn = float(rng.uniform(-self.strength, self.strength))
        steps = [
            lambda x: pictures.adjust_brightness(x, float(factors[0])),
            lambda x: pictures.adjust_contrast(x, float(factors[1])),
            lambda x: pictures.adjust_saturation(x, float(factors[2])),
            lambda x: pictures.adjust_hue(x, turn),
        ]
        for number in np.asarray(rng.permutation(len(steps))).tolist():
            image = steps[number](image)
        return image


def kernel_side(length: int) -> int:
    """Side of a blur's window for a picture side of so many pixels: odd, about a tenth."""
    tenth = math.ceil(0.1 * length)
    return math.floor(tenth - 0.5 + tenth % 2)


def blurred(image: Tensor, sigma: float) -> Tensor:
    """(..., 3, H, W) under a Gaussian of a standard deviation [pixels]; what lies beyond the border is its mirror."""
    height, width = (kernel_side(length) for length in image.shape[-2:])
    return pictures.gaussian_blur(image, [width, height], [sigma, sigma])
