"""Pinhole cameras: calibration, projection and the picture itself."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from .se3 import SE3
from .segmentation import PixelLabels


@dataclass(frozen=True, eq=False)
class Calibration:
    """A pinhole camera on the vehicle.

    Camera axes are x right, y down, z forward; pixel (0, 0) is the first pixel's centre.

    Args:
        intrinsics: (3, 3) float64, pixels.
        ego_from_camera: pose of the camera at the time of its picture in the frame's ego frame, so the ego motion
            between the frame's timestamp and the picture is part of it.
        width: picture width [pixels].
        height: picture height [pixels].

    Raises:
        ValueError: the intrinsics have another shape, are not finite, have no positive focal length or a last row
            other than 0 0 1.
    """

    intrinsics: Tensor
    ego_from_camera: SE3
    width: int
    height: int

    def __post_init__(self) -> None:
        intrinsics = torch.as_tensor(self.intrinsics, dtype=torch.float64)
        if intrinsics.shape != (3, 3) or not torch.isfinite(intrinsics).all():
            raise ValueError(f"intrinsics must be finite (3, 3), got {self.intrinsics}")
        if intrinsics[0, 0] <= 0 or intrinsics[1, 1] <= 0:
            raise ValueError(f"focal lengths must be positive, got {intrinsics[0, 0]:g} and {intrinsics[1, 1]:g}")
        if intrinsics[2].tolist() != [0.0, 0.0, 1.0]:
            raise ValueError(f"the last row of intrinsics must be 0 0 1, got {intrinsics[2].tolist()}")
        object.__setattr__(self, "intrinsics", intrinsics)

    def project(self, points: Tensor) -> Tensor:
        """Ego-frame points (..., 3) [m] -> (..., 3): u, v [pixels] and depth [m]; u and v are NaN at depth <= 0."""
        local = self.ego_from_camera.inverse().apply(points.double())                     # (..., 3), camera frame
        uvw = local @ self.intrinsics.to(points.device).T                                 # (..., 3)
        depth = local[..., 2:]
        pixels = torch.where(depth > 0, uvw[..., :2] / depth, torch.nan)
        return torch.cat([pixels, depth], dim=-1).to(points.dtype)

    def unproject(self, pixels: Tensor, depth: Tensor) -> Tensor:
        """Pixels (..., 2) at depths (...) [m] -> ego-frame points (..., 3) [m]."""
        homogeneous = torch.cat([pixels.double(), torch.ones_like(pixels[..., :1], dtype=torch.float64)], dim=-1)
        rays = homogeneous @ torch.linalg.inv(self.intrinsics).to(pixels.device).T        # (..., 3), z = 1
        return self.ego_from_camera.apply(rays * depth[..., None].double()).to(pixels.dtype)

    def sees(self, points: Tensor, min_depth: float = 0.1) -> Tensor:
        """(...) bool: which ego-frame points (..., 3) fall into the picture at ``min_depth`` [m] or more."""
        uvd = self.project(points)
        inside = (uvd[..., 0] >= -0.5) & (uvd[..., 0] < self.width - 0.5) & (uvd[..., 1] >= -0.5)
        return inside & (uvd[..., 1] < self.height - 0.5) & (uvd[..., 2] >= min_depth)

    def mirrored_y(self) -> Calibration:
        """The camera of the mirrored scene, whose picture is the given one flipped left to right."""
        intrinsics = self.intrinsics.clone()
        intrinsics[0, 1] = -intrinsics[0, 1]                   # skew
        intrinsics[0, 2] = self.width - 1 - intrinsics[0, 2]
        flip_ego = torch.diag(torch.tensor([1.0, -1.0, 1.0], dtype=torch.float64))
        flip_camera = torch.diag(torch.tensor([-1.0, 1.0, 1.0], dtype=torch.float64))
        pose = SE3(flip_ego @ self.ego_from_camera.rotation @ flip_camera, flip_ego @ self.ego_from_camera.translation)
        return replace(self, intrinsics=intrinsics, ego_from_camera=pose)


@dataclass(frozen=True, eq=False)
class Camera:
    """One camera's picture in a frame. ``LoadImages`` decodes ``source`` into ``image``.

    Args:
        calibration: where it looks; None if the recording has none (the picture can be shown, nothing projected).
        timestamp_ns: time of the picture.
        source: file of the picture, its encoded bytes, or None.
        image: (3, H, W) uint8 RGB once decoded.
        labels: what the pixels show, of the picture's size; None if it is not labelled.
        category: class of the picture as a whole, an index into the classes of its data set; None if it has none.
    """

    calibration: Calibration | None
    timestamp_ns: int
    source: Path | bytes | None = None
    image: Tensor | None = None
    labels: PixelLabels | None = None
    category: int | None = None

    def mirrored_y(self) -> Camera:
        """The camera of the mirrored scene. Raises ValueError if its picture is not decoded yet."""
        if self.image is None and self.source is not None:
            raise ValueError("mirroring a camera needs its decoded picture: put LoadImages first, or drop the cameras")
        calibration = None if self.calibration is None else self.calibration.mirrored_y()
        image = None if self.image is None else self.image.flip(-1)
        labels = None if self.labels is None else self.labels.mirrored()
        return replace(self, calibration=calibration, image=image, labels=labels, source=None)
