"""What lies between the scene and the picture: glare in the lens, rain in the air, noise of the sensor."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

COARSE = 4                      # pixels along a side of a block in which glare is worked out


@dataclass(frozen=True)
class Glare:
    """A soft halo around what is too bright for the sensor.

    Args:
        threshold: brightness from which light spills over.
        strength: share of the spilled light that comes back in the halo.
        radius: standard deviation of the halo [px].
    """

    threshold: float = 0.85
    strength: float = 0.8
    radius: float = 7.0

    def __call__(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Add the halo; nothing is drawn."""
        height, width = image.shape[:2]
        excess = np.maximum(image - self.threshold, 0.0)
        coarse = np.add.reduceat(excess, np.arange(0, height, COARSE), axis=0)
        coarse = np.add.reduceat(coarse, np.arange(0, width, COARSE), axis=1)                  # (h, w, 3)
        down, across = self._spread(height), self._spread(width)                               # (H, h), (W, w)
        columns = np.tensordot(coarse, across, axes=(1, 1))                                    # (h, 3, W)
        return image + self.strength * np.tensordot(down, columns, axes=(1, 0)).transpose(0, 2, 1)

    def _spread(self, size: int) -> np.ndarray:
        """(size, blocks) float32 what a pixel gets of the light summed in each block along one axis."""
        middles = np.arange(0, size, COARSE) + (COARSE - 1) / 2
        offset = (np.arange(size)[:, None] - middles) / self.radius
        return (np.exp(-0.5 * offset**2) / (self.radius * np.sqrt(2.0 * np.pi))).astype(np.float32)


@dataclass(frozen=True)
class RainStreaks:
    """Falling drops, drawn long by the exposure.

    Args:
        count: streaks in an image of any size.
        length: shortest and longest streak as a share of the image's height.
        slant: mean run aside for every pixel down.
        brightness: of a drop.
        opacity: share of the background that the densest streak hides, in [0, 1].
    """

    count: int = 240
    length: tuple[float, float] = (0.04, 0.16)
    slant: float = 0.10
    brightness: float = 0.85
    opacity: float = 0.30

    def __call__(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Veil the image along the streaks."""
        height, width = image.shape[:2]
        top = rng.random((self.count, 2)) * (height * 1.1, width) - (0.1 * height, 0.0)
        long = rng.uniform(*self.length, self.count) * height
        slope = self.slant + 0.03 * rng.standard_normal(self.count)
        density = rng.uniform(0.25, 1.0, self.count) * self.opacity
        step = np.arange(int(np.ceil(self.length[1] * height)))
        row = np.floor(top[:, :1] + step).astype(np.int64)                                     # (count, steps)
        column = top[:, 1:] + slope[:, None] * step
        left = np.floor(column)
        veil = np.zeros((height, width), np.float32)
        for side, weight in ((0, 1.0 - (column - left)), (1, column - left)):
            place = left.astype(np.int64) + side
            inside = (step < long[:, None]) & (row >= 0) & (row < height) & (place >= 0) & (place < width)
            np.maximum.at(veil, (row[inside], place[inside]), (density[:, None] * weight)[inside].astype(np.float32))
        return image + veil[..., None] * (self.brightness - image)


@dataclass(frozen=True)
class SensorNoise:
    """Noise of a sensor that is short of light.

    Args:
        read: standard deviation in the dark.
        shot: standard deviation at brightness 1, growing with its root.
    """

    read: float = 0.010
    shot: float = 0.035

    def __call__(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Add independent noise to every value."""
        deviation = self.read + self.shot * np.sqrt(np.maximum(image, 0.0))
        return np.maximum(image + deviation * rng.standard_normal(image.shape, dtype=np.float32), 0.0)
