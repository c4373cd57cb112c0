"""Forget cameras."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ..registry import TRANSFORMS
from ..structures import Frame


@TRANSFORMS.register_module()
class DropCameras:
    """Forget cameras, so that LiDAR pipelines neither read pictures nor refuse to mirror them.

    Args:
        keep: cameras to keep if the frame has them.
    """

    def __init__(self, keep: Sequence[str] = ()) -> None:
        self.keep = tuple(keep)

    def __call__(self, frame: Frame, rng: np.random.Generator) -> Frame:
        """The frame with the kept cameras only."""
        return replace(frame, cameras={name: camera for name, camera in frame.cameras.items() if name in self.keep})

    def __repr__(self) -> str:
        return f"DropCameras(keep={self.keep})"
