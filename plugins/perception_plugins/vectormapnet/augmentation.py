"""Noise on what the generator is given in training, so that it learns to go on from its own mistakes.

VectorMapNet (Liu et al., ICML 2023), appendix; what it is to foretell stays clean.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .tokens import STOP


@dataclass(frozen=True)
class InputNoise:
    """Moves coordinates, each with some probability, by Gaussian noise.

    Args:
        probability: that a coordinate is moved; 0 leaves all alone.
        sigma: standard deviation as a share of the canvas' side.
        y_from_x: reproduce a slip of the release: the y of a keypoint that is moved comes from its noisy x.

    Raises:
        ValueError: the probability or sigma is out of range.
    """

    probability: float = 0.3
    sigma: float = 0.01
    y_from_x: bool = False

    def __post_init__(self) -> None:
        if not 0.0 <= self.probability <= 1.0 or self.sigma < 0:
            raise ValueError(
                f"probability must lie in [0, 1] and sigma be >= 0, got {self.probability} and {self.sigma}"
            )

    def on_tokens(self, tokens: Tensor, size: tuple[int, int], rng: torch.Generator | None = None) -> Tensor:
        """(L, T) int64 tokens x1, y1, ... -> the same with noise, in [0, size]; stops and padding stay."""
        noisy = self._moved(tokens, size, rng)
        return torch.where(self._is_moved(tokens, rng) & (tokens != STOP), noisy, tokens)

    def on_keypoints(self, cells: Tensor, size: tuple[int, int], rng: torch.Generator | None = None) -> Tensor:
        """(L, 2 P) int64 cells x1, y1, ... -> the same with noise, in [0, size]."""
        noisy = self._moved(cells, size, rng)
        if self.y_from_x:
            x = noisy[:, 0::2].clamp(min=1)
            noisy = torch.stack([x, x.clamp(max=size[1])], dim=2).flatten(1)
        return torch.where(self._is_moved(cells, rng), noisy, cells)

    def _moved(self, values: Tensor, size: tuple[int, int], rng: torch.Generator | None) -> Tensor:
        sides = torch.tensor(size, device=values.device)[torch.arange(values.shape[1], device=values.device) % 2]
        noise = torch.randn(values.shape, generator=rng, device=values.device) * (self.sigma * sides)
        return torch.minimum((values + noise).round().long().clamp(min=0), sides)

    def _is_moved(self, values: Tensor, rng: torch.Generator | None) -> Tensor:
        return torch.rand(values.shape, generator=rng, device=values.device) < self.probability
