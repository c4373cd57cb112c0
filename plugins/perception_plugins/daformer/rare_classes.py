"""Rare class sampling: which class, and hence which source picture, comes next.

DAFormer (Hoyer et al., CVPR 2022), section 3.3, equations 4 to 6.
"""

from __future__ import annotations

import logging

import numpy as np
import torch

from perception.errors import ConfigError

from .class_mix import Random

logger = logging.getLogger(__name__)


def class_probabilities(counts: np.ndarray, temperature: float) -> tuple[np.ndarray, np.ndarray]:
    """How often each class is drawn, the rarest most.

    Args:
        counts: (N, K) int64 pixels of each class in each picture.
        temperature: T > 0; the smaller, the more often the rarest.

    Returns:
        (K,) int64 classes from the rarest to the most frequent, and their probabilities, (K,) float32.

    Raises:
        ValueError: the temperature is not positive.
    """
    if not temperature > 0:
        raise ValueError(f"temperature must be > 0, got {temperature}")
    totals = torch.from_numpy(counts.sum(axis=0))
    classes = torch.argsort(totals, stable=True)
    frequencies = totals[classes] / totals.sum()
    return classes.numpy(), torch.softmax((1 - frequencies) / temperature, dim=0).numpy()


class RareClasses:
    """Draws source pictures by the classes that they show.

    Args:
        counts: (N, K) int64 pixels of each class in each picture.
        temperature: see `class_probabilities`.
        min_pixels: a picture stands for the classes of which it shows more pixels than that; a class for which none
            stands is left out, with a warning if it occurs at all.

    Raises:
        ConfigError: no picture stands for any class.
    """

    def __init__(self, counts: np.ndarray, *, temperature: float = 0.01, min_pixels: int = 3000) -> None:
        self.pictures = [np.flatnonzero(column > min_pixels) for column in counts.T]
        classes, probabilities = class_probabilities(counts, temperature)
        drawable = np.array([len(self.pictures[label]) > 0 for label in classes], dtype=bool)
        if not drawable.any():
            raise ConfigError(f"rare classes: no picture shows more than {min_pixels} pixels of any class")
        left_out = [int(label) for label in classes[~drawable] if counts[:, label].any()]
        if left_out:
            logger.warning("classes %s have no picture with more than %d pixels: never drawn", left_out, min_pixels)
        self.classes = classes[drawable]
        self.probabilities = probabilities[drawable] / probabilities[drawable].sum()

    def draw_class(self, rng: Random) -> int:
        """A class, rare ones more often."""
        return int(rng.choice(self.classes, p=self.probabilities))

    def draw(self, rng: Random) -> tuple[int, int]:
        """A class, and the number of a picture that stands for it."""
        label = self.draw_class(rng)
        return label, int(rng.choice(self.pictures[label]))
