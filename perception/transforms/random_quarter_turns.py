"""Turn pictures about their cameras' axes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from ..registry import TRANSFORMS
from ..structures import SE3, Camera, Frame
from .picture_geometry import decoded


@TRANSFORMS.register_module()
class RandomQuarterTurns:
    """Turn all pictures of a frame counter-clockwise by none to three right angles, each as likely.

    The cameras turn about their optical axes with them, so that points stay on what they fall on. With `RandomFlip`
    these are the eight ways to look at a square.

    Raises:
        ValueError: a picture is not decoded.
    """

    def __call__(self, frame: Frame, rng: np.random.Generator) -> Frame:
        """The frame with turned cameras."""
        turns, cameras = int(rng.integers(4)), dict(frame.cameras)
        for name, camera in frame.cameras.items():
            for _ in range(turns):
                camera = turned(camera, f"frame {frame.token}: camera {name}")
            cameras[name] = camera
        return replace(frame, cameras=cameras)

    def __repr__(self) -> str:
        return "RandomQuarterTurns()"


def turned(camera: Camera, place: str) -> Camera:
    """A camera that is turned clockwise, hence its picture counter-clockwise, by a right angle.

    Args:
        camera: its picture is decoded.
        place: what an error calls it.
    """
    image = decoded(camera, place).rot90(1, (1, 2))
    labels = None if camera.labels is None else camera.labels.changed(lambda plane: plane.rot90(1, (0, 1)))
    calibration = camera.calibration
    if calibration is not None:
        # pixel (u, v) is now (v, width - 1 - u), direction (x, y, z) is (y, -x, z)
        turn = torch.tensor([[0.0, 1.0, 0.0], [-1.0, 0.0, 0.0], [0.0, 0.0, 1.0]], dtype=torch.float64)
        moved = turn.clone()
        moved[1, 2] = calibration.width - 1
        pose = calibration.ego_from_camera
        calibration = replace(
            calibration, intrinsics=moved @ calibration.intrinsics @ turn.T, width=calibration.height,
            height=calibration.width, ego_from_camera=SE3(pose.rotation @ turn.T, pose.translation),
        )
    return replace(camera, image=image.contiguous(), labels=labels, calibration=calibration, source=None)
