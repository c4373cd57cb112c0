"""Enlarge what cameras see far away, before a detector or segmentor looks at it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..errors import ConfigError
from ..registry import TRANSFORMS
from ..structures import Calibration, Camera, Frame
from .bicubic import to_uint8
from .picture_geometry import cropped, decoded, with_picture

FAR = "/far"                                         # ends the name of the camera with the enlarged part


@TRANSFORMS.register_module()
class SuperResolve:
    """Cut the far field out of decoded pictures and enlarge it by a super-resolution model.

    The part is a camera of its own: intrinsics are those of the enlarged part, pose and labels follow, so that boxes
    and points project onto it as onto any other picture. Its middle is the place on the ground (z = 0 in the ego frame)
    at a distance in the direction that the camera looks in, as far as the picture reaches; of a camera without
    calibration, or one that looks straight down, the middle of the picture.

    Args:
        model: config file with a `SuperResolver`, or the config of the model itself.
        checkpoint: its weights; None for one that has none to learn.
        size: height and width of the part [pixels], before it is enlarged; smaller where the picture is.
        distance: of the place in its middle [m].
        names: cameras to look at; None: all. A frame may lack some of them.
        in_place: the part takes the camera's place; otherwise it is NAME/far beside it.
        device: "auto", "cpu", "cuda" or "cuda:N"; workers of a data loader should stay on the CPU.

    Raises:
        ValueError: the size is not two numbers of at least 1, the distance not positive, or a picture not decoded.
        ConfigError: the config has no such model, or one that must be trained and no checkpoint.
        CheckpointError: the weights are unreadable or do not fit.
    """

    def __init__(
        self,
        model: Path | str | Mapping[str, Any],
        checkpoint: Path | str | None = None,
        *,
        size: Sequence[int] = (64, 96),
        distance: float = 60.0,
        names: Sequence[str] | None = None,
        in_place: bool = False,
        device: str = "cpu",
    ) -> None:
        if len(size) != 2 or min(size) < 1:
            raise ValueError(f"size must be height and width, both >= 1, got {tuple(size)}")
        if not distance > 0:
            raise ValueError(f"distance must be positive [m], got {distance}")
        self.model, self.checkpoint, self.device = model, checkpoint, device
        self.size, self.distance, self.in_place = (int(size[0]), int(size[1])), distance, in_place
        self.names = None if names is None else tuple(names)
        self._resolver: Any = None                   # built when first needed, in each worker by itself

    def __call__(self, frame: Frame, rng: np.random.Generator) -> Frame:
        """The frame with enlarged parts of its pictures."""
        cameras = dict(frame.cameras)
        for name, camera in frame.cameras.items():
            if self.names is None or name in self.names:
                far = self._far(camera, f"frame {frame.token}: camera {name}")
                cameras[name if self.in_place else name + FAR] = far
        return replace(frame, cameras=cameras)

    def _far(self, camera: Camera, place: str) -> Camera:
        rows, columns = decoded(camera, place).shape[1:]
        size = (min(self.size[0], rows), min(self.size[1], columns))
        middle = middle_of_far_field(camera.calibration, self.distance) or ((rows - 1) / 2, (columns - 1) / 2)
        top, left = (
            min(max(round(at - (part - 1) / 2), 0), whole - part)
            for at, part, whole in zip(middle, size, (rows, columns), strict=True)
        )
        return self.enlarged(cropped(camera, (top, left), size, place), place)

    @torch.no_grad()
    def enlarged(self, camera: Camera, place: str = "camera") -> Camera:
        """The whole of a camera's picture, enlarged; errors as for the class, which call it ``place``."""
        resolver = self._built()
        images = decoded(camera, place)[None].to(resolver.data_preprocessor.device).float() / 255      # (1, 3, H, W)
        return with_picture(camera, to_uint8(resolver.enlarge(images))[0].cpu())

    def _built(self) -> Any:
        """The model, in evaluation mode."""
        if self._resolver is None:
            from ..engine.build import build_model  # here, since models and engine are built on transforms
            from ..engine.checkpoint import load_weights
            from ..engine.distributed import resolve_device
            from ..models.super_resolver import SuperResolver

            resolver = build_model(self._config())
            if not isinstance(resolver, SuperResolver):
                raise ConfigError(f"SuperResolve needs a SuperResolver, got {type(resolver).__name__}")
            if self.checkpoint is not None:
                load_weights(resolver, self.checkpoint)
            elif any(True for _ in resolver.parameters()):
                raise ConfigError(f"{type(resolver.network).__name__} must be trained: give its checkpoint")
            resolver.to(resolve_device(self.device)).eval()
            self._resolver = resolver
        return self._resolver

    def _config(self) -> Mapping[str, Any]:
        """Of the model."""
        if isinstance(self.model, Mapping):
            return self.model
        from ..engine.config import load_config

        cfg = load_config(self.model)
        if "model" not in cfg:
            raise ConfigError(f"{self.model}: has no model")
        return cfg.model

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_resolver": None}

    def __repr__(self) -> str:
        return f"SuperResolve(size={self.size}, distance={self.distance}, names={self.names}, in_place={self.in_place})"


def middle_of_far_field(calibration: Calibration | None, distance: float) -> tuple[float, float] | None:
    """Row and column of the place on the ground at a distance [m] from a camera, where it looks.

    Args:
        calibration: of the camera, on a vehicle whose ego frame has the ground at z = 0.
        distance: along the ground, > 0.

    Returns:
        Pixels, maybe outside the picture; None if there is no calibration, or the camera does not see that way.
    """
    if calibration is None:
        return None
    pose = calibration.ego_from_camera
    ahead = pose.rotation[:2, 2]                                                          # optical axis, over ground
    length = float(ahead.norm())
    if length < 1e-3:
        return None
    place = torch.zeros(3, dtype=torch.float64)
    place[:2] = pose.translation[:2] + ahead * (distance / length)
    u, v, _ = calibration.project(place).tolist()
    return None if np.isnan(u) else (v, u)
