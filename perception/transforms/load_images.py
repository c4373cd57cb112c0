"""Decode the pictures of a frame's cameras."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from ..errors import DataError
from ..registry import TRANSFORMS
from ..structures import Camera, Frame

if TYPE_CHECKING:
    from PIL.Image import Image


@TRANSFORMS.register_module()
class LoadImages:
    """Decode ``Camera.source`` into ``Camera.image``; pictures that are decoded already stay as they are.

    Args:
        names: cameras to decode; None: all. The others stay undecoded.

    Raises:
        DataError: a named camera is absent, or a picture is absent, unreadable or of another size than calibrated.
    """

    def __init__(self, names: Sequence[str] | None = None) -> None:
        self.names = None if names is None else tuple(names)

    def __call__(self, frame: Frame, rng: np.random.Generator) -> Frame:
        """The frame with its pictures decoded to (3, H, W) uint8 RGB."""
        cameras = dict(frame.cameras)
        for name in cameras if self.names is None else self.names:
            if name not in cameras:
                expected = f"one of the cameras {', '.join(cameras) or '(none)'}"
                raise DataError(f"frame {frame.token}", f"camera {name}", expected, "no such camera")
            if cameras[name].image is None:
                cameras[name] = _with_image(cameras[name], f"frame {frame.token}, camera {name}")
        return replace(frame, cameras=cameras)

    def __repr__(self) -> str:
        return f"LoadImages(names={self.names})"


def decode_image(source: Path | bytes, place: str = "picture") -> Tensor:
    """(3, H, W) uint8 RGB of a file or of encoded bytes.

    Grey becomes three equal channels, transparency is left out, and of 16 bits the upper eight remain.

    Args:
        source: the file, or its content.
        place: what an error calls bytes.

    Raises:
        DataError: absent, truncated or no picture.
    """
    from PIL import Image as pillow
    from PIL import UnidentifiedImageError

    where = place if isinstance(source, bytes) else source
    try:
        with pillow.open(io.BytesIO(source) if isinstance(source, bytes) else source) as image:
            pixels = _rgb(image)                                                  # (H, W, 3), a copy
    except FileNotFoundError as error:
        raise DataError(where, "picture", "an image file", "no such file") from error
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:   # Pillow's ways to refuse a file
        raise DataError(where, "picture", "a whole JPEG or PNG image", error) from error
    return torch.from_numpy(pixels).permute(2, 0, 1).contiguous()                 # (3, H, W)


def _rgb(image: Image) -> np.ndarray:
    if not image.mode.startswith("I"):
        return np.array(image.convert("RGB"))
    grey = (np.asarray(image).astype(np.int64).clip(0, 65535) >> 8).astype(np.uint8)       # Pillow would cut at 255
    return np.repeat(grey[..., None], 3, axis=2)


def _with_image(camera: Camera, place: str) -> Camera:
    if camera.source is None:
        raise DataError(place, "source", "a file or encoded bytes", "neither a source nor a decoded picture")
    image = decode_image(camera.source, place)
    calibration = camera.calibration
    if calibration is not None and image.shape[1:] != (calibration.height, calibration.width):
        where = place if isinstance(camera.source, bytes) else camera.source
        raise DataError(
            where, "size", f"{calibration.width} x {calibration.height} pixels as calibrated",
            f"{image.shape[2]} x {image.shape[1]}",
        )
    return replace(camera, image=image)
