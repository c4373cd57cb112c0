"""Turns a batch of frames into what an image model takes: the normalised pictures of one camera as one tensor."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from mmengine.model import BaseDataPreprocessor
from torch import Tensor
from torch.nn import functional as F

from perception.errors import ConfigError
from perception.registry import MODELS
from perception.structures import Camera, Frame, PixelLabels
from perception.structures.segmentation import IGNORE_LABEL
from perception.transforms.picture_geometry import short_side_scale

from .sliding_window import resize_maps


@dataclass(frozen=True)
class PictureSize:
    """Where a picture lies in the tensor that a network gets.

    Args:
        padded: height and width of the tensor.
        used: height and width of its upper left part that shows the picture; the rest is padding.
        own: height and width of the picture itself, which predictions have.
    """

    padded: tuple[int, int]
    used: tuple[int, int]
    own: tuple[int, int]

    def restored(self, maps: Tensor, align_corners: bool = False) -> Tensor:
        """Maps (K, h, w) of the whole tensor, at any stride -> (K, *own); see `resize_maps`.

        They keep their memory order; channels last, many maps are resized several times as fast.
        """
        batch = maps.as_strided((1, *maps.shape), (maps.numel(), *maps.stride()))   # [None] hides the order from torch
        maps = resize_maps(batch, self.padded, align_corners)[:, :, : self.used[0], : self.used[1]]
        return resize_maps(maps, self.own, align_corners)[0]


@MODELS.register_module()
class ImageDataPreprocessor(BaseDataPreprocessor):
    """The picture of one camera of each frame, normalised and padded with zeros to a common size.

    Args:
        camera: its name; None takes the only camera of each frame.
        mean, std: of a channel, in [0, 255], in the channel order of the model.
        bgr: the model takes blue, green, red.
        pad_divisor: pictures are padded at the right and below to a multiple of it,
        pad_remainder: and so many pixels more: 1 for a network in which the corner pixels of all maps fall on each
            other.
        pad_size: they are padded so to at least this height and width.
        fit: outside training, pictures are brought to the largest size of the same ratio within this height and width;
            predictions still have the size of the frame's picture.
        short_side: in place of ``fit``, length of the shorter side outside training, and most that the longer one may
            have.
        focal_length: outside training, pictures of calibrated cameras are brought to the size in which this is their
            focal length [pixels], so that things are as large as in the pictures that a model learned from, whatever
            the lens; only pictures without calibration heed ``fit`` and ``short_side``.
        non_blocking: overlap the copy to the device with computing.

    Raises:
        ValueError: ``pad_divisor`` is below 1, ``pad_remainder`` is no remainder of it, ``pad_size``, ``fit`` or
            ``short_side`` is not two numbers of at least 1, or there are both of the last two; or ``focal_length`` is
            not positive.
    """

    def __init__(
        self,
        camera: str | None = None,
        *,
        mean: Sequence[float] = (123.675, 116.28, 103.53),
        std: Sequence[float] = (58.395, 57.12, 57.375),
        bgr: bool = False,
        pad_divisor: int = 1,
        pad_remainder: int = 0,
        pad_size: Sequence[int] | None = None,
        fit: Sequence[int] | None = None,
        short_side: Sequence[int] | None = None,
        focal_length: float | None = None,
        non_blocking: bool = False,
    ) -> None:
        super().__init__(non_blocking=non_blocking)
        if pad_divisor < 1:
            raise ValueError(f"pad_divisor must be >= 1, got {pad_divisor}")
        if not 0 <= pad_remainder < pad_divisor:
            raise ValueError(f"pad_remainder must lie in [0, {pad_divisor}), got {pad_remainder}")
        for name, value in (("pad_size", pad_size), ("fit", fit), ("short_side", short_side)):
            if value is not None and (len(value) != 2 or min(value) < 1):
                raise ValueError(f"{name} must be two numbers of pixels, both >= 1, got {tuple(value)}")
        if fit is not None and short_side is not None:
            raise ValueError(f"fit and short_side exclude each other, got {tuple(fit)} and {tuple(short_side)}")
        if focal_length is not None and not focal_length > 0:
            raise ValueError(f"focal_length must be positive, got {focal_length}")
        self.camera, self.bgr = camera, bgr
        self.fit, self.short_side, self.focal_length = fit, short_side, focal_length
        self.pad_divisor, self.pad_remainder = pad_divisor, pad_remainder
        self.pad_size = (1, 1) if pad_size is None else tuple(pad_size)
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.float32).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std, dtype=torch.float32).view(3, 1, 1), persistent=False)

    def forward(self, data: Any, training: bool = False) -> dict[str, Any]:
        """list[Frame] -> dict(inputs=dict(images=(B, 3, H, W) float32), data_samples=list[Frame]).

        Raises:
            TypeError: the batch is not a list of Frames.
            ValueError: see `camera_of`.
        """
        if not isinstance(data, (list, tuple)) or not all(isinstance(frame, Frame) for frame in data):
            raise TypeError(f"a batch must be a list of Frames, got {type(data).__name__}")
        pictures = [self._picture(frame, size) for frame, size in zip(data, self.sizes(data, training), strict=True)]
        return {"inputs": {"images": torch.cat(pictures)}, "data_samples": list(data)}

    def sizes(self, frames: Sequence[Frame], training: bool = False) -> list[PictureSize]:
        """Where the picture of each frame of a batch lies. Raises ValueError as `camera_of` does."""
        cameras = [self.camera_of(frame) for frame in frames]
        own = [_size(camera) for camera in cameras]
        used = own if training else [self._used(camera) for camera in cameras]
        height, width = (
            self._padded(max(self.pad_size[axis], *(size[axis] for size in used))) for axis in (0, 1)
        )
        return [PictureSize((height, width), part, whole) for part, whole in zip(used, own, strict=True)]

    def _padded(self, length: int) -> int:
        more = self.pad_remainder
        return math.ceil((length - more) / self.pad_divisor) * self.pad_divisor + more

    def camera_of(self, frame: Frame) -> Camera:
        """The camera whose picture the model gets.

        Raises:
            ValueError: the frame lacks it, or has several or none to choose from; or its picture is not decoded, is
                not (3, H, W), or is empty.
        """
        if self.camera is None and len(frame.cameras) != 1:
            named = ", ".join(frame.cameras) or "no camera"
            raise ValueError(f"frame {frame.token} has {named}: name one as `camera` of the data preprocessor")
        name = next(iter(frame.cameras)) if self.camera is None else self.camera
        if name not in frame.cameras:
            raise ValueError(f"frame {frame.token} has no camera {name}, only {', '.join(frame.cameras) or 'none'}")
        camera = frame.cameras[name]
        if camera.image is None:
            raise ValueError(f"frame {frame.token}: camera {name} has no decoded picture: put LoadImages first")
        if camera.image.dim() != 3 or camera.image.shape[0] != 3 or camera.image.numel() == 0:
            raise ValueError(
                f"frame {frame.token}: the picture of camera {name} must be (3, H, W), RGB, "
                f"got {tuple(camera.image.shape)}"
            )
        return camera

    def labels(self, frames: Sequence[Frame]) -> list[PixelLabels]:
        """The labels of the frames of a training batch on the device, padded as the pictures are.

        Raises:
            ConfigError: a frame has none.
            ValueError: they differ from the picture in size.
        """
        return [
            padded_labels(self.labels_of(frame), size.padded)
            for frame, size in zip(frames, self.sizes(frames, training=True), strict=True)
        ]

    def labels_of(self, frame: Frame) -> PixelLabels:
        """The labels of one frame on the device; errors as for `labels`."""
        camera = self.camera_of(frame)
        if camera.labels is None:
            raise ConfigError(f"frame {frame.token} has no pixel labels to learn from; train on a labelled split")
        shape, expected = tuple(camera.labels.classes.shape), _size(camera)
        if shape != expected:
            raise ValueError(f"frame {frame.token}: labels are {shape}, the picture is {expected}")
        return camera.labels.to(self.device)

    def _used(self, camera: Camera) -> tuple[int, int]:
        """Height and width of what the network sees of a picture."""
        own = _size(camera)
        if self.focal_length is not None and camera.calibration is not None:
            return scaled(own, self.focal_length / float(camera.calibration.intrinsics[0, 0]))
        if self.short_side is not None:
            return scaled(own, short_side_scale(own, *self.short_side))
        return own if self.fit is None else fitted(own, self.fit)

    def _picture(self, frame: Frame, size: PictureSize) -> Tensor:
        image = _image(self.camera_of(frame)).to(self.device).float()[None]                # (1, 3, H, W), RGB
        if size.used != size.own:
            image = F.interpolate(image, size.used, mode="bilinear", align_corners=False, antialias=True)
        image = ((image.flip(1) if self.bgr else image) - self.mean) / self.std
        return F.pad(image, (0, size.padded[1] - size.used[1], 0, size.padded[0] - size.used[0]))


def fitted(size: Sequence[int], limits: Sequence[int]) -> tuple[int, int]:
    """The largest height and width of the ratio of ``size`` within ``limits``, at least 1 each."""
    return scaled(size, min(limit / length for limit, length in zip(limits, size, strict=True)))


def scaled(size: Sequence[int], factor: float) -> tuple[int, int]:
    """Height and width times a factor, at least 1 each."""
    return max(1, round(size[0] * factor)), max(1, round(size[1] * factor))


def padded_labels(labels: PixelLabels, size: tuple[int, int]) -> PixelLabels:
    """Labels with pixels to ignore, of no instance, added at the right and below."""
    height, width = labels.classes.shape
    border = (0, size[1] - width, 0, size[0] - height)
    instances = None if labels.instances is None else F.pad(labels.instances, border)
    return replace(labels, classes=F.pad(labels.classes, border, value=IGNORE_LABEL), instances=instances)


def _image(camera: Camera) -> Tensor:
    assert camera.image is not None
    return camera.image


def _size(camera: Camera) -> tuple[int, int]:
    H, W = _image(camera).shape[1:]
    return H, W
