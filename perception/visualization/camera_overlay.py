"""Boxes, map lines and points drawn into camera pictures."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from perception.structures import Calibration, Camera, Frame, FramePredictions

from .class_map import ClassMap
from .strokes import Stroke, strokes_of

NEAR = 0.2                                       # metres; segments are cut at this depth before they are projected


def projected_segments(segments: np.ndarray, calibration: Calibration) -> np.ndarray:
    """Straight pieces in a picture; they are cut where they come too near to the camera.

    Args:
        segments: (S, 2, 3) ends in the ego frame [m].
        calibration: the camera.

    Returns:
        (S, 4) float64 u0, v0, u1, v1 [pixels]; NaN for a segment behind the camera.
    """
    local = calibration.ego_from_camera.inverse().apply(torch.from_numpy(segments)).numpy()     # (S, 2, 3), camera
    start, end = local[:, 0], local[:, 1]
    intrinsics = calibration.intrinsics.numpy()
    clipped = [_cut_at_near(start, end), _cut_at_near(end, start)]
    return np.concatenate([(point @ intrinsics.T)[:, :2] / point[:, 2:] for point in clipped], axis=1)


def _cut_at_near(point: np.ndarray, other: np.ndarray) -> np.ndarray:
    """The point itself, or where its edge comes in front of the near plane; NaN if the whole edge is behind."""
    depth, other_depth = point[..., 2:], other[..., 2:]
    span = np.where(other_depth == depth, 1.0, other_depth - depth)
    cut = point + (other - point) * (NEAR - depth) / span
    cut = np.where(other_depth >= NEAR, cut, np.nan)
    return np.where(depth >= NEAR, point, cut)


def draw_strokes(
    draw: ImageDraw.ImageDraw, strokes: Sequence[Stroke], calibration: Calibration, *, width: int
) -> None:
    """Draw strokes as a camera sees them; segments behind it or far outside the picture are left out."""
    limit = 4.0 * max(draw.im.size)
    for stroke in strokes:
        for line in projected_segments(stroke.segments, calibration):
            if np.isfinite(line).all() and np.abs(line).max() < limit:
                draw.line([tuple(line[:2]), tuple(line[2:])], fill=stroke.color, width=width * stroke.boldness)


def draw_points(
    picture: np.ndarray,
    calibration: Calibration,
    points: Tensor,
    *,
    max_depth: float = 60.0,
    classes: ClassMap | None = None,
) -> np.ndarray:
    """Draw ego-frame points (N, 3) into (H, W, 3) uint8; returns a new picture.

    Points are near red to far blue or, where ``classes`` of the N points are given, have the colours of their classes.
    """
    out = picture.copy()
    uvd = calibration.project(points.double()).cpu().numpy()                     # (N, 3)
    seen = np.isfinite(uvd).all(axis=1) & (uvd[:, 2] > NEAR) & (uvd[:, 2] < max_depth)
    rows = np.flatnonzero(seen if classes is None else seen & classes.is_known)
    rows = rows[np.argsort(-uvd[rows, 2], kind="stable")]                        # near points are drawn last
    uvd = uvd[rows]
    cells = np.floor(uvd[:, :2] + 0.5).astype(np.int64)
    share = uvd[:, 2:] / max_depth
    colors = np.concatenate([255 * (1 - share), 90 + 60 * share, 255 * share], axis=1)
    if classes is not None:
        colors = classes.colors[rows]
    for du in (0, 1):
        for dv in (0, 1):
            columns, lines = cells[:, 0] + du, cells[:, 1] + dv
            inside = (columns >= 0) & (columns < out.shape[1]) & (lines >= 0) & (lines < out.shape[0])
            out[lines[inside], columns[inside]] = colors[inside]
    return out


def picture_of(camera: Camera) -> np.ndarray:
    """(H, W, 3) uint8 RGB. Raises ValueError if the picture has not been decoded."""
    if camera.image is None:
        raise ValueError("the camera's picture is not decoded: run LoadImages over the frame first")
    return np.ascontiguousarray(camera.image.permute(1, 2, 0).cpu().numpy())


def render_camera(
    frame: Frame,
    name: str,
    predictions: FramePredictions | None = None,
    *,
    min_score: float = 0.3,
    with_points: bool = False,
) -> np.ndarray:
    """One camera of a frame with true (green) and predicted (by class) boxes or map lines: (H, W, 3) uint8 RGB.

    Without calibration the picture comes back as it is.
    """
    camera = frame.cameras[name]
    picture = picture_of(camera)
    if camera.calibration is None:
        return picture
    width = 1 if picture.shape[1] < 640 else 2
    if with_points and frame.points is not None:
        picture = draw_points(picture, camera.calibration, frame.points.xyz)
    image = Image.fromarray(picture)
    draw_strokes(ImageDraw.Draw(image), strokes_of(frame, predictions, min_score), camera.calibration, width=width)
    return np.asarray(image)


def mosaic(pictures: Sequence[np.ndarray], columns: int = 3, width: int = 400) -> np.ndarray:
    """Pictures side by side, each scaled to ``width`` [pixels], rows filled from the left: (H, W, 3) uint8."""
    scaled = [np.asarray(Image.fromarray(p).resize((width, round(p.shape[0] * width / p.shape[1])))) for p in pictures]
    height = max(picture.shape[0] for picture in scaled)
    rows = -(-len(scaled) // columns)
    canvas = np.zeros((rows * height, min(columns, len(scaled)) * width, 3), dtype=np.uint8)
    for position, picture in enumerate(scaled):
        top, left = position // columns * height, position % columns * width
        canvas[top:top + picture.shape[0], left:left + width] = picture
    return canvas
