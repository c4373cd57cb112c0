"""Turns a batch of frames into what super-resolution takes: pictures in [0, 1], and those to be found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from perception.errors import ConfigError
from perception.registry import MODELS
from perception.structures import Camera, Frame
from perception.structures.super_resolution import HIGH, resolution_pair

from .image_data_preprocessor import ImageDataPreprocessor


@MODELS.register_module()
class ResolutionPairPreprocessor(ImageDataPreprocessor):
    """The picture of one camera of each frame, RGB in [0, 1], and its partner in high resolution where there is one.

    Args:
        camera: its name; None takes the only camera of each frame, partners left aside.
        non_blocking: overlap the copy to the device with computing.
    """

    def __init__(self, camera: str | None = None, *, non_blocking: bool = False) -> None:
        super().__init__(camera, mean=(0.0, 0.0, 0.0), std=(255.0, 255.0, 255.0), non_blocking=non_blocking)

    def camera_of(self, frame: Frame) -> Camera:
        """The camera whose picture is enlarged. Raises ValueError as that of `ImageDataPreprocessor` does."""
        seen = {name: camera for name, camera in frame.cameras.items() if not name.endswith(HIGH)}
        return super().camera_of(replace(frame, cameras=seen))

    def forward(self, data: Any, training: bool = False) -> dict[str, Any]:
        """As `ImageDataPreprocessor.forward`, but pictures in training must be of one size: padding teaches nothing.

        Raises:
            TypeError, ValueError: see `ImageDataPreprocessor.forward`.
            ConfigError: pictures of a training batch differ in size.
        """
        batch = super().forward(data, training)
        sizes = {size.own for size in self.sizes(batch["data_samples"])}
        if training and len(sizes) > 1:
            told = ", ".join(f"{height} x {width}" for height, width in sorted(sizes))
            raise ConfigError(f"pictures of a training batch must have one size, got {told}: ResolutionPairs(patch)")
        return batch

    def targets(self, frames: Sequence[Frame], scale: int) -> Tensor:
        """(B, 3, scale * H, scale * W) float32 in [0, 1], what shall be found.

        Raises:
            ConfigError: a frame has no partner, or one in another resolution.
        """
        return torch.stack([self._target(frame, scale) for frame in frames])

    def _target(self, frame: Frame, scale: int) -> Tensor:
        pair = resolution_pair(frame, self.camera)
        if pair is None:
            raise ConfigError(f"frame {frame.token} has no picture in high resolution: put ResolutionPairs last")
        if pair.scale != scale:
            raise ConfigError(f"frame {frame.token} is a pair of scale {pair.scale}, the model enlarges by {scale}")
        assert pair.high.image is not None
        return pair.high.image.to(self.device).float() / 255
