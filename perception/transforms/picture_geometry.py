"""Cameras with pictures of another size or cut out of a larger one: labels and intrinsics follow."""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import functional as F
from torchvision.transforms.v2 import functional as pictures

from ..structures import Calibration, Camera
from ..structures.segmentation import IGNORE_LABEL


def decoded(camera: Camera, place: str) -> Tensor:
    """(3, H, W) uint8 picture of a camera. Raises ValueError, which calls it ``place``, if it is not decoded."""
    if camera.image is None:
        raise ValueError(f"{place} has no decoded picture: put LoadImages first")
    return camera.image


def resized(camera: Camera, size: tuple[int, int], place: str, *, move_centers: bool = True) -> Camera:
    """The camera with a picture of another height and width.

    Bilinear, with the filter widened when the picture shrinks, so that fine structures do not alias; labels take the
    nearest pixel. A pixel's centre has whole coordinates, hence u becomes (u + 0.5) * scale - 0.5; without
    ``move_centers``, u * scale.
    """
    image = pictures.resize(decoded(camera, place), list(size), antialias=True)
    return with_picture(camera, image, move_centers=move_centers)


def with_picture(camera: Camera, image: Tensor, *, move_centers: bool = True) -> Camera:
    """The camera with another picture (3, h, w) uint8 of the same view; all else follows as in `resized`."""
    height, width = image.shape[1:]
    calibration = camera.calibration
    if calibration is not None:
        scale = torch.tensor([width / calibration.width, height / calibration.height], dtype=torch.float64)
        intrinsics = calibration.intrinsics.clone()
        intrinsics[:2] *= scale[:, None]
        if move_centers:
            intrinsics[:2, 2] += 0.5 * scale - 0.5
        calibration = replace(calibration, intrinsics=intrinsics, height=height, width=width)
    labels = None if camera.labels is None else camera.labels.resized(height, width)
    return replace(camera, image=image, labels=labels, calibration=calibration, source=None)


def short_side_scale(size: tuple[int, int], short_side: float, long_limit: float = math.inf) -> float:
    """Factor that brings the shorter of height and width to a length, or the longer one to its limit if that is less.

    Args:
        size: height and width.
        short_side: of the shorter one afterwards.
        long_limit: most that the longer one may have.
    """
    return min(short_side / min(size), long_limit / max(size))


def cropped(
    camera: Camera, corner: tuple[int, int], size: tuple[int, int], place: str, *, fill: int = 0
) -> Camera:
    """The camera with a part of its picture.

    Args:
        camera: its picture is decoded.
        corner: first row and column of the part, >= 0.
        size: height and width of the part; where it goes beyond the picture its labels are ignored.
        place: what an error calls the camera.
        fill: grey value of the picture there.
    """
    (top, left), (height, width) = corner, size
    image = decoded(camera, place)
    border = (0, max(0, left + width - image.shape[2]), 0, max(0, top + height - image.shape[1]))

    def part(plane: Tensor, beyond: int = 0) -> Tensor:
        inside = plane[..., top : top + height, left : left + width]
        return F.pad(inside, border, value=beyond) if any(border) else inside

    calibration: Calibration | None = camera.calibration
    if calibration is not None:
        intrinsics = calibration.intrinsics.clone()
        intrinsics[:2, 2] -= intrinsics.new_tensor([left, top])
        calibration = replace(calibration, intrinsics=intrinsics, height=height, width=width)
    labels = camera.labels
    if labels is not None:
        instances = None if labels.instances is None else part(labels.instances)
        labels = replace(labels, classes=part(labels.classes, IGNORE_LABEL), instances=instances)
    return replace(camera, image=part(image, fill), labels=labels, calibration=calibration, source=None)
