"""Open3D scenes of points, boxes and map lines: in a window, or off screen with neither GPU nor display.

Open3D's own renderer needs EGL and crashes the process without it, so it is tried in a child process first; where it
does not work the software renderer of this module draws the same scene.
"""

from __future__ import annotations

import functools
import logging
import os
import subprocess
import sys
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw

from perception.errors import PerceptionError
from perception.structures import SE3, Calibration, Frame, FramePredictions

from .camera_overlay import NEAR, draw_strokes
from .class_map import ClassMap
from .palette import Color
from .strokes import Stroke, strokes_of
from .theme import DARK, LIGHT, Theme

logger = logging.getLogger(__name__)

BACKGROUND = DARK.background
PROBE = "import open3d as o3d; r = o3d.visualization.rendering.OffscreenRenderer(8, 8); r.render_to_image()"


def chase_camera(width: int, height: int, *, back: float = 22.0, up: float = 14.0, ahead: float = 12.0) -> Calibration:
    """A camera behind and above the ego that looks at a point on the road ahead.

    Args:
        width, height: size of the picture [pixels].
        back, up: where it hangs [m].
        ahead: how far in front of the ego it looks [m].
    """
    forward = np.array([ahead + back, 0.0, -up])
    forward /= np.linalg.norm(forward)
    right = np.array([0.0, -1.0, 0.0])
    rotation = np.stack([right, np.cross(forward, right), forward], axis=1)       # columns: camera x, y, z in ego axes
    focal = 0.9 * width
    intrinsics = torch.tensor([[focal, 0, width / 2], [0, focal, height / 2], [0, 0, 1]], dtype=torch.float64)
    pose = SE3(torch.from_numpy(rotation), torch.tensor([-back, 0.0, up], dtype=torch.float64))
    return Calibration(intrinsics, pose, width, height)


def render_scene(
    frame: Frame,
    predictions: FramePredictions | None = None,
    *,
    view: Calibration | None = None,
    size: tuple[int, int] = (960, 540),
    min_score: float = 0.3,
    backend: str = "auto",
    classes: ClassMap | None = None,
) -> np.ndarray:
    """Draw points and true (green) and predicted (by class) boxes or map lines from a free viewpoint.

    Args:
        frame: points, annotations and map to draw.
        predictions: boxes or map lines to draw as well.
        view: the viewpoint; default `chase_camera`.
        size: width and height [pixels] of the default viewpoint.
        min_score: predictions below it are left out.
        backend: "open3d", "software", or "auto", which is Open3D where its renderer works.
        classes: of the frame's points, which then have the colours of their classes instead of their heights, on a
            light background.

    Returns:
        (H, W, 3) uint8 RGB.

    Raises:
        ValueError: unknown backend.
    """
    if backend not in ("auto", "open3d", "software"):
        raise ValueError(f'backend must be "auto", "open3d" or "software", got {backend!r}')
    view = view or chase_camera(*size)
    draw = _render_open3d if backend == "open3d" or (backend == "auto" and open3d_renders()) else _render_software
    theme = DARK if classes is None else LIGHT
    return draw(_coloured_points(frame, classes), strokes_of(frame, predictions, min_score), view, theme)


def show_scene(
    frame: Frame,
    predictions: FramePredictions | None = None,
    *,
    min_score: float = 0.3,
    classes: ClassMap | None = None,
) -> None:
    """Open a window with the scene, see `render_scene`, and return when it is closed.

    Raises:
        PerceptionError: this machine has no display.
    """
    if sys.platform == "linux" and not any(map(os.environ.get, ("DISPLAY", "WAYLAND_DISPLAY"))):
        raise PerceptionError("no display to open a window on (DISPLAY is not set); draw into files instead")
    import open3d as o3d

    lines = [_line_set(o3d, stroke) for stroke in strokes_of(frame, predictions, min_score)]
    points = _point_cloud(o3d, *_coloured_points(frame, classes))
    o3d.visualization.draw_geometries([points, *lines], window_name=frame.token)


