"""Turns a batch of frames into what a map model takes: points, normalised pictures and their projections."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from perception.registry import MODELS
from perception.structures import Camera, Frame

from .data_preprocessor import FrameDataPreprocessor, frames_of_batch
from .lifts.can_bus import can_bus_signals


@MODELS.register_module()
class MapDataPreprocessor(FrameDataPreprocessor):
    """Points as `FrameDataPreprocessor` gives them, and the pictures of named cameras as one tensor.

    Args:
        cameras: names of the cameras, in the order of the model; none for a LiDAR model.
        mean, std: of a channel, in [0, 255], in the channel order of the model.
        bgr: the model takes blue, green, red.
        pad_divisor: pictures are padded with zeros at the right and below to a multiple of it.
        pad_scales_intrinsics: multiply the projection by padded over original size, as the VectorMapNet release does.
        use_points: give ``points``; a camera model can do without.
        use_can_bus: give ``can_bus``, for a `BEVFormerLift`.
        channels, scales, squashed, non_blocking: see `FrameDataPreprocessor`.

    Raises:
        ValueError: ``pad_divisor`` is below 1, or the model would get neither points nor pictures.
    """

    def __init__(
        self,
        cameras: Sequence[str] = (),
        *,
        mean: Sequence[float] = (123.675, 116.28, 103.53),
        std: Sequence[float] = (58.395, 57.12, 57.375),
        bgr: bool = False,
        pad_divisor: int = 32,
        pad_scales_intrinsics: bool = False,
        use_points: bool = True,
        use_can_bus: bool = False,
        channels: Sequence[str] = ("x", "y", "z", "intensity"),
        scales: Mapping[str, float] | None = None,
        squashed: Sequence[str] = (),
        non_blocking: bool = False,
    ) -> None:
        super().__init__(channels, scales=scales, squashed=squashed, non_blocking=non_blocking)
        if pad_divisor < 1:
            raise ValueError(f"pad_divisor must be >= 1, got {pad_divisor}")
        if not cameras and not use_points:
            raise ValueError("a model needs points, cameras or both")
        self.cameras, self.use_points, self.use_can_bus = tuple(cameras), use_points, use_can_bus
        self.bgr, self.pad_divisor, self.pad_scales_intrinsics = bgr, pad_divisor, pad_scales_intrinsics
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.float32).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std, dtype=torch.float32).view(3, 1, 1), persistent=False)

    def forward(self, data: Any, training: bool = False) -> dict[str, Any]:
        """list[Frame] -> dict(inputs, data_samples=list[Frame]).

        The inputs are ``points``: B tensors (P_i, C) float32; ``images`` (B, N, 3, H, W) float32; ``image_from_ego``
        (B, N, 4, 4) float32, which takes an ego-frame point [m] to u * depth, v * depth, depth, 1; ``camera_mask``
        (B, N) bool, False where a frame lacks the camera (its picture is zero, its projection the identity);
        ``can_bus`` (B, 18) float32, see `can_bus_signals`; and ``sd_maps``: B maps or None. A batch of clips gives its
        T * B frames step by step, and ``steps``, see `FrameDataPreprocessor`.

        Raises:
            TypeError: the batch is neither a list of Frames nor one of such lists.
            ValueError: points, a channel or a pose are missing, a frame has none of the cameras, or a camera has no
                decoded picture or no calibration.
        """
        batch, steps = frames_of_batch(data)
        frames = [frame.to(self.device) for frame in batch]
        inputs: dict[str, Any] = {"sd_maps": [frame.sd_map for frame in frames], **steps}
        if self.use_points:
            inputs["points"] = [self.points_of(frame) for frame in frames]
        if self.cameras:
            inputs |= self.pictures_of(frames)
        if self.use_can_bus:
            inputs["can_bus"] = torch.stack([can_bus_signals(frame) for frame in frames]).to(self.device)
        return {"inputs": inputs, "data_samples": frames}

    def pictures_of(self, frames: Sequence[Frame]) -> dict[str, Tensor]:
        """The pictures of all cameras, padded to a common size, with their projections."""
        seen = [[self._picture(frame, name) for name in self.cameras] for frame in frames]
        for frame, cameras in zip(frames, seen, strict=True):
            if not any(camera is not None for camera in cameras):
                raise ValueError(f"frame {frame.token} has none of the cameras {', '.join(self.cameras)}")
        sizes = [image.shape[1:] for cameras in seen for image, _ in filter(None, cameras)]
        H, W = (self._padded(max(size[axis] for size in sizes)) for axis in (0, 1))
        B, N = len(frames), len(self.cameras)
        images = torch.zeros(B, N, 3, H, W, device=self.device)
        image_from_ego = torch.eye(4, device=self.device).repeat(B, N, 1, 1)
        camera_mask = torch.zeros(B, N, dtype=torch.bool, device=self.device)
        for b, cameras in enumerate(seen):
            for n, entry in enumerate(cameras):
                if entry is None:
                    continue
                image, matrix = entry
                if self.pad_scales_intrinsics:
                    matrix = matrix.clone()
                    matrix[0] *= W / image.shape[2]
                    matrix[1] *= H / image.shape[1]
                images[b, n] = F.pad(image, (0, W - image.shape[2], 0, H - image.shape[1]))
                image_from_ego[b, n] = matrix.float()
                camera_mask[b, n] = True
        return {"images": images, "image_from_ego": image_from_ego, "camera_mask": camera_mask}

    def _picture(self, frame: Frame, name: str) -> tuple[Tensor, Tensor] | None:
        """A camera's (3, H, W) normalised picture and (4, 4) float64 projection; None if the frame lacks the camera."""
        camera = frame.cameras.get(name)
        if camera is None:
            return None
        if camera.image is None or camera.calibration is None:
            missing = "decoded picture (put LoadImages first)" if camera.image is None else "calibration"
            raise ValueError(f"frame {frame.token}: camera {name} has no {missing}")
        image = camera.image.to(self.device).float()                               # (3, H, W), RGB
        image = image.flip(0) if self.bgr else image
        return (image - self.mean) / self.std, image_from_ego(camera).to(self.device)

    def _padded(self, size: int) -> int:
        return math.ceil(size / self.pad_divisor) * self.pad_divisor


def image_from_ego(camera: Camera) -> Tensor:
    """(4, 4) float64: homogeneous ego-frame point [m] -> u * depth, v * depth, depth [pixels, m], 1."""
    assert camera.calibration is not None
    projection = torch.eye(4, dtype=torch.float64)
    projection[:3, :3] = camera.calibration.intrinsics
    return projection @ camera.calibration.ego_from_camera.inverse().matrix()
