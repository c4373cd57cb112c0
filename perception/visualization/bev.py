"""Bird's-eye pictures of a frame: points, and true and predicted boxes and map lines."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from perception.structures import Boxes3D, Frame, FramePredictions, MapPredictions, PointCloud, Predictions

from .class_map import ClassMap
from .legend import draw_legend
from .map_lines import NamedLine, predicted_lines, true_lines
from .palette import TRUTH_COLOR, Color, class_color, truth_color
from .theme import DARK, LIGHT, Theme

BACKGROUND, GRID = DARK.background, DARK.grid
GROUND_RGB, HIGH_RGB = np.array([70.0, 80.0, 100.0]), np.array([235.0, 240.0, 245.0])


def render_bev(
    frame: Frame,
    predictions: FramePredictions | None = None,
    *,
    extent: float = 51.2,
    size: int = 800,
    min_score: float = 0.3,
    classes: ClassMap | None = None,
) -> np.ndarray:
    """Draw a frame from above, x (forward) up and y (left) to the left.

    Annotated boxes are green outlines, predicted ones have the colour of their class; a line leads from the centre to
    the front. True map lines are thin and of a shade of green, predicted ones thick and of the colour of their class;
    a legend tells them apart.

    Args:
        frame: its points, annotations and map, or none of them.
        predictions: boxes or map lines to draw on top.
        extent: half-width of the drawn square [m].
        size: width and height of the picture [pixels].
        min_score: predictions below it are left out.
        classes: of the frame's points, which then have the colours of their classes instead of their heights, on a
            light background.

    Returns:
        (size, size, 3) uint8 RGB.
    """
    theme = DARK if classes is None else LIGHT
    canvas = np.full((size, size, 3), theme.background, dtype=np.uint8)
    if frame.points is not None:
        _splat(canvas, frame.points, extent, classes, theme.point_size)
    picture = Image.fromarray(canvas)
    draw = ImageDraw.Draw(picture)
    _draw_rings(draw, extent, size, theme)
    true, predicted = true_lines(frame), []
    if isinstance(predictions, MapPredictions):
        predicted = predicted_lines(predictions, min_score)
    _draw_lines(draw, predicted, [class_color(name) for name, _ in predicted], extent, size, width=4)
    _draw_lines(draw, true, [truth_color(name) for name, _ in true], extent, size, width=1)
    if frame.annotations is not None:
        known = frame.annotations[frame.annotations.labels >= 0]
        _draw_boxes(draw, known.boxes, [TRUTH_COLOR] * len(known), extent, size, width=3)
    if isinstance(predictions, Predictions):
        kept = predictions[predictions.scores >= min_score]
        _draw_boxes(draw, kept.boxes, [class_color(name) for name in kept.names()], extent, size, width=2)
    scale = size / (2 * extent)
    ego = [(size / 2 - 0.9 * scale, size / 2 - 3.7 * scale), (size / 2 + 0.9 * scale, size / 2 + 0.9 * scale)]
    draw.rectangle(ego, outline=theme.ego)
    entries = {f"{name} (true)": truth_color(name) for name, _ in true}
    draw_legend(draw, entries | {name: class_color(name) for name, _ in predicted})
    return np.asarray(picture)


def _to_pixels(xy: np.ndarray, extent: float, size: int) -> np.ndarray:
    """(..., 2) metres -> (..., 2) column and row [pixels]."""
    return np.stack([extent - xy[..., 1], extent - xy[..., 0]], axis=-1) * (size / (2 * extent))


def _splat(canvas: np.ndarray, points: PointCloud, extent: float, classes: ClassMap | None, width: int) -> None:
    """Colour the square of each point by its class, or else by its height; the highest are on top."""
    xyz = points.xyz.cpu().numpy()
    rows = np.flatnonzero(np.isfinite(xyz).all(axis=1))
    rows = rows[np.argsort(xyz[rows, 2], kind="stable")]                         # the last write wins: the highest
    cells = np.floor(_to_pixels(xyz[rows, :2], extent, len(canvas))).astype(np.int64)
    inside = ((cells >= 0) & (cells <= len(canvas) - width)).all(axis=1)
    cells, rows = cells[inside], rows[inside]
    share = np.clip((xyz[rows, 2] + 0.3) / 3.0, 0.0, 1.0)[:, None]               # (N, 1), 0 on the ground
    colors = GROUND_RGB + share * (HIGH_RGB - GROUND_RGB)
    if classes is not None:
        colors = classes.colors[rows]
    for right, down in reversed(list(np.ndindex(width, width))):       # each point's own pixel last
        canvas[cells[:, 1] + down, cells[:, 0] + right] = colors


def _draw_rings(draw: ImageDraw.ImageDraw, extent: float, size: int, theme: Theme) -> None:
    step = 10.0 if extent <= 60 else 25.0
    for radius in np.arange(step, extent * 1.5, step):
        pixels = radius * size / (2 * extent)
        draw.ellipse([size / 2 - pixels, size / 2 - pixels, size / 2 + pixels, size / 2 + pixels], outline=theme.grid)
        if radius < extent:
            draw.text((size / 2 + 2, size / 2 - pixels - 11), f"{radius:.0f} m", fill=theme.text)


def _draw_boxes(
    draw: ImageDraw.ImageDraw, boxes: Boxes3D, colors: Sequence[Color], extent: float, size: int, *, width: int
) -> None:
    corners = boxes.corners()[:, :4, :2].double().cpu().numpy()                  # (K, 4, 2), front left first
    centers = boxes.centers[:, :2].double().cpu().numpy()                        # (K, 2)
    for outline, center, color in zip(corners, centers, colors, strict=True):
        if not np.isfinite(outline).all():
            continue
        pixels = [tuple(vertex) for vertex in _to_pixels(outline, extent, size)]
        draw.line([*pixels, pixels[0]], fill=color, width=width)
        front = (outline[0] + outline[3]) / 2
        heading = [tuple(_to_pixels(end, extent, size)) for end in (center, front)]
        draw.line(heading, fill=color, width=width)


def _draw_lines(
    draw: ImageDraw.ImageDraw, lines: Sequence[NamedLine], colors: Sequence[Color], extent: float, size: int,
    *, width: int,
) -> None:
    for (_, line), color in zip(lines, colors, strict=True):
        vertices = line[:, :2].double().cpu().numpy()                            # (V, 2)
        if np.isfinite(vertices).all():
            pixels = [tuple(vertex) for vertex in _to_pixels(vertices, extent, size)]
            draw.line(pixels, fill=color, width=width, joint="curve")