@functools.cache
def open3d_renders() -> bool:
    """Whether Open3D's off-screen renderer works on this machine; found out once, in a child process."""
    environment = {**os.environ, "EGL_PLATFORM": "surfaceless"}
    command = [sys.executable, "-c", PROBE]
    try:
        probe = subprocess.run(command, env=environment, capture_output=True, timeout=120, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    if probe.returncode != 0:
        logger.info("Open3D cannot render off screen here; the software renderer draws the scenes")
    return probe.returncode == 0


def _coloured_points(frame: Frame, classes: ClassMap | None) -> tuple[np.ndarray, np.ndarray]:
    """(N, 3) positions and (N, 3) colours in [0, 1] by class, or else by height."""
    if frame.points is None:
        return np.zeros((0, 3)), np.zeros((0, 3))
    xyz = frame.points.xyz.double().cpu().numpy()
    finite = np.isfinite(xyz).all(axis=1)
    xyz = xyz[finite]
    if classes is not None:
        return xyz, classes.colors[finite] / 255.0
    share = np.clip((xyz[:, 2:] + 0.5) / 4.0, 0.0, 1.0)                           # (N, 1)
    low, high = np.array([0.25, 0.35, 0.60]), np.array([1.0, 0.95, 0.75])
    return xyz, low + share * (high - low)


def _point_cloud(o3d: Any, xyz: np.ndarray, colors: np.ndarray) -> Any:
    cloud = o3d.geometry.PointCloud(o3d.utility.Vector3dVector(xyz))
    cloud.colors = o3d.utility.Vector3dVector(colors)
    return cloud


def _line_set(o3d: Any, stroke: Stroke) -> Any:
    ends = stroke.segments.reshape(-1, 3)                                         # (2 * S, 3)
    pairs = np.arange(len(ends), dtype=np.int32).reshape(-1, 2)
    lines = o3d.geometry.LineSet(o3d.utility.Vector3dVector(ends), o3d.utility.Vector2iVector(pairs))
    lines.paint_uniform_color(np.array(stroke.color) / 255.0)
    return lines


@functools.lru_cache(maxsize=1)
def _offscreen(width: int, height: int) -> Any:
    """One renderer a process and size: making a new one for each picture leaks its graphics context."""
    os.environ["EGL_PLATFORM"] = "surfaceless"                                    # Open3D reads it when it is imported
    import open3d as o3d

    return o3d.visualization.rendering.OffscreenRenderer(width, height)


def _render_open3d(
    points: tuple[np.ndarray, np.ndarray], strokes: list[Stroke], view: Calibration, theme: Theme
) -> np.ndarray:
    renderer = _offscreen(view.width, view.height)
    import open3d as o3d

    scene, rendering = renderer.scene, o3d.visualization.rendering
    scene.clear_geometry()
    scene.set_background(np.append(_encoded(theme.background), 1.0))
    scene.view.set_post_processing(False)                                         # colours as given, no tone mapping
    dots, lines = rendering.MaterialRecord(), rendering.MaterialRecord()
    dots.shader, dots.point_size = "defaultUnlit", 1.0 + theme.point_size
    lines.shader, lines.line_width = "unlitLine", 2.0
    if len(points[0]):
        scene.add_geometry("points", _point_cloud(o3d, *points), dots)
    for number, stroke in enumerate(strokes):
        scene.add_geometry(f"stroke{number}", _line_set(o3d, stroke), lines)
    extrinsic = view.ego_from_camera.inverse().matrix().numpy()
    renderer.setup_camera(view.intrinsics.numpy(), extrinsic, view.width, view.height)
    return np.asarray(renderer.render_to_image()).copy()


def _encoded(color: Color) -> np.ndarray:
    """(3,) in [0, 1] that come out as the colour: Open3D takes a background through sRGB's curve, unlike points."""
    linear = np.array(color) / 255.0
    return np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


def _render_software(
    points: tuple[np.ndarray, np.ndarray], strokes: list[Stroke], view: Calibration, theme: Theme
) -> np.ndarray:
    """The same scene by painting points from far to near, then the strokes."""
    canvas = np.full((view.height, view.width, 3), theme.background, dtype=np.uint8)
    uvd = view.project(torch.from_numpy(points[0])).numpy()                       # (N, 3)
    seen = np.isfinite(uvd).all(axis=1) & (uvd[:, 2] > NEAR)
    order = np.flatnonzero(seen)[np.argsort(-uvd[seen, 2], kind="stable")]
    cells = np.floor(uvd[order, :2] + 0.5).astype(np.int64)
    last = np.array([view.width, view.height]) - theme.point_size
    inside = ((cells >= 0) & (cells <= last)).all(axis=1)
    cells, colors = cells[inside], np.round(255 * points[1][order[inside]])
    for right, down in reversed(list(np.ndindex(theme.point_size, theme.point_size))):
        canvas[cells[:, 1] + down, cells[:, 0] + right] = colors
    picture = Image.fromarray(canvas)
    draw_strokes(ImageDraw.Draw(picture), strokes, view, width=2)
    return np.asarray(picture)
