"""The pictures of one frame, by view: from above, through its cameras, and the scene in 3-D."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from perception.atomic_write import atomic_path
from perception.errors import DataError
from perception.structures import Frame, FramePredictions, MapPredictions, Predictions, SegmentationPredictions
from perception.transforms.load_images import LoadImages

from .bev import render_bev
from .camera_overlay import mosaic, render_camera
from .class_map import ClassMap
from .scene3d import render_scene
from .segment_panels import Segmentation, camera_panels, point_panels

Shapes = Predictions | MapPredictions
VIEWS = ("bev", "cameras", "scene")
Drawable = FramePredictions | Mapping[str, FramePredictions]             # of the frame, or of its pictures by camera


def frame_pictures(
    frame: Frame,
    predictions: Drawable | None = None,
    *,
    views: Sequence[str] = VIEWS,
    min_score: float = 0.3,
    with_points: bool = False,
    backend: str = "auto",
) -> dict[str, np.ndarray]:
    """Draw a frame with its true (green) and predicted (by class) boxes or map lines, or with the classes in it.

    Where pixels or points are labelled, or their classes predicted, the views of them show true beside predicted
    classes, each with a legend, and nothing else; with predicted boxes or map lines labels are left out.

    Args:
        frame: as a source yields it; its pictures need not be decoded.
        predictions: boxes, map lines or classes to draw as well.
        views: some of `VIEWS`. A frame without pictures has no "cameras", one of a picture alone nothing else.
        min_score: predictions below it are left out.
        with_points: draw the points into the camera pictures too.
        backend: of `render_scene`.

    Returns:
        (H, W, 3) uint8 RGB by view, in the order asked for.

    Raises:
        ValueError: a view is unknown.
        DataError: a picture is absent or damaged, there are not as many predictions as points, or predictions of one
            picture are given for a frame of several.
    """
    unknown = [view for view in views if view not in VIEWS]
    if unknown:
        raise ValueError(f"views must be some of {', '.join(VIEWS)}, got {unknown[0]!r}")
    if isinstance(predictions, SegmentationPredictions):
        if len(frame.cameras) != 1:
            got = ", ".join(frame.cameras) or "none"
            raise DataError(f"frame {frame.token}", "cameras", "the one whose picture the predictions are of", got)
        predictions = dict.fromkeys(frame.cameras, predictions)
    shapes = predictions if isinstance(predictions, (Predictions, MapPredictions)) else None
    segmentation = Segmentation({}, {}) if shapes is not None else Segmentation.of(frame, predictions, min_score)
    pictures: dict[str, np.ndarray] = {}
    for view in views:
        if view == "cameras":
            if frame.cameras:
                pictures[view] = _cameras(frame, shapes, segmentation, min_score, with_points)
        elif shapes is not None or not frame.cameras or not _is_picture(frame):
            pictures[view] = _space(frame, shapes, segmentation, view, min_score, backend)
    return pictures


def _is_picture(frame: Frame) -> bool:
    """Whether a frame has nothing that stands in space: neither points nor boxes nor a map."""
    spatial = (frame.points, frame.annotations, frame.vector_map, frame.lane_graph)
    return all(part is None for part in spatial)


def _space(
    frame: Frame, shapes: Shapes | None, segmentation: Segmentation, view: str, min_score: float, backend: str
) -> np.ndarray:
    """The scene from above, or in perspective."""

    def render(frame: Frame, classes: ClassMap | None = None) -> np.ndarray:
        if view == "bev":
            return render_bev(frame, shapes, min_score=min_score, classes=classes)
        return render_scene(frame, shapes, min_score=min_score, backend=backend, classes=classes)

    return point_panels(segmentation, frame, render) if segmentation.points else render(frame)


def _cameras(
    frame: Frame, shapes: Shapes | None, segmentation: Segmentation, min_score: float, with_points: bool
) -> np.ndarray:
    decoded = LoadImages()(frame, np.random.default_rng(0))
    if segmentation.pixels or (with_points and segmentation.points):
        return camera_panels(segmentation, decoded, with_points=with_points)
    views = [
        render_camera(decoded, name, shapes, min_score=min_score, with_points=with_points)
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
