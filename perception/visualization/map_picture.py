"""The map of a whole drive in one picture."""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image, ImageDraw

from perception.structures import GlobalMap

from .bev import BACKGROUND, GRID
from .legend import TEXT, draw_legend
from .palette import Color, class_color

EGO_COLOR: Color = (240, 240, 240)
BORDER = 10.0                                              # metres around the drive
FAINTEST = 0.25                                            # share of its colour that an element of no confidence has


def render_map(drive_map: GlobalMap, *, size: int = 1600, min_confidence: float = 0.0) -> np.ndarray:
    """Draw the map of a drive from above, x to the right and y up, with the way of the ego in white.

    Elements have the colour of their class, the fainter the less sure they are; a dot marks where the drive began.

    Args:
        drive_map: in its global frame.
        size: the longer side of the picture [pixels].
        min_confidence: elements below it are left out.

    Returns:
        (H, W, 3) uint8 RGB.

    Raises:
        ValueError: ``size`` is below 64.
    """
    if size < 64:
        raise ValueError(f"size must be >= 64 pixels, got {size}")
    kept = drive_map[drive_map.confidence >= min_confidence]
    places = torch.cat([kept.lines.vertices, drive_map.trajectory])[:, :2].numpy()        # (N, 2), global frame
    places = places if len(places) else np.zeros((1, 2))
    low, high = places.min(axis=0) - BORDER, places.max(axis=0) + BORDER
    scale = size / float((high - low).max())                                              # pixels a metre
    width, height = (max(64, round(float(side) * scale)) for side in high - low)
    picture = Image.new("RGB", (width, height), BACKGROUND)
    draw = ImageDraw.Draw(picture)

    def to_pixels(points: torch.Tensor) -> list[tuple[float, float]]:
        offsets = (points[:, :2].numpy() - low) * scale
        return [(column, height - row) for column, row in offsets.tolist()]

    _draw_grid(draw, low, high, scale)
    elements = zip(kept.lines, kept.names(), kept.confidence.tolist(), strict=True)
    for line, name, confidence in reversed(list(elements)):                               # the surest on top
        draw.line(to_pixels(line), fill=_faded(class_color(name), confidence), width=3, joint="curve")
    way = to_pixels(drive_map.trajectory)
    if way:
        draw.line(way, fill=EGO_COLOR, width=1)
        draw.ellipse([way[0][0] - 4, way[0][1] - 4, way[0][0] + 4, way[0][1] + 4], fill=EGO_COLOR)
    draw_legend(draw, {name: class_color(name) for name in kept.names()} | {"ego": EGO_COLOR})
    return np.asarray(picture)


def _faded(color: Color, confidence: float) -> Color:
    share = FAINTEST + (1.0 - FAINTEST) * min(max(confidence, 0.0), 1.0)
    red, green, blue = (round(back + share * (own - back)) for own, back in zip(color, BACKGROUND, strict=True))
    return red, green, blue


def _draw_grid(draw: ImageDraw.ImageDraw, low: np.ndarray, high: np.ndarray, scale: float) -> None:
    """A line every 10, 50, 100 ... metres, such that there are 20 at most."""
    step = next(step for power in range(1, 9) for step in (10**power, 5 * 10**power) if (high - low).max() / step <= 20)
    width, height = draw.im.size
    for axis in (0, 1):
        for value in np.arange(np.ceil(low[axis] / step) * step, high[axis], step):
            at = (value - low[axis]) * scale
            draw.line([(at, 0), (at, height)] if axis == 0 else [(0, height - at), (width, height - at)], fill=GRID)
    draw.text((10, height - 18), f"grid: {step} m", fill=TEXT)
