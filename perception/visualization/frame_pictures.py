"""The pictures of one frame, by view: from above, through its cameras, and the scene in 3-D."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from perception.atomic_write import atomic_path
from perception.errors import DataError
from perception.structures import Frame, FramePredictions
from perception.transforms.load_images import LoadImages

from .bev import render_bev
from .camera_overlay import mosaic, render_camera
from .scene3d import render_scene

VIEWS = ("bev", "cameras", "scene")


def frame_pictures(
    frame: Frame,
    predictions: FramePredictions | None = None,
    *,
    views: Sequence[str] = VIEWS,
    min_score: float = 0.3,
    with_points: bool = False,
    backend: str = "auto",
) -> dict[str, np.ndarray]:
    """Draw a frame with its true (green) and predicted (by class) boxes or map lines.

    Args:
        frame: as a source yields it; its pictures need not be decoded.
        predictions: boxes or map lines to draw as well.
        views: some of `VIEWS`. A frame without pictures has no "cameras".
        min_score: predictions below it are left out.
        with_points: draw the points into the camera pictures too.
        backend: of `render_scene`.

    Returns:
        (H, W, 3) uint8 RGB by view, in the order asked for.

    Raises:
        ValueError: a view is unknown.
        DataError: a picture is absent or damaged.
    """
    pictures: dict[str, np.ndarray] = {}
    for view in views:
        if view == "bev":
            pictures[view] = render_bev(frame, predictions, min_score=min_score)
        elif view == "scene":
            pictures[view] = render_scene(frame, predictions, min_score=min_score, backend=backend)
        elif view != "cameras":
            raise ValueError(f"views must be some of {', '.join(VIEWS)}, got {view!r}")
        elif frame.cameras:
            pictures[view] = _cameras(frame, predictions, min_score, with_points)
    return pictures


def _cameras(frame: Frame, predictions: FramePredictions | None, min_score: float, with_points: bool) -> np.ndarray:
    decoded = LoadImages()(frame, np.random.default_rng(0))
    views = [
        render_camera(decoded, name, predictions, min_score=min_score, with_points=with_points)
        for name in decoded.cameras
    ]
    return mosaic(views, columns=min(3, len(views)), width=1280 if len(views) == 1 else 480)


def save_picture(path: Path, picture: np.ndarray) -> Path:
    """Write (H, W, 3) uint8 RGB, whole or not at all; returns the path. Raises DataError if it cannot be written."""
    try:
        with atomic_path(path) as temporary:
            Image.fromarray(picture).save(temporary)
    except OSError as error:
        raise DataError(path, "picture", "a file that can be written", error.strerror or error) from error
    return path
