"""Bring pictures to one size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor
from torchvision.transforms.v2 import functional as pictures

from ..registry import TRANSFORMS
from ..structures import Calibration, Camera, Frame


@TRANSFORMS.register_module()
class ResizeImages:
    """Resize the decoded pictures; intrinsics follow, so that points stay on what they fall on.

    Bilinear, with the filter widened when a picture shrinks, so that fine structures do not alias; labels take the
    nearest pixel. A pixel's centre has whole coordinates, hence u becomes (u + 0.5) * scale - 0.5.

    Args:
        size: height and width of every picture [pixels].
        names: cameras to resize; None: all. A frame may lack some of them.
        move_centers: False makes u into u * scale, half a pixel off, as the releases of map models do.

    Raises:
        ValueError: ``size`` is not two numbers of at least 1, or a picture to resize is not decoded.
    """

    def __init__(
        self, size: Sequence[int], names: Sequence[str] | None = None, *, move_centers: bool = True
    ) -> None:
        if len(size) != 2 or min(size) < 1:
            raise ValueError(f"size must be height and width, both >= 1, got {tuple(size)}")
        self.size, self.move_centers = (int(size[0]), int(size[1])), move_centers
        self.names = None if names is None else tuple(names)

    def __call__(self, frame: Frame, rng: np.random.Generator) -> Frame:
        """The frame with pictures of one size."""
        cameras = {
            name: self._resized(camera, f"frame {frame.token}: camera {name}")
            if self.names is None or name in self.names else camera
            for name, camera in frame.cameras.items()
        }
        return replace(frame, cameras=cameras)

    def _resized(self, camera: Camera, place: str) -> Camera:
        if camera.image is None:
            raise ValueError(f"{place} has no decoded picture: put LoadImages first")
        image = pictures.resize(camera.image, list(self.size), antialias=True)
        calibration = camera.calibration
        if calibration is not None:
            intrinsics = scaled_intrinsics(calibration, self.size, move_centers=self.move_centers)
            calibration = replace(calibration, intrinsics=intrinsics, height=self.size[0], width=self.size[1])
        labels = None if camera.labels is None else camera.labels.resized(*self.size)
        return replace(camera, image=image, labels=labels, calibration=calibration, source=None)

    def __repr__(self) -> str:
        return f"ResizeImages(size={self.size}, names={self.names}, move_centers={self.move_centers})"


def scaled_intrinsics(calibration: Calibration, size: Sequence[int], *, move_centers: bool = True) -> Tensor:
    """(3, 3) intrinsics [pixels] for the picture resized to ``size`` (height, width); see `ResizeImages`."""
    scale = torch.tensor([size[1] / calibration.width, size[0] / calibration.height], dtype=torch.float64)
    intrinsics = calibration.intrinsics.clone()
    intrinsics[:2] *= scale[:, None]
    if move_centers:
        intrinsics[:2, 2] += 0.5 * scale - 0.5
    return intrinsics
