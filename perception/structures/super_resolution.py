"""Pictures in two resolutions: what a camera saw as two cameras of a frame, and what a model makes of the lower one."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from .calibration import Camera
from .frame import Frame

HIGH = "/high"                                       # ends the name of the camera with the picture in high resolution


@dataclass(frozen=True, eq=False)
class EnlargedPicture:
    """The picture of one camera of a frame in a higher resolution.

    Args:
        token: the frame's name, as in `Frame.token`.
        timestamp_ns: the frame's time.
        image: (3, scale * H, scale * W) uint8 RGB.
        scale: over the resolution of the frame's own picture.

    Raises:
        ValueError: the picture has another shape or dtype.
    """

    token: str
    timestamp_ns: int
    image: Tensor
    scale: int

    def __post_init__(self) -> None:
        if self.image.dim() != 3 or self.image.shape[0] != 3 or self.image.dtype != torch.uint8:
            raise ValueError(f"image must be (3, H, W) uint8, got {tuple(self.image.shape)} {self.image.dtype}")

    def to(self, device: torch.device | str) -> EnlargedPicture:
        """The same on another device."""
        return replace(self, image=self.image.to(device))


@dataclass(frozen=True, eq=False)
class ResolutionPair:
    """The two cameras of one view, pictures decoded.

    Args:
        low: what a model sees.
        high: what it shall find, a whole number of times as large.

    Raises:
        ValueError: a picture is not decoded, or their sizes are not so.
    """

    low: Camera
    high: Camera

    def __post_init__(self) -> None:
        if self.low.image is None or self.high.image is None:
            raise ValueError("both pictures of a pair must be decoded")
        low, high = self.low.image.shape[1:], self.high.image.shape[1:]
        if high[0] % low[0] or tuple(high) != (low[0] * self.scale, low[1] * self.scale):
            raise ValueError(f"the larger picture of a pair must be whole times the smaller, got {low} and {high}")

    @property
    def scale(self) -> int:
        """Of the higher over the lower resolution."""
        assert self.low.image is not None
        assert self.high.image is not None
        return self.high.image.shape[1] // self.low.image.shape[1]


def resolution_pair(frame: Frame, camera: str | None = None) -> ResolutionPair | None:
    """The two cameras of one view; None if it is there in one resolution only.

    Args:
        frame: has the cameras NAME and NAME/high, as `ResolutionPairs` leaves them.
        camera: NAME; None takes the only one with a partner.

    Raises:
        ValueError: several cameras have partners and none is named; or see `ResolutionPair`.
    """
    names = [name for name in frame.cameras if name + HIGH in frame.cameras]
    if camera is None and len(names) > 1:
        raise ValueError(f"frame {frame.token} has pairs of {', '.join(names)}: name one of these cameras")
    found = [name for name in names if camera in (None, name)]
    return ResolutionPair(frame.cameras[found[0]], frame.cameras[found[0] + HIGH]) if found else None
